//! Leaving service: a pod that is deleted or evicted is told to end only once no Service sends requests to it any more. Kubernetes does the two at the
//! same time, which loses requests unless a preStop hook waits; here the node knows when it may go on.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::Worker;
use crate::sources::Traffic;

/// The longest wait for the EndpointSlices to change.
const LONGEST: Duration = Duration::from_secs(2);
/// What those who route by the slices get to take the change in.
const SETTLES: Duration = Duration::from_millis(100);

/// How far a deleted pod has left service.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaving {
    /// When its end was first seen while it still got requests.
    since: Option<Timestamp>,
    /// When no slice sent requests to it any more.
    left: Option<Timestamp>,
}

impl Worker {
    /// Until when the stop of a deleted pod is held back; a change of the slices may end that sooner.
    pub(super) fn leaves(&mut self, now: Timestamp) -> Option<Timestamp> {
        let stopping = self.view.containers.values().any(|container| container.stopping);
        let hurry = self.pod.metadata.deletion_grace_period_seconds == Some(0);
        if !self.ends() || hurry || stopping || !self.view.any_running() {
            return None;
        }
        let (namespace, uid) = (self.pod.namespace().unwrap_or_default(), self.pod.uid().unwrap_or_default());
        let until = match self.ctx.sources.traffic(&namespace, &uid) {
            // One that was not deleted is in no slice any more when it has left.
            Traffic::None if self.is_deleted() || self.leaving.since.is_none() => return None,
            Traffic::Given => self.leaving.since.get_or_insert(now).checked_add(LONGEST),
            // The slices may have changed before its deletion was seen here.
            Traffic::Left | Traffic::None => self.leaving.left.get_or_insert(now).checked_add(SETTLES),
        };
        until.ok().filter(|until| *until > now)
    }
}
