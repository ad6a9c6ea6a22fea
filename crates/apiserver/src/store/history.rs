//! The last changes of one resource, for watchers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{Key, Stored};

/// Changes remembered for each resource; a watch that asks for older ones is told 410 Gone.
const REMEMBERED: usize = 1024;
/// Bytes of objects remembered for each resource, should they be large ones.
const REMEMBERED_BYTES: usize = 32 * 1024 * 1024;
/// Forms in which one change is kept as it is sent; watchers that want others have it made for them.
const FORMS: usize = 4;

/// One visible change of an object.
#[derive(Debug)]
pub struct Change {
    /// Which object.
    pub key: Key,
    /// Its state after the change; its last state, under the revision of the deletion, if `deleted`.
    pub stored: Stored,
    /// Its state before: a watcher with a selector needs to know whether it saw the object.
    pub previous: Option<Stored>,
    /// Whether the change removed it.
    pub deleted: bool,
    sent: Mutex<Vec<(String, Bytes)>>,
}

impl Change {
    pub(super) fn new(key: Key, stored: Stored, previous: Option<Stored>, deleted: bool) -> Self {
        Self { key, stored, previous, deleted, sent: Mutex::default() }
    }

    /// The change in some form, made once for all watchers that want it in that form.
    pub fn in_form<E>(&self, form: &str, make: impl FnOnce() -> Result<Bytes, E>) -> Result<Bytes, E> {
        let made = || self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = made().iter().find(|(name, _)| name == form) {
            return Ok(bytes.clone());
        }
        // Not under the lock: at worst it is made twice.
        let bytes = make()?;
        let mut made = made();
        if made.len() == FORMS {
            made.remove(0);
        }
        made.push((form.to_owned(), bytes.clone()));
        Ok(bytes)
    }

    fn size(&self) -> usize {
        self.stored.json.len() + self.previous.as_ref().map_or(0, |previous| previous.json.len())
    }
}

/// Changes in order of revision, complete up to `until`.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The revision up to which nothing is missing.
    pub until: u64,
    /// What happened.
    pub changes: Vec<Arc<Change>>,
}

#[derive(Debug)]
pub(super) struct History {
    /// Everything after this revision is here.
    complete_after: u64,
    changes: VecDeque<Arc<Change>>,
    size: usize,
}

impl History {
    /// Nothing from before `revision` is remembered.
    pub(super) fn starting_at(revision: u64) -> Self {
        Self { complete_after: revision, changes: VecDeque::new(), size: 0 }
    }

    pub(super) fn push(&mut self, change: Change) {
        self.size += change.size();
        self.changes.push_back(Arc::new(change));
        while self.changes.len() > REMEMBERED || self.size > REMEMBERED_BYTES && self.changes.len() > 1 {
            let Some(oldest) = self.changes.pop_front() else { return };
            self.size = self.size.saturating_sub(oldest.size());
            self.complete_after = oldest.stored.revision;
        }
    }

    /// At most `most` changes after `revision`; `None` if not all of them are remembered.
    pub(super) fn after(&self, revision: u64, until: u64, most: usize) -> Option<Changes> {
        if revision < self.complete_after {
            return None;
        }
        let start = self.changes.partition_point(|change| change.stored.revision <= revision);
        let changes: Vec<_> = self.changes.range(start..).take(most).cloned().collect();
        let is_all = start + changes.len() == self.changes.len();
        let until = changes.last().filter(|_| !is_all).map_or(until, |last| last.stored.revision);
        Some(Changes { until: until.max(revision), changes })
    }

    /// The oldest revision from which a watch can go on.
    pub(super) fn oldest(&self) -> u64 {
        self.complete_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64, size: usize) -> Change {
        let key = Key { resource: "/things".into(), namespace: String::new(), name: "a".into() };
        Change::new(key, Stored::new(revision, Bytes::from(vec![b'x'; size])), None, false)
    }

    #[test]
    fn large_changes_are_forgotten_sooner() {
        let mut history = History::starting_at(0);
        for revision in 1..=10 {
            history.push(change(revision, REMEMBERED_BYTES / 4));
        }
        assert_eq!(history.oldest(), 6);
        assert!(history.after(5, 10, usize::MAX).is_none());
        assert_eq!(history.after(6, 10, usize::MAX).map(|news| news.changes.len()), Some(4));
    }

    #[test]
    fn a_part_of_the_changes_says_up_to_where_it_is_complete() {
        let mut history = History::starting_at(0);
        (1..=5).for_each(|revision| history.push(change(revision, 1)));
        let part = history.after(1, 9, 2).unwrap();
        assert_eq!((part.until, part.changes.len()), (3, 2));
        let rest = history.after(part.until, 9, 2).unwrap();
        assert_eq!((rest.until, rest.changes.len()), (9, 2));
        assert_eq!(history.after(20, 9, 2).map(|none| none.until), Some(20), "what is not there yet was not missed");
    }

    #[test]
    fn a_form_is_made_once() {
        let change = change(1, 1);
        let made =
            |text: &'static str| change.in_form("f", || Ok::<_, ()>(Bytes::from_static(text.as_bytes()))).unwrap();
        assert_eq!((made("a"), made("b")), (Bytes::from_static(b"a"), Bytes::from_static(b"a")));
    }
}
