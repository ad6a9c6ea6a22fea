//! Telling of containers that need more memory: one that was ended for want of it, as soon as its status says so, and one whose memory
//! stays at its limit. Each event names what is recommended.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use autoscaling::vertical::memory::{self, Killed};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::initial;
use crate::{
    autoscaler::figures::Used,
    cache::{Cache, Changed, Key, get},
    events::{EventKind, Recorder},
    runner,
};

/// For so many rounds in a row a container is at its limit before that is told.
const STAYS: u32 = 2;
/// While it stays there it is told again this often.
const AGAIN: Duration = Duration::from_secs(600);
/// Runs that are remembered; past it those of pods that are gone are forgotten.
const REMEMBERED: usize = 1024;

/// Whether anything of a pod has a memory limit.
pub(super) fn has_limits(pod: &Pod) -> bool {
    let limited = |name: &str| memory::limit(pod, name).is_some();
    pod.spec.iter().flat_map(|spec| &spec.containers).any(|container| limited(&container.name))
}

fn advice(cache: &Cache, pod: &Pod, container: &str) -> String {
    let recommended = initial::for_container(cache, pod, container);
    let recommended = recommended.as_ref().map(|(name, said)| (name.as_str(), said));
    memory::advice(memory::limit(pod, container), recommended)
}

/// The message about a container at its limit.
pub(super) fn full(cache: &Cache, pod: &Pod, used: &Used) -> String {
    let limit = memory::limit(pod, &used.container).unwrap_or(0);
    format!(
        "container {} stays at its memory limit: it uses {} of {}; {}",
        used.container,
        memory::mebibytes(used.memory),
        memory::mebibytes(limit),
        advice(cache, pod, &used.container)
    )
}

/// The containers that are at their limits, by the pod's uid and their names.
#[derive(Debug, Default)]
pub(super) struct Full(HashMap<(String, String), Since>);

#[derive(Debug, Default)]
struct Since {
    rounds: u32,
    told: Option<Instant>,
}

impl Full {
    /// Takes in what a container uses; says whether to tell.
    pub fn look(&mut self, who: &(String, String), pod: &Pod, used: &Used) -> bool {
        let at_limit = memory::limit(pod, &used.container).is_some_and(|limit| memory::is_full(used.memory, limit));
        if !at_limit {
            self.0.remove(who);
            return false;
        }
        let since = self.0.entry(who.clone()).or_default();
        since.rounds = since.rounds.saturating_add(1);
        let tell = since.rounds >= STAYS && since.told.is_none_or(|at| at.elapsed() >= AGAIN);
        if tell {
            since.told = Some(Instant::now());
        }
        tell
    }

    /// Forgets the others.
    pub fn keep(&mut self, seen: &HashSet<(String, String)>) {
        self.0.retain(|who, _| seen.contains(who));
    }
}

/// Tells of containers that were ended for want of memory.
pub(crate) struct Alarms {
    cache: Arc<Cache>,
    recorder: Recorder,
    client: Client,
    begun: Timestamp,
    told: Mutex<HashMap<(String, String), Timestamp>>,
}

/// The reason of the events about containers that were ended.
const KILLED: &str = "OOMKilled";

impl Alarms {
    pub(crate) fn new(client: Client, cache: Arc<Cache>) -> Self {
        let recorder = Recorder::new(client.clone(), "vertical-pod-autoscaler");
        Self { cache, recorder, client, begun: Timestamp::now(), told: Mutex::default() }
    }

    /// Whether an earlier Coracle told of this. What cannot be found out is told again.
    async fn was_told(&self, pod: &Pod, killed: &Killed) -> bool {
        if killed.at >= self.begun {
            return false;
        }
        let api: Api<Event> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let about = format!("involvedObject.uid={},reason={KILLED}", pod.uid().unwrap_or_default());
        let found = api.list(&ListParams::default().fields(&about)).await;
        let begins = format!("container {} ", killed.container);
        found.is_ok_and(|list| {
            list.items.iter().any(|event| {
                event.message.as_deref().is_some_and(|message| message.starts_with(&begins))
                    && event.last_timestamp.as_ref().is_some_and(|at| at.0 >= killed.at)
            })
        })
    }

    /// Whether this has not been told yet; it counts as told then.
    fn is_new(&self, uid: &str, killed: &Killed) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() > REMEMBERED {
            let present: HashSet<String> = self.cache.pods.state().iter().filter_map(|pod| pod.uid()).collect();
            told.retain(|(uid, _), _| present.contains(uid));
        }
        let who = (uid.to_owned(), killed.container.clone());
        told.insert(who, killed.at).is_none_or(|before| before < killed.at)
    }
}

impl runner::Controller for Alarms {
    const NAME: &'static str = "memory-alarm";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Pod(pod) if !memory::killed(pod).is_empty() => vec![Key::of(pod.as_ref())],
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let Some(pod) = get(&self.cache.pods, key) else { return Ok(None) };
        let (uid, now) = (pod.uid().unwrap_or_default(), Timestamp::now());
        for killed in memory::killed(&pod) {
            if memory::is_news(&killed, now) && self.is_new(&uid, &killed) && !self.was_told(&pod, &killed).await {
                let advice = advice(&self.cache, &pod, &killed.container);
                let limit = memory::limit(&pod, &killed.container).map(memory::mebibytes);
                let all = limit.map_or_else(String::new, |limit| format!(": it used all of its limit of {limit}"));
                let message = format!("container {} was ended for want of memory{all}; {advice}", killed.container);
                self.recorder.record(pod.as_ref(), EventKind::Warning, KILLED, &message).await;
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_that_stays_at_its_limit_is_told_of_once() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "c", "resources": {"limits": {"memory": "100"}}}]}}))
        .unwrap();
        let used = |memory| {
            let [namespace, pod, container] = ["n", "p", "c"].map(str::to_owned);
            Used { namespace, pod, container, at: Timestamp::UNIX_EPOCH, cpu: 0.0, memory }
        };
        let (mut full, who) = (Full::default(), ("u".to_owned(), "c".to_owned()));
        let told = [99, 10, 96, 95, 97, 100].map(|memory| full.look(&who, &pod, &used(memory)));
        assert_eq!(told, [false, false, false, true, false, false]);
        full.keep(&HashSet::new());
        assert!(full.0.is_empty() && has_limits(&pod));
    }
}
