//! Wakes what sleeps: raises the target of a HorizontalPodAutoscaler from no pods to one when somebody waits for a Service of
//! its. From there on the autoscaler goes on.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{scalable::Scalable, sleepers::Waking};

/// How soon it is looked again whether what somebody still waits for has not been scaled down meanwhile.
const LOOK: Duration = Duration::from_secs(1);
/// How soon a failure is tried again: at first, doubled each time, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// Services that are woken at a time.
const AT_ONCE: usize = 16;

/// What is known of a Service that is wanted.
struct Tried {
    /// Since it was wanted for this time.
    time: usize,
    /// When to look again.
    next: Instant,
    failures: u32,
}

impl Tried {
    /// A Service that is wanted anew is looked at at once, unless that has just failed.
    fn is_due(&self, waking: &Waking, now: Instant) -> bool {
        self.next <= now || self.failures == 0 && self.time != waking.sleeper.times()
    }
}

/// Runs until it is dropped. `asked` is notified when a Service of `sleepers` is wanted; each is looked at again for as long as
/// it is.
pub(super) async fn run(client: Client, mut sleepers: watch::Receiver<Vec<Waking>>, asked: Arc<Notify>) {
    let recorder = Recorder::new(client.clone(), Reporter { controller: "gateway".to_owned(), instance: None });
    let mut tried: HashMap<Arc<str>, Tried> = HashMap::new();
    loop {
        let wanted: Vec<Waking> =
            sleepers.borrow_and_update().iter().filter(|waking| waking.sleeper.is_wanted()).cloned().collect();
        tried.retain(|service, _| wanted.iter().any(|waking| waking.sleeper.service() == service));
        let now = Instant::now();
        let mut due = Vec::new();
        for waking in wanted {
            let tried = tried.get(waking.sleeper.service());
            if tried.is_none_or(|tried| tried.is_due(&waking, now)) {
                due.push(wake(client.clone(), recorder.clone(), waking, tried.map_or(0, |tried| tried.failures)));
            }
        }
        let woken: Vec<(Arc<str>, Tried)> = stream::iter(due).buffer_unordered(AT_ONCE).collect().await;
        tried.extend(woken);
        let next = tried.values().map(|tried| tried.next).min();
        tokio::select! {
            () = asked.notified() => {}
            changed = sleepers.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
}

/// After so many failures in a row.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => LOOK,
        more => AGAIN.0.saturating_mul(1u32.checked_shl(more - 1).unwrap_or(u32::MAX)).min(AGAIN.1),
    }
}

/// Sees to it that a Service has a pod coming; its name, and what is known of it then. It has failed so often in a row.
async fn wake(client: Client, recorder: Recorder, waking: Waking, before: u32) -> (Arc<str>, Tried) {
    let (service, time) = (waking.sleeper.service().clone(), waking.sleeper.times());
    let mut failures = 0;
    for target in &waking.targets {
        match raise(&client, target).await {
            Ok(raised) => {
                failures = 0;
                waking.sleeper.heard();
                if raised {
                    say(&recorder, target, &service).await;
                }
                break;
            }
            Err(error) => {
                failures = before.saturating_add(1);
                // Somebody else may have written it meanwhile: the next look tells what.
                if before == 0 && !matches!(&error, kube::Error::Api(status) if status.code == 409) {
                    let Scalable { resource, name, .. } = &**target;
                    tracing::warn!(%service, kind = resource.kind, name, error = %error, "not woken; trying again");
                }
            }
        }
    }
    (service, Tried { time, next: Instant::now() + pause(failures), failures })
}

/// Gives something that has no pods one; `false` if it has some already.
async fn raise(client: &Client, target: &Scalable) -> kube::Result<bool> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &target.namespace, &target.resource);
    let scale = api.get_scale(&target.name).await?;
    if scale.spec.and_then(|spec| spec.replicas).unwrap_or(0) > 0 {
        return Ok(false);
    }
    // With the version that was read: what somebody else has raised further is not brought back to one.
    let version = scale.metadata.resource_version;
    let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": 1}});
    api.patch_scale(&target.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(true)
}

/// Says why, where people look for what an autoscaler did.
async fn say(recorder: &Recorder, target: &Scalable, service: &str) {
    let Scalable { resource, name, .. } = target;
    let name_alone = service.rsplit('/').next().unwrap_or(service);
    let event = Event {
        type_: EventType::Normal,
        reason: "Woken".to_owned(),
        note: Some(format!("A request waits for service {name_alone}: {} {name} goes from 0 to 1", resource.kind)),
        action: "Wake".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &target.autoscaler).await {
        tracing::warn!(service, error = %error, "event not written: woken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_at_growing_distances_and_success_is_looked_after() {
        assert_eq!((pause(0), pause(1), pause(2)), (LOOK, AGAIN.0, AGAIN.0 * 2));
        assert_eq!((pause(30), pause(u32::MAX)), (AGAIN.1, AGAIN.1));
    }
}
