//! The last changes of one resource, for watchers.

use std::collections::VecDeque;

use super::{Key, REMEMBERED, Stored};

/// One visible change of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which object.
    pub key: Key,
    /// Its state after the change; its last state, under the revision of the deletion, if `deleted`.
    pub stored: Stored,
    /// Its state before: a watcher with a selector needs to know whether it saw the object.
    pub previous: Option<Stored>,
    /// Whether the change removed it.
    pub deleted: bool,
}

/// Changes in order of revision, complete up to `until`.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The revision up to which nothing is missing.
    pub until: u64,
    /// What happened.
    pub changes: Vec<Change>,
}

#[derive(Debug, Default)]
pub(super) struct History {
    /// Everything after this revision is here.
    complete_after: u64,
    changes: VecDeque<Change>,
}

impl History {
    pub(super) fn forget_until(&mut self, revision: u64) {
        self.complete_after = revision;
        self.changes.clear();
    }

    pub(super) fn push(&mut self, change: Change) {
        if self.changes.len() == REMEMBERED
            && let Some(oldest) = self.changes.pop_front()
        {
            self.complete_after = oldest.stored.revision;
        }
        self.changes.push_back(change);
    }

    pub(super) fn after(&self, revision: u64, until: u64) -> Option<Changes> {
        if revision < self.complete_after {
            return None;
        }
        let start = self.changes.partition_point(|change| change.stored.revision <= revision);
        Some(Changes { until, changes: self.changes.range(start..).cloned().collect() })
    }
}
