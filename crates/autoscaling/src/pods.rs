//! Which pods count: the state that matters, their requests, and upstream's groups (`replica_calculator.go`, `groupPods`).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use objects::quantity::Quantity;

use crate::{
    Settings,
    replicas::{CannotTell, clamp_i64},
};

/// What was measured for one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Thousandths of the metric's unit.
    pub millis: i64,
    /// When it was measured.
    pub at: Timestamp,
    /// Over how long.
    pub window: SignedDuration,
}

impl Sample {
    /// Whether it can be true and is recent enough. Nothing that is measured is negative.
    fn counts(&self, settings: &Settings, now: Timestamp) -> bool {
        // A sample from the future is one that was taken before the clock was set back.
        self.millis >= 0 && settings.stale_after.is_none_or(|age| now.duration_since(self.at) <= age)
    }
}

/// What a pod is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a node or an image.
    Pending,
    /// It runs, or ended well.
    #[default]
    Running,
    /// It failed.
    Failed,
}

/// The `Ready` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its status: `None` for `Unknown`.
    pub status: Option<bool>,
    /// Since when.
    pub since: Timestamp,
}

/// What matters of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// `status.phase`.
    pub phase: Phase,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// Its `Ready` condition.
    pub ready: Option<Ready>,
}

impl State {
    /// Reads a pod. A condition without a time is as old as can be.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let phase = match status.and_then(|status| status.phase.as_deref()) {
            Some("Pending") => Phase::Pending,
            Some("Failed") => Phase::Failed,
            _ => Phase::Running,
        };
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| Ready {
            status: match condition.status.as_str() {
                "True" => Some(true),
                "False" => Some(false),
                _ => None,
            },
            since: condition.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0),
        });
        Self {
            phase,
            deleting: pod.metadata.deletion_timestamp.is_some(),
            started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            ready,
        }
    }

    /// Whether it runs and is ready: what Object and External metrics multiply by.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running && self.ready.is_some_and(|ready| ready.status == Some(true))
    }

    /// Whether it may still be starting. A start in the future is one before the clock was set back, and long past.
    pub fn is_starting(&self, settings: &Settings, now: Timestamp) -> bool {
        self.started.is_some_and(|at| at <= now && now.duration_since(at) < settings.cpu_initialization_period)
    }
}

/// What a pod's sample is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// It counts.
    Counted,
    /// The pod waits or starts: nothing on the way up, and nobody on the way down.
    Unready,
    /// There is none: as much as was asked for on the way down, nothing on the way up.
    Missing,
    /// The pod is gone, or as good as gone.
    Ignored,
}

/// Which group a pod is in. `cpu` says whether the metric is CPU, which alone looks at start-ups.
pub fn group(state: &State, sample: Option<&Sample>, cpu: bool, settings: &Settings, now: Timestamp) -> Group {
    if state.deleting || state.phase == Phase::Failed {
        return Group::Ignored;
    }
    if state.phase == Phase::Pending {
        return Group::Unready;
    }
    let Some(sample) = sample.filter(|sample| sample.counts(settings, now)) else { return Group::Missing };
    if cpu && is_unready(state, sample, settings, now) { Group::Unready } else { Group::Counted }
}

fn is_unready(state: &State, sample: &Sample, settings: &Settings, now: Timestamp) -> bool {
    let (Some(ready), Some(started)) = (state.ready, state.started) else { return true };
    if state.is_starting(settings, now) {
        // The sample must lie wholly after the pod became ready.
        let whole = sample.at.duration_since(ready.since) >= sample.window;
        return ready.status == Some(false) || !(whole || ready.since > now);
    }
    // It was never ready: what changed its condition was its own start.
    ready.status == Some(false) && ready.since.duration_since(started) < settings.initial_readiness_delay
}

/// What a pod asks for of a resource, in thousandths: of one container, or of the pod, or else of all its containers that stay
/// (sidecars too).
///
/// # Errors
/// A container without the request, or a container that is not there: a share of nothing cannot be told.
pub fn request(pod: &Pod, container: Option<&str>, resource: &str) -> Result<i64, CannotTell> {
    let (name, spec) = (pod.name_any(), pod.spec.as_ref());
    let of_pod = spec.and_then(|spec| spec.resources.as_ref()).and_then(|resources| resources.requests.as_ref());
    if let (None, Some(of_pod)) = (container, of_pod.filter(|requests| !requests.is_empty()))
        && let Some(request) = of_pod.get(resource)
    {
        return Ok(millis(&request.0));
    }
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten().filter(stays);
    let all = spec.map(|spec| spec.containers.iter()).into_iter().flatten().chain(sidecars);
    let mut sum: Option<i64> = None;
    for one in all.filter(|one| container.is_none_or(|name| one.name == name)) {
        let requests = one.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let request = requests.and_then(|requests| requests.get(resource)).ok_or_else(|| {
            CannotTell(format!("missing request for {resource} in container {} of Pod {name}", one.name))
        })?;
        sum = Some(sum.unwrap_or_default().saturating_add(millis(&request.0)));
    }
    match (sum, container) {
        (None, Some(container)) => Err(CannotTell(format!("container {container} not found in Pod {name}"))),
        (sum, _) => Ok(sum.unwrap_or_default()),
    }
}

/// A quantity in thousandths; what is no quantity is nothing.
fn millis(text: &str) -> i64 {
    text.parse::<Quantity>().map_or(0, |quantity| clamp_i64(quantity.millis()))
}
