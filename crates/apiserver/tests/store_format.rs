//! The store's file through the versions: older formats are read and written anew, newer ones are refused.
//!
//! `fixtures/format-N.*` was written by a Coracle of that format and is never written again. When the format changes, the file of
//! the last one is added: `COPY_FORMAT=1 cargo test -p apiserver --test store_format` makes one of the present format.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use apiserver::store::{
    self, Key, Next, Store,
    media::{FileMedia, Media, Storage},
    saved,
};
use redb::{Database, TableDefinition};
use serde_json::Value;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The present format.
const FORMAT: u32 = 3;

fn fixture(format: u32) -> PathBuf {
    let suffix = if format < 3 { "redb" } else { "journal" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}.{suffix}"))
}

/// A data directory with the store of a format; the second path is what is opened.
fn data_dir(format: u32) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(store::FILE);
    fs::copy(fixture(format), &file).unwrap();
    (dir, file)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn kept(store: &Store, resource: &str) -> Value {
    let key = Key { resource: Arc::from(resource), namespace: "default".into(), name: "kept".into() };
    serde_json::from_slice(&store.get(&key).unwrap().json).unwrap()
}

/// What the file says of its format.
fn format(file: &Path) -> u32 {
    let bytes = fs::read(file).unwrap();
    u32::from_be_bytes(bytes.strip_prefix(b"\xffcoracle").unwrap()[..4].try_into().unwrap())
}

async fn closed(store: Store) {
    let closed = store.closed();
    drop(store);
    closed.await;
}

#[tokio::test]
async fn a_file_of_every_format_that_there_has_been_is_read_and_becomes_one_of_the_present_format() {
    for old in 1..=FORMAT {
        let (dir, file) = data_dir(old);
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
        assert_eq!(names(dir.path()), [store::FILE], "no draft is left behind");
    }
}

/// A place that sees whether another process could open it while a draft is made.
struct Watched(FileMedia, PathBuf);

impl Media for Watched {
    fn open(&self) -> io::Result<Box<dyn Storage>> {
        self.0.open()
    }

    fn draft(&self) -> io::Result<Box<dyn Storage>> {
        let other = Store::open(&self.1).err().unwrap().to_string();
        assert!(other.contains("already open"), "{other}");
        self.0.draft()
    }

    fn discard(&self) -> io::Result<()> {
        self.0.discard()
    }

    fn adopt(&self) -> io::Result<()> {
        self.0.adopt()
    }
}

#[tokio::test]
async fn nobody_else_opens_the_file_while_it_is_written_anew() {
    for old in 1..FORMAT {
        let (_dir, file) = data_dir(old);
        let store = Store::open_in(Watched(FileMedia::new(&file), file.clone())).unwrap();
        assert!(Store::open(&file).is_err());
        drop(store);
    }
}

#[tokio::test]
async fn a_draft_that_a_killed_process_has_left_is_thrown_away() {
    let (dir, file) = data_dir(FORMAT);
    fs::write(dir.path().join("state.redb.new"), b"half of a draft").unwrap();
    let _store = Store::open(&file).unwrap();
    assert_eq!(names(dir.path()), [store::FILE]);
}

#[tokio::test]
async fn an_upgrade_that_was_cut_off_begins_again() {
    let (dir, file) = data_dir(1);
    fs::write(dir.path().join("state.redb.new"), b"half of a draft").unwrap();
    let store = Store::open(&file).unwrap();
    assert_eq!(kept(&store, "/configmaps")["data"]["text"], "written in format 1");
}

/// A Coracle of an older format opens what is under the name that it knows; it makes an empty store where it finds none.
#[tokio::test]
async fn an_older_coracle_finds_the_file_under_its_name_and_refuses_it() {
    let (dir, file) = data_dir(2);
    closed(Store::open(&file).unwrap()).await;
    let written = fs::read(&file).unwrap();
    let refused = Database::create(dir.path().join("state.redb")).err().unwrap().to_string();
    assert!(refused.contains("Not a redb database"), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), written, "it is left as it was");
}

#[test]
fn a_file_of_a_future_format_is_refused_with_what_to_do() {
    let why = |format| format!("its format is {format}, this version reads {FORMAT}: use a newer version");

    let (_dir, file) = data_dir(FORMAT);
    let mut bytes = fs::read(&file).unwrap();
    bytes[8..12].copy_from_slice(&(FORMAT + 1).to_be_bytes());
    let sum = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&sum.to_be_bytes());
    fs::write(&file, &bytes).unwrap();
    let refused = Store::open(&file).err().unwrap().to_string();
    assert!(refused.ends_with(&why(FORMAT + 1)), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), bytes, "it is left as it was");

    let (dir, file) = data_dir(2);
    let database = Database::open(&file).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", 77).unwrap();
    write.commit().unwrap();
    drop(database);
    let refused = Store::open(&file).err().unwrap().to_string();
    assert!(refused.ends_with(&why(77)), "{refused}");
    assert_eq!(names(dir.path()), [store::FILE]);
}

#[test]
fn a_file_of_the_present_format_can_be_made_for_the_next_ones_test() {
    if std::env::var_os("COPY_FORMAT").is_none() {
        return;
    }
    let (_dir, file) = data_dir(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { closed(Store::open(&file).unwrap()).await });
    // Without the room for what comes next.
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    fs::write(fixture(FORMAT), bytes).unwrap();
}

#[tokio::test]
async fn a_restored_snapshot_holds_the_same_objects_and_its_revisions_go_on_where_no_client_has_been() {
    let (dir, file) = data_dir(FORMAT);
    let other = dir.path().join("restored.journal");
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
