//! The store against a model: what is acknowledged is there, also after a restart, and watchers see every change in order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{collections::BTreeMap, convert::Infallible, path::Path, sync::Arc};

use apiserver::store::{self, Key, Next, Range, Store, StoreError, Stored};
use proptest::prelude::*;

fn key(name: &str) -> Key {
    Key { resource: "/things".into(), namespace: "n".into(), name: name.into() }
}

fn things() -> Arc<str> {
    "/things".into()
}

async fn put(store: &Store, name: &str, text: &str) -> Stored {
    let bytes = text.as_bytes().to_vec();
    let written = store.write(key(name), move |_, _| Ok::<_, Infallible>(Next::Put(bytes))).await.unwrap();
    written.stored.unwrap()
}

async fn delete(store: &Store, name: &str) {
    let decide = |current: Option<&Stored>, _| {
        Ok::<_, Infallible>(current.map_or(Next::Keep, |stored| Next::Delete(stored.json.to_vec())))
    };
    store.write(key(name), decide).await.unwrap();
}

fn contents(store: &Store) -> BTreeMap<String, Vec<u8>> {
    let snapshot = store.list(&things(), "");
    snapshot.objects.into_iter().map(|(key, stored)| (key.name, stored.json.to_vec())).collect()
}

fn open(dir: &Path) -> Store {
    // A writer that was just dropped may hold the file for a moment longer: its thread ends when its queue does.
    loop {
        match Store::open(&dir.join(store::FILE)) {
            Ok(store) => return store,
            Err(error) if error.to_string().contains("already open") => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "a", "1").await;
    put(&store, "b", "2").await;
    delete(&store, "a").await;
    let (before, revision) = (contents(&store), store.revision());
    drop(store);
    let store = open(dir.path());
    assert_eq!((contents(&store), store.revision()), (before, revision));
    assert_eq!(put(&store, "c", "3").await.revision, revision + 1, "revisions go on where they were");
    assert!(store.changes(&things(), revision - 1, 10).is_none(), "changes from before the restart are not remembered");
}

#[tokio::test]
async fn a_store_that_is_open_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(store::FILE);
    let store = Store::open(&file).unwrap();
    assert!(Store::open(&file).err().unwrap().to_string().contains("already open"));
    put(&store, "a", "1").await;
}

#[tokio::test]
async fn nobody_but_its_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    put(&open(dir.path()), "a", "secret").await;
    let mode = std::fs::metadata(dir.path().join(store::FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_refused_write_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let revision = store.revision();
    let refused = store.write(key("a"), |_, _| Err::<Next, _>("no")).await;
    assert!(matches!(refused, Err(StoreError::Refused("no"))));
    assert_eq!((store.revision(), contents(&store).len()), (revision, 0));
}

#[tokio::test]
async fn a_decision_that_panics_is_its_own_failure_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bug = store.write(key("a"), |_, _| -> Result<Next, Infallible> { panic!("a bug") }).await;
    assert!(matches!(bug, Err(StoreError::Panicked(text)) if text == "a bug"));
    put(&store, "a", "1").await;
    assert_eq!(contents(&store).len(), 1);
}

#[tokio::test]
async fn writes_that_arrive_together_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let count = |current: Option<&Stored>, _| {
        let now = current.map_or(0, |stored| std::str::from_utf8(&stored.json).unwrap().parse::<u32>().unwrap());
        Ok::<_, Infallible>(Next::Put((now + 1).to_string().into_bytes()))
    };
    let writes = (0..200).map(|_| store.write(key("counter"), count));
    futures::future::join_all(writes).await.into_iter().for_each(|written| drop(written.unwrap()));
    assert_eq!(store.get(&key("counter")).unwrap().json.as_ref(), b"200");
}

#[tokio::test]
async fn a_watcher_that_is_too_far_behind_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let start = store.revision();
    let writes = (0..1100).map(|i| put(&store, "a", if i % 2 == 0 { "x" } else { "y" }));
    futures::future::join_all(writes).await;
    assert!(store.changes(&things(), start, usize::MAX).is_none());
    assert!(store.changes(&things(), store.revision() - 10, usize::MAX).is_some_and(|news| news.changes.len() == 10));
}

#[tokio::test]
async fn what_was_deleted_before_a_restart_is_not_missed_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let seen = put(&store, "a", "1").await.revision;
    delete(&store, "a").await;
    drop(store);
    let store = open(dir.path());
    assert!(store.changes(&things(), seen, 10).is_none(), "the deletion is not remembered, and that is said");
    let range = Range { at: Some(seen), ..Range::default() };
    assert!(store.range(&things(), &range).is_none());
}

#[tokio::test]
async fn pages_of_an_earlier_state_show_that_state() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for name in ["a", "c", "e"] {
        put(&store, name, "1").await;
    }
    let at = store.revision();
    delete(&store, "c").await;
    for name in ["b", "e", "f"] {
        put(&store, name, "2").await;
    }
    let page = |after: &str, limit| {
        let range = Range { namespace: "n", after: Some(("n", after)), limit, at: Some(at) };
        let page = store.range(&things(), &range).unwrap();
        let names: Vec<_> = page.objects.iter().map(|(key, stored)| (key.name.clone(), stored.json.to_vec())).collect();
        (names, page.remaining)
    };
    let one = |name: &str| (name.to_owned(), b"1".to_vec());
    assert_eq!(page("", 1), (vec![one("a")], 2));
    assert_eq!(page("a", 1), (vec![one("c")], 1));
    assert_eq!(page("b", 9), (vec![one("c"), one("e")], 0));
}

#[tokio::test]
async fn a_snapshot_that_is_made_while_others_write_is_one_state() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let writer = |writer: u8| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut written = Vec::new();
            for number in 0..60u32 {
                let name = format!("{writer}-{}", number % 7);
                if number % 5 == 4 {
                    delete(&store, &name).await;
                    continue;
                }
                written.push((name.clone(), put(&store, &name, &number.to_string()).await.revision));
            }
            written
        })
    };
    let writers: Vec<_> = (0..4).map(writer).collect();
    let mut made = Vec::new();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let read = (store.everything(), store.list(&things(), ""));
        made.push(read);
        tokio::task::yield_now().await;
    }
    let mut written = BTreeMap::new();
    for writer in writers {
        written.extend(writer.await.unwrap().into_iter().map(|(name, revision)| (revision, name)));
    }
    assert!(!made.is_empty());
    for (everything, list) in made {
        for (revision, objects) in [(everything.revision, everything.objects), (list.revision, list.objects)] {
            // Nothing of later, and of each object the last that was written by then, or nothing, where it was deleted.
            for (key, stored) in objects {
                let last = written.range(..=revision).rev().find(|(_, name)| **name == key.name);
                assert_eq!(last, Some((&stored.revision, &key.name)), "at revision {revision}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn from_any_revision_the_changes_lead_to_what_there_is(steps in prop::collection::vec((0..5u8, any::<bool>()), 1..40), from in 0..40usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = open(dir.path());
            let mut views = vec![(store.revision(), contents(&store))];
            for (index, (name, keep)) in steps.into_iter().enumerate() {
                let name = name.to_string();
                if keep { drop(put(&store, &name, &index.to_string()).await) } else { delete(&store, &name).await }
                views.push((store.revision(), contents(&store)));
            }
            let (revision, mut view) = views.swap_remove(from % views.len());
            let news = store.changes(&things(), revision, usize::MAX).unwrap();
            let mut last = revision;
            for change in news.changes {
                prop_assert!(change.stored.revision > last, "in order, none twice");
                last = change.stored.revision;
                let had = view.get(&change.key.name).cloned();
                prop_assert_eq!(change.previous.as_ref().map(|stored| stored.json.to_vec()), had);
                if change.deleted {
                    view.remove(&change.key.name);
                } else {
                    view.insert(change.key.name.clone(), change.stored.json.to_vec());
                }
            }
            prop_assert_eq!(view, contents(&store));
            Ok(())
        })?;
    }
}
