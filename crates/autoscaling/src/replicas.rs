//! How many pods one metric asks for (`replica_calculator.go`, `metrics/utilization.go`).
//!
//! With [`Settings::calm`] a rise is looked at twice, because upstream multiplies by every pod that its selector finds
//! (kubernetes issues 72775, 84142, 90461, 98914), takes `status.replicas` for what is wanted (79274, 138505), and takes the
//! CPU of a start for demand (28692, 29989, 71255). The rule:
//!
//! 1. Only a rise is ever reduced, and never below the count that is wanted now: no pod is missing that upstream would not
//!    let be missing too.
//! 2. A pod beyond the wanted count (a surge, or the old revision beside the new one) is measured, so it can show that the pods
//!    that run are overloaded, but it does not multiply: the ratio is taken times the wanted count.
//! 3. While a pod may be starting, its CPU counts for no more than the mean of the pods that are past their start, which serve
//!    the same demand. Where none is past its start, there is nothing to compare with, and all of it counts.
//! 4. A total that is within tolerance for the wanted count changes nothing, however many pods happen to run.
//!
//! So whenever the pods that run are above the target by more than the tolerance, and that is not the work of starting, the
//! count rises, and rises again at the next look until they are not.

use jiff::Timestamp;

use crate::{
    Settings, Tolerances,
    pods::{Group, Sample, State, group},
};

/// Why a metric says nothing, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CannotTell(pub String);

fn cannot_tell(text: &str) -> CannotTell {
    CannotTell(text.to_owned())
}

/// One pod with what was measured for it; or several that are alike in everything, as a simulation has them.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The state.
    pub state: State,
    /// The sample, if there is one.
    pub sample: Option<Sample>,
    /// How many pods this stands for.
    pub pods: u32,
}

/// What is wanted of each pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A percentage of what the pods request.
    Utilization(i32),
    /// Thousandths of the metric's unit, on average.
    Average(i64),
}

/// What a metric asks for, and what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// How many pods.
    pub replicas: i32,
    /// The percentage that was measured, where that was asked for.
    pub utilization: Option<i32>,
    /// The value: the mean of the pods, or the object's own; in thousandths.
    pub millis: i64,
}

/// What every calculation starts from.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// `spec.replicas` of the target.
    pub replicas: i32,
    /// Its tolerances.
    pub tolerances: Tolerances,
    /// What holds for all.
    pub settings: &'a Settings,
    /// The time of day.
    pub now: Timestamp,
}

impl Current<'_> {
    /// Reduces a rise to what `calm` would propose, but not below the present count.
    fn only_if_calm(&self, proposed: i32, calm: impl FnOnce() -> i32) -> i32 {
        if self.settings.calm && proposed > self.replicas && self.replicas > 0 {
            proposed.min(calm()).max(self.replicas)
        } else {
            proposed
        }
    }
}

/// A pod as it goes into the sum.
#[derive(Clone, Copy, Debug)]
struct Counted {
    group: Group,
    starting: bool,
    value: i128,
    request: i128,
    pods: i128,
}

/// The ratio of measured to wanted, the figure that is compared, and the mean.
#[derive(Clone, Copy, Debug)]
struct Usage {
    ratio: f64,
    figure: i128,
    mean: i128,
    pods: i128,
}

/// How many pods a metric of pods asks for. `requests` gives what each of `pods` requests, in thousandths, and is asked only
/// for a utilization; `strangers` is how many samples belong to no pod of the list; `cpu` says whether the metric is CPU.
///
/// # Errors
/// When there is nothing to go by, in upstream's words.
pub fn by_pods(
    pods: &[Measured],
    strangers: usize,
    target: Target,
    cpu: bool,
    current: &Current<'_>,
    requests: impl FnOnce() -> Result<Vec<i64>, CannotTell>,
) -> Result<Proposal, CannotTell> {
    if pods.is_empty() {
        return Err(cannot_tell("no pods returned by selector while calculating replica count"));
    }
    let mut all: Vec<Counted> = pods.iter().map(|pod| counted(pod, cpu, current)).collect();
    if strangers == 0 && !all.iter().any(|pod| pod.group == Group::Counted) {
        return Err(cannot_tell("did not receive metrics for targeted pods (pods might be unready)"));
    }
    if matches!(target, Target::Utilization(_)) {
        for (pod, request) in all.iter_mut().zip(requests()?) {
            pod.request = i128::from(request);
        }
    }
    let usage = measure(&all, target, |pod| (pod.group == Group::Counted).then_some(pod.value))?;
    let figures = |replicas: i32| Proposal {
        replicas,
        utilization: matches!(target, Target::Utilization(_)).then(|| clamp_i32(usage.figure)),
        millis: clamp_i64(usage.mean),
    };
    let up = usage.ratio > 1.0;
    let fills = |pod: &Counted| match pod.group {
        Group::Counted => Some(pod.value),
        Group::Missing if up => Some(0),
        Group::Missing if usage.ratio < 1.0 => Some(fallback(pod, target)),
        Group::Unready if up => Some(0),
        _ => None,
    };
    let proposed = proposal(&all, target, &usage, current, fills)?;
    let calm = || calmly(&all, target, current, fills).unwrap_or(current.replicas);
    Ok(figures(current.only_if_calm(proposed, calm)))
}

fn counted(pod: &Measured, cpu: bool, current: &Current<'_>) -> Counted {
    Counted {
        group: group(&pod.state, pod.sample.as_ref(), cpu, current.settings, current.now),
        starting: cpu && pod.state.is_starting(current.settings, current.now),
        value: pod.sample.map_or(0, |sample| i128::from(sample.millis)),
        request: 0,
        pods: i128::from(pod.pods),
    }
}

/// What a pod without a sample counts for on the way down: all it asked for, or what is wanted of it if that is more.
fn fallback(pod: &Counted, target: Target) -> i128 {
    match target {
        Target::Utilization(percent) => pod.request * i128::from(percent.max(100)) / 100,
        Target::Average(millis) => i128::from(millis),
    }
}

/// Measures the pods for which `value` has one.
fn measure(all: &[Counted], target: Target, value: impl Fn(&Counted) -> Option<i128>) -> Result<Usage, CannotTell> {
    let (mut total, mut requested, mut pods) = (0_i128, 0_i128, 0_i128);
    for pod in all {
        if let Some(value) = value(pod) {
            total += value * pod.pods;
            requested += pod.request * pod.pods;
            pods += pod.pods;
        }
    }
    let (figure, wanted) = match target {
        Target::Utilization(percent) => (total.saturating_mul(100).checked_div(requested), i128::from(percent)),
        Target::Average(millis) => (total.checked_div(pods), i128::from(millis)),
    };
    let figure = figure.ok_or_else(|| cannot_tell("no metrics returned matched known pods"))?;
    if wanted <= 0 {
        return Err(cannot_tell("the target is not positive"));
    }
    let mean = total.checked_div(pods).unwrap_or_default();
    Ok(Usage { ratio: figure as f64 / wanted as f64, figure, mean, pods })
}

/// Upstream's proposal.
fn proposal(
    all: &[Counted],
    target: Target,
    usage: &Usage,
    current: &Current<'_>,
    fills: impl Fn(&Counted) -> Option<i128>,
) -> Result<i32, CannotTell> {
    let has = |wanted: Group| all.iter().any(|pod| pod.group == wanted && pod.pods > 0);
    if !(has(Group::Missing) || has(Group::Unready) && usage.ratio > 1.0) {
        let steady = current.tolerances.hold(usage.ratio);
        return Ok(if steady { current.replicas } else { up(usage.ratio * usage.pods as f64) });
    }
    let filled = measure(all, target, fills)?;
    let turned = (usage.ratio < 1.0 && filled.ratio > 1.0) || (usage.ratio > 1.0 && filled.ratio < 1.0);
    if current.tolerances.hold(filled.ratio) || turned {
        return Ok(current.replicas);
    }
    let proposed = up(filled.ratio * filled.pods as f64);
    let turned =
        (filled.ratio < 1.0 && proposed > current.replicas) || (filled.ratio > 1.0 && proposed < current.replicas);
    Ok(if turned { current.replicas } else { proposed })
}

/// The proposal without what rollouts and start-ups add.
fn calmly(
    all: &[Counted],
    target: Target,
    current: &Current<'_>,
    fills: impl Fn(&Counted) -> Option<i128>,
) -> Option<i32> {
    let settled = |pod: &Counted| (pod.group == Group::Counted && !pod.starting).then_some(pod.value);
    let (mut value, mut request, mut pods) = (0, 0, 0);
    for pod in all.iter().filter(|pod| settled(pod).is_some()) {
        (value, request, pods) = (value + pod.value * pod.pods, request + pod.request * pod.pods, pods + pod.pods);
    }
    // What a pod like this one would use if it did what the settled ones do.
    let usual = |pod: &Counted| match target {
        Target::Utilization(_) => (value * pod.request).checked_div(request),
        Target::Average(_) => value.checked_div(pods),
    };
    let calm = measure(all, target, |pod| {
        let value = fills(pod)?;
        Some(if pod.starting && pod.group == Group::Counted { value.min(usual(pod).unwrap_or(value)) } else { value })
    });
    let calm = calm.ok()?;
    if current.tolerances.hold(calm.ratio) {
        return None;
    }
    Some(up(calm.ratio * calm.pods.min(i128::from(current.replicas)) as f64))
}

/// How many pods the value of an object, or of something outside, asks for; `ready` of the listed pods are ready. From no
/// pods at all, whatever there is asks for pods.
///
/// # Errors
/// A value that cannot be true, or pods that are wanted and not there.
pub fn by_value(
    millis: i64,
    target: i64,
    (listed, ready): (usize, usize),
    current: &Current<'_>,
) -> Result<Proposal, CannotTell> {
    let ratio = positive(millis, target)?;
    let done = |replicas: i32| Ok(Proposal { replicas, utilization: None, millis });
    if current.replicas == 0 {
        return done(up(ratio));
    }
    if current.tolerances.hold(ratio) {
        return done(current.replicas);
    }
    if listed == 0 {
        let why = "unable to calculate ready pods: no pods returned by selector while calculating replica count";
        return Err(cannot_tell(why));
    }
    let wanted = usize::try_from(current.replicas).unwrap_or_default();
    done(current.only_if_calm(up(ratio * ready as f64), || up(ratio * ready.min(wanted) as f64)))
}

/// How many pods the value of an object, or of something outside, asks for when each pod is to have `target` of it.
/// `observed` is `status.replicas` of the target. Shows the value per pod.
///
/// # Errors
/// A value that cannot be true.
pub fn by_average(millis: i64, target: i64, observed: i32, current: &Current<'_>) -> Result<Proposal, CannotTell> {
    let needed = positive(millis, target)?;
    let held_by = |replicas: i32| current.tolerances.hold(millis as f64 / (target as f64 * f64::from(replicas)));
    let held = held_by(observed);
    let proposed = if held { observed } else { up(needed) };
    // What runs is right, which says nothing against a count that it has yet to reach.
    let reaching = held && current.settings.calm && observed < current.replicas;
    let calm = || if held_by(current.replicas) { current.replicas } else { up(needed) };
    let replicas = if reaching { current.replicas } else { current.only_if_calm(proposed, calm) };
    let each = if observed > 0 && millis < i64::MAX { up_i64(millis as f64 / f64::from(observed)) } else { millis };
    Ok(Proposal { replicas, utilization: None, millis: each })
}

fn positive(millis: i64, target: i64) -> Result<f64, CannotTell> {
    if millis < 0 {
        return Err(cannot_tell("the value is negative"));
    }
    if target <= 0 {
        return Err(cannot_tell("the target is not positive"));
    }
    Ok(millis as f64 / target as f64)
}

/// The next whole number; what no count can hold is the largest count.
fn up(count: f64) -> i32 {
    // The conversion saturates, and what is not a number is nothing.
    count.ceil() as i32
}

fn up_i64(value: f64) -> i64 {
    value.ceil() as i64
}

/// The nearest number that fits.
pub(crate) fn clamp_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn clamp_i32(value: i128) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}
