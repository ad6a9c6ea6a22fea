//! The store over disks that fill up and files that are damaged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use apiserver::store::{
    DiskError, Key, Next, Store, StoreError, Stored,
    saved::{self, Everything},
};
use bytes::Bytes;

fn things() -> Arc<str> {
    "/things".into()
}

async fn put(store: &Store, name: &str, json: &str) -> Result<(), DiskError> {
    let key = Key { resource: things(), namespace: "n".into(), name: name.into() };
    let bytes = json.as_bytes().to_vec();
    match store.write(key, move |_, _| Ok::<_, Infallible>(Next::Put(bytes))).await {
        Ok(_) => Ok(()),
        Err(StoreError::Disk(error)) => Err(error),
        Err(StoreError::Refused(never)) => match never {},
        Err(StoreError::Panicked(panic)) => panic!("{panic}"),
    }
}

fn contents(store: &Store) -> BTreeMap<String, Vec<u8>> {
    store.list(&things(), "").objects.into_iter().map(|(key, stored)| (key.name, stored.json.to_vec())).collect()
}

/// A small file system of its own; gone when this is dropped.
struct Small(tempfile::TempDir);

impl Small {
    /// `None` where nothing may be mounted.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_loses_nothing_and_serves_again_when_there_is_room() {
    let Some(disk) = Small::mount("6m") else {
        return eprintln!("skipped: nothing may be mounted here");
    };
    let (file, ballast) = (disk.path().join("state.redb"), disk.path().join("ballast"));
    let store = Store::open(&file).unwrap();
    put(&store, "first", "\"there\"").await.unwrap();
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();

    let mut acknowledged = contents(&store);
    let mut refused = None;
    for number in 0..1000 {
        let (name, json) = (format!("n{number}"), format!("\"{}\"", "x".repeat(20_000)));
        match put(&store, &name, &json).await {
            Ok(()) => drop(acknowledged.insert(name, json.into_bytes())),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.unwrap();
    assert!(refused.full, "{refused}");
    assert!(put(&store, "first", &format!("\"{}\"", "y".repeat(1 << 20))).await.is_err(), "it is still full");
    assert_eq!(contents(&store), acknowledged, "what was refused is not seen");

    fs::remove_file(&ballast).unwrap();
    put(&store, "last", "\"there\"").await.unwrap();
    acknowledged.insert("last".to_owned(), b"\"there\"".to_vec());
    let revision = store.revision();
    closed(store).await;
    let store = Store::open(&file).unwrap();
    assert_eq!((contents(&store), store.revision()), (acknowledged, revision));
}

/// The writer's thread closes the file a moment after the last handle goes.
async fn closed(store: Store) {
    let closed = store.closed();
    drop(store);
    closed.await;
}

/// How many objects the files have that are damaged here, byte by byte.
const OBJECTS: usize = 8;

/// A store's file with some objects in it.
async fn file_with_objects(dir: &Path) -> PathBuf {
    let file = dir.join("state.redb");
    let store = Store::open(&file).unwrap();
    for number in 0..OBJECTS {
        put(&store, &format!("n{number}"), &format!("{{\"number\": {number}}}")).await.unwrap();
    }
    closed(store).await;
    file
}

#[tokio::test]
async fn a_file_that_is_no_store_says_so_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.redb");
    fs::write(&file, vec![b'x'; 100_000]).unwrap();
    let error = Store::open(&file).err().unwrap().to_string();
    assert!(
        error.contains("state.redb") && error.contains("damaged") && error.contains("restore a snapshot"),
        "{error}"
    );
}

/// A damaged copy of a file, opened.
fn open_damaged(good: &[u8], damage: impl FnOnce(&mut Vec<u8>)) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.redb");
    let mut bytes = good.to_vec();
    damage(&mut bytes);
    fs::write(&copy, bytes).unwrap();
    let opened = Store::open(&copy).map(|store| contents(&store)).map_err(|error| error.to_string());
    if let Err(error) = &opened {
        assert!(error.contains("copy.redb"), "{error}");
    }
    opened
}

/// How long a file is without the room for what comes next.
fn used(file: &[u8]) -> usize {
    file.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[tokio::test]
async fn a_byte_that_is_damaged_is_noticed_wherever_it_is_and_nothing_acknowledged_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_with_objects(dir.path()).await;
    let before = fs::read(&file).unwrap();
    let store = Store::open(&file).unwrap();
    let all = contents(&store);
    put(&store, "last", "{}").await.unwrap();
    closed(store).await;
    let good = fs::read(&file).unwrap();
    let last = used(&before);
    for at in 0..used(&good) {
        let opened = open_damaged(&good, |bytes| bytes[at] ^= 0x5a);
        if at < last {
            assert!(opened.as_ref().is_err_and(|error| error.contains("damaged")), "byte {at}: {opened:?}");
        } else {
            // Nobody can tell it from a write that a loss of power has cut off.
            assert_eq!(opened.as_ref(), Ok(&all), "byte {at}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_cut_anywhere_has_all_whole_commits_before_the_cut_and_takes_more() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_with_objects(dir.path()).await;
    let good = fs::read(&file).unwrap();
    let mut most = 0;
    for length in 1..=used(&good) {
        match open_damaged(&good, |bytes| bytes.truncate(length)) {
            Ok(found) => {
                assert!(found.len() >= most, "{length} bytes");
                assert!((0..found.len()).all(|number| found.contains_key(&format!("n{number}"))), "{length} bytes");
                most = found.len();
            }
            Err(error) => assert!(length < MADE && error.contains("damaged"), "{length} bytes: {error}"),
        }
    }
    assert_eq!(most, OBJECTS);

    fs::write(&file, &good[..used(&good) - 1]).unwrap();
    let store = Store::open(&file).unwrap();
    put(&store, "more", "{}").await.unwrap();
    closed(store).await;
    let found = contents(&Store::open(&file).unwrap());
    let last = format!("n{}", OBJECTS - 1);
    assert_eq!((found.len(), found.contains_key(&last), found.contains_key("more")), (OBJECTS, false, true));
}

/// What a file is made of with nothing in it: its head, and a record that says the revision.
const MADE: usize = 28 + 20;

/// What was made as a whole (a restored snapshot, a file that had grown) is not a write that was cut off, wherever it is damaged.
#[tokio::test]
async fn nothing_of_what_a_file_was_made_of_goes_even_if_it_is_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.redb");
    let key = |name: &str| Key { resource: things(), namespace: "n".into(), name: name.into() };
    let objects = ["a", "b"].map(|name| (key(name), Stored::new(7, Bytes::from_static(b"{}")))).to_vec();
    saved::restore(&Everything { revision: 7, objects }, &file).unwrap();
    let good = fs::read(&file).unwrap();
    for at in 0..used(&good) {
        let damaged = open_damaged(&good, |bytes| bytes[at] ^= 0x5a);
        let zeros = open_damaged(&good, |bytes| bytes[at..].fill(0));
        let short = open_damaged(&good, |bytes| bytes.truncate(at.max(1)));
        for opened in [damaged, zeros, short] {
            assert!(opened.as_ref().is_err_and(|error| error.contains("damaged")), "byte {at}: {opened:?}");
        }
    }
    assert_eq!(open_damaged(&good, |_| ()).unwrap().len(), 2);
}

/// A file that was made of nothing but its head, of which `more` was written.
fn made_up(more: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let summed = |said: &[u8]| [said, &crc32fast::hash(said).to_be_bytes()].concat();
    let head = [summed(b"\xffcoracle\0\0\0\x03"), summed(&28u64.to_be_bytes())].concat();
    open_damaged(&head, |bytes| bytes.extend_from_slice(more))
}

/// A record that is whole.
fn record(revision: u64, rows: &[u8]) -> Vec<u8> {
    let said = [u32::try_from(rows.len()).unwrap().to_be_bytes().as_slice(), &revision.to_be_bytes()].concat();
    let sum = crc32fast::hash(&[said.as_slice(), rows].concat()).to_be_bytes();
    [b"\xffrec".as_slice(), &said, &sum, rows].concat()
}

#[test]
fn a_file_that_is_made_up_neither_crashes_nor_is_read_as_more_than_it_is() {
    // A length beyond the file, and beyond any memory.
    for length in [1, 20, u32::MAX] {
        let record = [b"\xffrec".as_slice(), &length.to_be_bytes(), &[0; 12]].concat();
        assert_eq!(made_up(&record), Ok(BTreeMap::new()));
    }
    // A record that is whole, of rows that are none.
    for rows in [b"row".as_slice(), &[0xff; 8], &[0; 8], b"\0\0\0\x03\0\0\0\x02a\0b\0\0"] {
        let refused = made_up(&record(0, rows)).unwrap_err();
        assert!(refused.contains("a row is not as it was written, at byte 28"), "{refused}");
    }
    // What is older than what is before it is from something else that the disk had at this place.
    let row = |name: &str| [b"\0\0\0\x0b\0\0\0\x01/things\0n\0", name.as_bytes(), &[0; 8], b"1"].concat();
    let found = made_up(&[record(2, &row("a")), record(1, &row("b"))].concat()).unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["a"]);
}

/// A damaged file of an older format is refused or read: its database may panic over it.
#[test]
fn a_damaged_file_of_an_older_format_never_crashes() {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-2.redb");
    let good = fs::read(old).unwrap();
    // Every part of the file, with a step that is prime, so that every offset within a page has its turn.
    for position in (0..good.len()).step_by((good.len() / 100) | 1) {
        let damage = |bytes: &mut Vec<u8>| bytes.iter_mut().skip(position).take(8).for_each(|byte| *byte ^= 0x5a);
        let _ = open_damaged(&good, damage);
    }
    for length in [1, 100, good.len() / 2, good.len() - 1] {
        let _ = open_damaged(&good, |bytes| bytes.truncate(length));
    }
}
