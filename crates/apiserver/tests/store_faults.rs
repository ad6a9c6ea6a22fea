//! The store over a disk that fails: writes that are torn, refused or slow, no room, a refused fsync, and a loss of power at any
//! moment. What was acknowledged is there afterwards, and nobody was shown anything else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "support/disk.rs"]
mod disk;

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use apiserver::store::{DiskError, Key, Next, Store, StoreError};
use disk::{Fault, TestDisk};
use proptest::prelude::*;

fn things() -> Arc<str> {
    "/things".into()
}

fn key(name: &str) -> Key {
    Key { resource: things(), namespace: "n".into(), name: name.into() }
}

async fn put(store: &Store, name: &str, text: String) -> Result<(), DiskError> {
    match store.write(key(name), move |_, _| Ok::<_, Infallible>(Next::Put(text.into_bytes()))).await {
        Ok(_) => Ok(()),
        Err(StoreError::Disk(error)) => Err(error),
        Err(StoreError::Refused(never)) => match never {},
        Err(StoreError::Panicked(panic)) => panic!("{panic}"),
    }
}

fn contents(store: &Store) -> BTreeMap<String, Vec<u8>> {
    store.list(&things(), "").objects.into_iter().map(|(key, stored)| (key.name, stored.json.to_vec())).collect()
}

/// The store after its process has ended and the last handle is gone.
async fn closed(store: Store) {
    let closed = store.closed();
    drop(store);
    closed.await;
}

#[tokio::test]
async fn after_a_refused_fsync_everything_is_written_anew_because_nobody_knows_what_the_disk_has() {
    let disk = TestDisk::default();
    let store = Store::open_in(disk.clone()).unwrap();
    put(&store, "a", "1".into()).await.unwrap();
    disk.fail(Fault::Sync);
    assert!(put(&store, "a", "2".into()).await.is_err());
    assert_eq!(contents(&store)["a"], b"1", "what was not durable is not shown");
    assert!(store.check().await.is_err(), "the disk still refuses");
    disk.heal();
    store.check().await.unwrap();
    put(&store, "b", "3".into()).await.unwrap();
    let before = contents(&store);
    // The pages that the disk refused are lost, though it says that it has none to write.
    disk.lose_power(0);
    closed(store).await;
    let store = Store::open_in(disk).unwrap();
    assert_eq!(contents(&store), before);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let disk = TestDisk::default();
    let store = Store::open_in(disk.clone()).unwrap();
    put(&store, "a", "1".into()).await.unwrap();
    disk.fail(Fault::Full);
    let refused = put(&store, "b", format!("\"{}\"", "x".repeat(4 << 20))).await.unwrap_err();
    assert!(refused.full, "{refused}");
    assert!(store.figures().broken.is_some());
    disk.heal();
    put(&store, "c", "3".into()).await.unwrap();
    assert!(store.figures().broken.is_none());
    closed(store).await;
    assert_eq!(contents(&Store::open_in(disk).unwrap()).into_keys().collect::<Vec<_>>(), ["a", "c"]);
}

#[tokio::test]
async fn a_write_is_neither_answered_nor_shown_while_the_disk_is_slow() {
    let disk = TestDisk::default();
    let store = Store::open_in(disk.clone()).unwrap();
    let revision = store.revision();
    let slow = disk.hold_sync();
    let write = tokio::spawn({
        let store = store.clone();
        async move { put(&store, "a", "1".into()).await }
    });
    slow.reached().await;
    assert!(!write.is_finished());
    assert_eq!((contents(&store).len(), store.revision()), (0, revision));
    assert!(store.changes(&things(), revision, 10).unwrap().changes.is_empty());
    slow.let_go();
    write.await.unwrap().unwrap();
    assert_eq!(contents(&store).len(), 1);
}

#[tokio::test]
async fn what_a_new_process_finds_of_a_refused_write_is_made_to_last_before_it_is_shown() {
    let disk = TestDisk::default();
    let store = Store::open_in(disk.clone()).unwrap();
    put(&store, "a", "1".into()).await.unwrap();
    // It is written, but neither made to last nor taken back.
    disk.fail_after(1);
    assert!(put(&store, "a", "2".into()).await.is_err());
    closed(store).await;
    disk.heal();
    let store = Store::open_in(disk.clone()).unwrap();
    let found = contents(&store);
    assert_eq!(found["a"], b"2", "nobody can tell it from one that was acknowledged");
    disk.lose_power(0);
    closed(store).await;
    assert_eq!(contents(&Store::open_in(disk).unwrap()), found);
}

#[tokio::test]
async fn a_name_that_may_not_last_is_made_to_last_by_the_process_that_finds_it() {
    let disk = TestDisk::default();
    let store = Store::open_in(disk.clone()).unwrap();
    put(&store, "a", "1".into()).await.unwrap();
    disk.fail(Fault::Sync);
    assert!(put(&store, "a", "2".into()).await.is_err());
    // A new file is written, and gets its name.
    disk.fail(Fault::Name);
    assert!(put(&store, "a", "3".into()).await.is_err());
    closed(store).await;
    disk.heal();
    let store = Store::open_in(disk.clone()).unwrap();
    let found = contents(&store);
    assert_eq!(found["a"], b"3");
    disk.lose_power(0);
    closed(store).await;
    assert_eq!(contents(&Store::open_in(disk).unwrap()), found);
}

#[tokio::test]
async fn large_writes_that_arrive_together_do_not_all_go_into_one_commit() {
    let disk = TestDisk::default();
    let store = Store::open_in(disk.clone()).unwrap();
    let slow = disk.hold_sync();
    let first = tokio::spawn({
        let store = store.clone();
        async move { put(&store, "first", "1".into()).await }
    });
    slow.reached().await;
    let commits = store.figures().commits;
    let large = |number: usize| {
        let store = store.clone();
        async move { put(&store, &format!("n{number}"), format!("\"{}\"", "x".repeat(1 << 20))).await }
    };
    // They all wait for their turn while the disk is slow.
    let mut waiting = Box::pin(futures::future::join_all((0..40).map(large)));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    slow.let_go();
    first.await.unwrap().unwrap();
    for written in waiting.await {
        written.unwrap();
    }
    let commits = store.figures().commits - commits;
    assert!((6..20).contains(&commits), "{commits} commits");
    assert_eq!(contents(&store).len(), 41);
}

#[tokio::test]
async fn a_file_that_has_grown_is_written_anew_and_loses_nothing() {
    let disk = TestDisk::default();
    let store = Store::open_in(disk.clone()).unwrap();
    put(&store, "kept", "1".into()).await.unwrap();
    for number in 0..30 {
        put(&store, &format!("large{number}"), format!("\"{}\"", "x".repeat(3 << 20))).await.unwrap();
    }
    let large = disk.size();
    for number in 0..30 {
        let gone = |_: Option<&_>, _| Ok::<_, Infallible>(Next::Delete(b"0".to_vec()));
        store.write(key(&format!("large{number}")), gone).await.unwrap();
    }
    assert!(disk.size() < large / 4, "{} of {large} bytes", disk.size());
    put(&store, "last", "2".into()).await.unwrap();
    let before = (contents(&store), store.revision());
    disk.lose_power(0);
    closed(store).await;
    let store = Store::open_in(disk).unwrap();
    assert_eq!((contents(&store), store.revision()), before);
}

#[tokio::test]
async fn what_was_refused_is_not_there_after_a_restart_if_it_could_be_taken_back() {
    // Nothing is left to be taken back of a write for which there was no room.
    for fault in [Fault::Sync, Fault::Full] {
        let disk = TestDisk::default();
        let store = Store::open_in(disk.clone()).unwrap();
        put(&store, "a", "1".into()).await.unwrap();
        disk.fail(fault);
        assert!(put(&store, "a", format!("\"{}\"", "x".repeat(300_000))).await.is_err());
        disk.heal();
        closed(store).await;
        let store = Store::open_in(disk.clone()).unwrap();
        assert_eq!(contents(&store)["a"], b"1", "{fault:?}");
        put(&store, "b", "2".into()).await.unwrap();
        let before = contents(&store);
        disk.lose_power(0);
        closed(store).await;
        assert_eq!(contents(&Store::open_in(disk).unwrap()), before, "{fault:?}");
    }
}

#[tokio::test]
async fn what_was_refused_and_could_not_be_taken_back_is_shown_after_a_restart_only_if_it_stays() {
    let disk = TestDisk::default();
    let store = Store::open_in(disk.clone()).unwrap();
    disk.fail(Fault::Late);
    assert!(put(&store, "a", "1".into()).await.is_err());
    disk.heal();
    closed(store).await;
    let store = Store::open_in(disk.clone()).unwrap();
    let shown = contents(&store);
    disk.lose_power(0);
    closed(store).await;
    assert_eq!(contents(&Store::open_in(disk).unwrap()), shown);
}

#[tokio::test]
async fn what_was_refused_is_taken_back_before_the_next_write_even_if_it_could_not_be_at_once() {
    for fault in [Fault::Torn, Fault::Late] {
        let disk = TestDisk::default();
        let store = Store::open_in(disk.clone()).unwrap();
        disk.fail(fault);
        assert!(put(&store, "a", format!("\"{}\"", "x".repeat(2_000_000))).await.is_err());
        assert!(put(&store, "a", "2".into()).await.is_err(), "it cannot be taken back yet");
        disk.heal();
        put(&store, "b", "3".into()).await.unwrap();
        assert!(disk.size() < 1_000_000, "{fault:?}: {} bytes", disk.size());
        let before = contents(&store);
        closed(store).await;
        assert_eq!(contents(&Store::open_in(disk).unwrap()), before, "{fault:?}");
    }
}

#[tokio::test]
async fn neither_file_is_written_to_when_nobody_knows_which_of_them_has_the_name() {
    let disk = TestDisk::default();
    let store = Store::open_in(disk.clone()).unwrap();
    // Nobody's writes: the file has grown, and what was made of it has its name, but the directory may not be kept.
    disk.fail(Fault::Name);
    let mut number = 0;
    while disk.drafts().1 < 2 {
        number += 1;
        put(&store, "large", format!("\"{number}{}\"", "x".repeat(3 << 20))).await.unwrap();
        assert!(number < 40);
        // What is done about the file comes after the answer, and before that to the next.
        let keep = |_: Option<&_>, _| Ok::<_, Infallible>(Next::Keep);
        store.write(key("large"), keep).await.unwrap();
    }
    assert!(put(&store, "b", "2".into()).await.is_err(), "again a new one");
    disk.heal();
    put(&store, "c", "3".into()).await.unwrap();
    let before = contents(&store);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["c", "large"]);
    disk.lose_power(0);
    closed(store).await;
    assert_eq!(contents(&Store::open_in(disk).unwrap()), before);
}

#[tokio::test]
async fn a_draft_for_which_there_is_no_room_gives_back_what_it_took() {
    let disk = TestDisk::default();
    disk.holds(106 << 20);
    let store = Store::open_in(disk.clone()).unwrap();
    let large = || format!("\"{}\"", "x".repeat(3 << 20));
    // A third of what may be in the file before it is written anew is in it.
    for number in 0..35 {
        put(&store, &format!("large{}", number % 3), large()).await.unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    assert!(disk.size() > 100 << 20, "{} bytes: it could not be written anew", disk.size());
    store.check().await.unwrap();
    closed(store).await;
    assert_eq!(disk.drafts(), (false, 2), "the first file, and one that it was tried to write anew");
}

#[tokio::test]
async fn a_write_for_which_there_is_no_room_gives_back_at_once_what_it_took() {
    let disk = TestDisk::default();
    disk.holds(1 << 20);
    let store = Store::open_in(disk.clone()).unwrap();
    put(&store, "a", "1".into()).await.unwrap();
    let before = disk.size();
    let refused = put(&store, "b", format!("\"{}\"", "x".repeat(2 << 20))).await.unwrap_err();
    assert!(refused.full, "{refused}");
    assert!(disk.size() <= before, "{} of {before} bytes", disk.size());
    put(&store, "c", "3".into()).await.unwrap();
    closed(store).await;
    assert_eq!(contents(&Store::open_in(disk).unwrap()).into_keys().collect::<Vec<_>>(), ["a", "c"]);
}

/// Everything in a store, in order.
fn everything(store: &Store) -> Vec<(Key, u64, Vec<u8>)> {
    let objects = store.everything().objects.into_iter();
    objects.map(|(key, stored)| (key, stored.revision, stored.json.to_vec())).collect()
}

#[tokio::test]
async fn an_upgrade_that_is_cut_off_anywhere_loses_nothing_and_is_made_in_the_end() {
    for format in 1..=2 {
        let file = format!("{}/tests/fixtures/format-{format}.redb", env!("CARGO_MANIFEST_DIR"));
        let old = std::fs::read(file).unwrap();
        let whole = everything(&Store::open_in(TestDisk::with(old.clone())).unwrap());
        assert!(whole.len() > 5, "{} objects", whole.len());
        let mut calls = 0;
        loop {
            let disk = TestDisk::with(old.clone());
            disk.fail_after(calls);
            let opened = Store::open_in(disk.clone());
            let is_done = opened.is_ok();
            if let Ok(store) = opened {
                closed(store).await;
            }
            disk.heal();
            disk.lose_power(u64::from(calls) * 7919);
            let store = Store::open_in(disk).unwrap();
            assert_eq!(everything(&store), whole, "format {format}, cut off after {calls} calls");
            if is_done {
                break;
            }
            calls += 1;
        }
        assert!(calls > 4, "{calls}");
    }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Delete(u8),
    Fail(Fault),
    /// After so many more calls of the disk.
    FailLater(u32),
    Heal,
    /// The process ends, and starts again.
    Restart,
    /// With it everything goes that the disk was not told to keep, and a part of that which it was.
    LosePower(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..6u8, prop_oneof![Just(4), Just(100), Just(9_000), Just(90_000)]).prop_map(|(name, size)| Step::Put(name, size)),
        3 => (0..6u8).prop_map(Step::Delete),
        1 => Just(Step::Fail(Fault::Sync)),
        1 => Just(Step::Fail(Fault::Full)),
        1 => Just(Step::Fail(Fault::Torn)),
        1 => Just(Step::Fail(Fault::Late)),
        1 => Just(Step::Fail(Fault::Name)),
        2 => (0..30u32).prop_map(Step::FailLater),
        4 => Just(Step::Heal),
        1 => Just(Step::Restart),
        2 => any::<u64>().prop_map(Step::LosePower),
    ];
    prop::collection::vec(step, 1..40)
}

/// What was acknowledged, and what a refused write may have left on the disk: until the next commit takes it back, the store does
/// not show it, but a new process may find it.
#[derive(Default)]
struct Model {
    known: BTreeMap<String, Vec<u8>>,
    maybe: Vec<(String, Option<Vec<u8>>)>,
}

impl Model {
    fn note(&mut self, name: String, value: Option<Vec<u8>>, acknowledged: bool) {
        if !acknowledged {
            return self.maybe.push((name, value));
        }
        self.maybe.clear();
        match value {
            Some(value) => drop(self.known.insert(name, value)),
            None => drop(self.known.remove(&name)),
        }
    }

    /// Takes over what a new process has found, if it may have.
    fn adopt(&mut self, found: BTreeMap<String, Vec<u8>>) -> Result<(), TestCaseError> {
        for name in self.known.keys().chain(found.keys()) {
            let (known, found) = (self.known.get(name), found.get(name));
            let allowed = self.maybe.iter().any(|(other, value)| other == name && value.as_ref() == found);
            prop_assert!(
                known == found || allowed,
                "{} is {:?} and was {:?}",
                name,
                found.map(Vec::len),
                known.map(Vec::len)
            );
        }
        self.known = found;
        self.maybe.clear();
        Ok(())
    }
}

/// Runs the steps; a model beside the store knows what was acknowledged.
async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let disk = TestDisk::default();
    let mut store = Store::open_in(disk.clone()).unwrap();
    let mut model = Model::default();
    let mut count = 0u64;
    for step in steps {
        count += 1;
        match step {
            Step::Put(name, size) => {
                let text = format!("\"{count}{}\"", "x".repeat(size));
                let acknowledged = put(&store, &name.to_string(), text.clone()).await.is_ok();
                model.note(name.to_string(), Some(text.into_bytes()), acknowledged);
            }
            Step::Delete(name) => {
                let gone = |current: Option<&_>, _| {
                    Ok::<_, Infallible>(current.map_or(Next::Keep, |_| Next::Delete(b"0".to_vec())))
                };
                let there = model.known.contains_key(&name.to_string());
                let acknowledged = store.write(key(&name.to_string()), gone).await.is_ok();
                if there {
                    model.note(name.to_string(), None, acknowledged);
                }
            }
            Step::Fail(fault) => disk.fail(fault),
            Step::FailLater(calls) => disk.fail_after(calls),
            Step::Heal => disk.heal(),
            Step::Restart => {
                disk.heal();
                closed(store).await;
                store = Store::open_in(disk.clone()).unwrap();
                model.adopt(contents(&store))?;
            }
            Step::LosePower(seed) => {
                disk.heal();
                disk.lose_power(seed);
                closed(store).await;
                store = Store::open_in(disk.clone()).map_err(|error| TestCaseError::fail(error.to_string()))?;
                model.adopt(contents(&store))?;
            }
        }
        prop_assert_eq!(&contents(&store), &model.known, "after step {}", count);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_disk_does_what_was_acknowledged_is_there_and_nothing_else_is_shown(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps))?;
    }
}
