//! The store's file through the versions: older formats are read and written anew, newer ones are refused.
//!
//! `fixtures/format-N.redb` was written by a Coracle of that format and is never written again. When the format changes, the file of
//! the last one is added: `COPY_FORMAT=1 cargo test -p apiserver --test store_format` makes one of the present format.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use apiserver::store::{Key, Next, Store, saved};
use redb::{Database, ReadableDatabase, TableDefinition};
use serde_json::Value;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The present format.
const FORMAT: u64 = 2;

fn fixture(format: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}.redb"))
}

fn kept(store: &Store, resource: &str) -> Value {
    let key = Key { resource: Arc::from(resource), namespace: "default".into(), name: "kept".into() };
    serde_json::from_slice(&store.get(&key).unwrap().json).unwrap()
}

fn format(file: &Path) -> u64 {
    let database = Database::open(file).unwrap();
    let read = database.begin_read().unwrap();
    read.open_table(META).unwrap().get("format").unwrap().unwrap().value()
}

async fn closed(store: Store) {
    let closed = store.closed();
    drop(store);
    closed.await;
}

#[tokio::test]
async fn a_file_of_every_format_that_there_has_been_is_read_and_becomes_one_of_the_present_format() {
    for old in 1..=FORMAT {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.redb");
        fs::copy(fixture(old), &file).unwrap();
        let store = Store::open(&file).unwrap();
        assert_eq!(kept(&store, "/configmaps")["data"]["text"], "written in format 1", "format {old}");
        assert_eq!(kept(&store, "/secrets")["data"]["key"], "dmFsdWU=");
        let revision = store.revision();
        assert!(revision > 5, "{revision}");
        let key = Key { resource: "/configmaps".into(), namespace: "default".into(), name: "new".into() };
        let put = |_: Option<&_>, _| Ok::<_, std::convert::Infallible>(Next::Put(b"{}".to_vec()));
        assert_eq!(store.write(key, put).await.unwrap().stored.unwrap().revision, revision + 1);
        let before: Vec<_> = store.everything().objects.into_iter().map(|(key, stored)| (key, stored.json)).collect();
        closed(store).await;
        assert_eq!(format(&file), FORMAT);
        let store = Store::open(&file).unwrap();
        assert_eq!(
            store.everything().objects.into_iter().map(|(key, stored)| (key, stored.json)).collect::<Vec<_>>(),
            before
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
    }
}

#[tokio::test]
async fn an_upgrade_that_was_cut_off_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.redb");
    fs::copy(fixture(1), &file).unwrap();
    fs::write(dir.path().join("state.redb.new"), b"half of a draft").unwrap();
    let store = Store::open(&file).unwrap();
    assert_eq!(kept(&store, "/configmaps")["data"]["text"], "written in format 1");
}

#[test]
fn a_file_of_a_future_format_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.redb");
    fs::copy(fixture(FORMAT), &file).unwrap();
    let database = Database::open(&file).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
    write.commit().unwrap();
    drop(database);
    let refused = Store::open(&file).err().unwrap().to_string();
    let why = format!("its format is {}, this version reads {FORMAT}: use a newer version", FORMAT + 1);
    assert!(refused.ends_with(&why), "{refused}");
    assert_eq!(format(&file), FORMAT + 1, "it is left as it was");
}

#[test]
fn a_file_of_the_present_format_can_be_made_for_the_next_ones_test() {
    if std::env::var_os("COPY_FORMAT").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.redb");
    fs::copy(fixture(1), &file).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { closed(Store::open(&file).unwrap()).await });
    fs::copy(&file, fixture(FORMAT)).unwrap();
}

#[tokio::test]
async fn a_restored_snapshot_holds_the_same_objects_and_its_revisions_go_on_where_no_client_has_been() {
    let dir = tempfile::tempdir().unwrap();
    let (file, other) = (dir.path().join("state.redb"), dir.path().join("restored.redb"));
    fs::copy(fixture(FORMAT), &file).unwrap();
    let store = Store::open(&file).unwrap();
    let mut text = Vec::new();
    saved::write(store.everything().pieces(jiff::Timestamp::now()), &mut text).unwrap();
    let (status, everything) = saved::read(text.as_slice()).unwrap();
    assert_eq!(status.revision, store.revision());
    saved::restore(&everything, &other).unwrap();
    let restored = Store::open(&other).unwrap();
    let plain = |store: &Store| -> Vec<_> {
        store.everything().objects.into_iter().map(|(key, stored)| (key, stored.revision, stored.json)).collect()
    };
    assert_eq!(plain(&restored), plain(&store));
    assert!(restored.revision() > store.revision() + 1_000_000);
    let seen = store.revision();
    assert!(restored.changes(&Arc::from("/configmaps"), seen, 1).is_none(), "a watch from before lists again");
}
