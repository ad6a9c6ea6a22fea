//! Leaving service: a deleted pod is told to end only once no Service sends requests to it any more. Kubernetes does the two at the
//! same time, which loses requests unless a preStop hook waits; here the node knows when it may go on.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::Worker;
use crate::env::Lookup;

/// The longest wait for the EndpointSlices to change.
const LONGEST: Duration = Duration::from_secs(2);
/// What those who route by the slices get to take the change in.
const SETTLES: Duration = Duration::from_millis(100);

/// How far a deleted pod has left service.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaving {
    /// When a slice first named it after its deletion was seen.
    since: Option<Timestamp>,
    /// When none did any more.
    left: Option<Timestamp>,
}

impl Worker {
    /// Until when the stop of a deleted pod is held back; a change of the slices may end that sooner.
    pub(super) fn leaves(&mut self, now: Timestamp) -> Option<Timestamp> {
        let stopping = self.view.containers.values().any(|container| container.stopping);
        let hurry = self.pod.metadata.deletion_grace_period_seconds == Some(0);
        if !self.is_deleted() || hurry || stopping || !self.view.any_running() {
            return None;
        }
        let (namespace, uid) = (self.pod.namespace().unwrap_or_default(), self.pod.uid().unwrap_or_default());
        if self.ctx.sources.is_in_service(&namespace, &uid) {
            let since = *self.leaving.since.get_or_insert(now);
            return since.checked_add(LONGEST).ok().filter(|until| *until > now);
        }
        self.leaving.since?;
        let left = *self.leaving.left.get_or_insert(now);
        left.checked_add(SETTLES).ok().filter(|until| *until > now)
    }
}
