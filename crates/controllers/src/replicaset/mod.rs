//! ReplicaSets and ReplicationControllers: as many pods as wanted (kubernetes/pkg/controller/replicaset).

mod expectations;
mod kinds;
mod plan;
mod rank;

use std::{collections::HashSet, marker::PhantomData, sync::Arc, time::Duration};

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
};
use objects::selector::Labels;

pub use plan::{Plan, plan};

use crate::{
    cache::{Cache, Changed, Key, get, in_namespace, is_controlled_by},
    claim::{Claim, claim, reference, settle},
    events::{EventKind, Recorder},
    runner::{self, gone_is_fine},
    vertical,
};
use expectations::Expectations;
use kinds::Set;

/// The controller of one of the kinds.
pub(crate) struct Controller<S> {
    client: Client,
    events: Recorder,
    cache: Arc<Cache>,
    expectations: Expectations,
    of: PhantomData<fn() -> S>,
}

impl<S: Set> Controller<S> {
    pub(crate) fn new(client: Client, cache: Arc<Cache>) -> Self {
        let events = Recorder::new(client.clone(), S::COMPONENT);
        Self { events, client, cache, expectations: Expectations::default(), of: PhantomData }
    }

    async fn create(&self, set: &S, count: usize) -> Result<(), (&'static str, kube::Error)> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &set.namespace().unwrap_or_default());
        let mut pod = plan::pod(&set.as_replica_set(), reference(set));
        vertical::initial::size(&self.cache, set, &mut pod);
        for _ in 0..count {
            match api.create(&PostParams::default(), &pod).await {
                Ok(made) => {
                    self.expectations.created(&set.uid().unwrap_or_default(), &made.uid().unwrap_or_default());
                    let message = format!("Created pod: {}", made.name_any());
                    self.events.record(set, EventKind::Normal, "SuccessfulCreate", &message).await;
                }
                Err(error) => {
                    let message = format!("Error creating: {error}");
                    self.events.record(set, EventKind::Warning, "FailedCreate", &message).await;
                    return Err(("FailedCreate", error));
                }
            }
        }
        Ok(())
    }

    async fn delete(&self, set: &S, pods: &[&Pod]) -> Result<(), (&'static str, kube::Error)> {
        for pod in pods {
            let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
            let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
            let result = api.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default() }).await;
            if let Err(error) = gone_is_fine(result) {
                let message = format!("Error deleting: {error}");
                self.events.record(set, EventKind::Warning, "FailedDelete", &message).await;
                return Err(("FailedDelete", error));
            }
            self.expectations.deleted(&set.uid().unwrap_or_default(), &uid);
            let message = format!("Deleted pod: {name}");
            self.events.record(set, EventKind::Normal, "SuccessfulDelete", &message).await;
        }
        Ok(())
    }

    /// The uids of the sets with the same controller as this one, itself included: on a crowded node their pods count together.
    fn related(&self, set: &S) -> HashSet<String> {
        let controller = |set: &S| {
            set.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
        };
        let Some(owner) = controller(set) else { return set.uid().into_iter().collect() };
        let all = in_namespace(S::all(&self.cache), &set.namespace().unwrap_or_default());
        all.iter().filter(|other| controller(other).as_ref() == Some(&owner)).filter_map(|other| other.uid()).collect()
    }
}

/// What a set selects by; nothing if its selector is not one, which the API refuses to store.
fn selector(set: &ReplicaSet) -> Option<Labels> {
    Labels::from_selector(&set.spec.as_ref()?.selector).ok()
}

impl<S: Set> runner::Controller for Controller<S> {
    const NAME: &'static str = S::NAME;

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        if let Some(set) = S::changed(change) {
            return vec![Key::of(set.as_ref())];
        }
        match change {
            Changed::Pod(pod) => {
                let namespace = pod.namespace().unwrap_or_default();
                let controller = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
                if let Some(owner) = controller {
                    let ours = owner.kind == S::kind(&());
                    if ours {
                        self.expectations.showed(&owner.uid, &pod.uid().unwrap_or_default());
                    }
                    return ours.then(|| Key { namespace, name: owner.name.clone() }).into_iter().collect();
                }
                // Nobody's: whoever selects it may take it.
                let selects = |set: &&Arc<S>| selector(&set.as_replica_set()).is_some_and(|s| s.matches(pod.labels()));
                let sets = in_namespace(S::all(&self.cache), &namespace);
                sets.iter().filter(selects).map(|set| Key::of(set.as_ref())).collect()
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let Some(original) = get(S::all(&self.cache), key) else { return Ok(None) };
        let set = original.as_replica_set();
        let Some(selector) = selector(&set) else { return Ok(None) };
        let uid = set.uid().unwrap_or_default();
        let pods = in_namespace(&self.cache.pods, &key.namespace);
        let wait = {
            let own: Vec<&Pod> = pods.iter().map(AsRef::as_ref).filter(|pod| is_controlled_by(*pod, &uid)).collect();
            self.expectations.wait(&uid, &own)
        };
        let active = pods.iter().map(AsRef::as_ref).filter(|pod| plan::is_active(pod));
        let claims: Vec<(&Pod, Claim)> = active.map(|pod| (pod, claim(&set.metadata, &selector, pod))).collect();
        settle(&self.client, original.as_ref(), &claims).await?;
        let own: Vec<&Pod> = claims.iter().filter(|(_, claim)| claim.counts()).map(|(pod, _)| *pod).collect();
        let sets = self.related(&original);
        let of_related = |pod: &&Pod| sets.iter().any(|uid| is_controlled_by(*pod, uid));
        let related: Vec<&Pod> = claims.iter().map(|(pod, _)| *pod).filter(of_related).collect();
        let now = jiff::Timestamp::now();
        let mut planned = plan(&set, &own, &related, now);
        let mut failed = None;
        if set.metadata.deletion_timestamp.is_some() {
            self.expectations.forget(&uid);
        } else if wait.is_none() {
            let done = match self.create(&original, planned.create).await {
                Ok(()) => self.delete(&original, &planned.delete).await,
                failed => failed,
            };
            failed = done.err();
            let failure = failed.as_ref().map(|(reason, error)| (*reason, error.to_string()));
            plan::note_failure(&mut planned.status, failure, now);
        }
        if set.status.as_ref() != Some(&planned.status) {
            let api: Api<S> = Api::namespaced(self.client.clone(), &key.namespace);
            // The whole of it: in a merge patch a count that became nothing would stay.
            let next = original.with_status(planned.status);
            api.replace_status(&key.name, &PostParams::default(), &next).await?;
        }
        match failed {
            Some((_, error)) => Err(error.into()),
            None => Ok([planned.again, wait].into_iter().flatten().min()),
        }
    }
}
