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

use apiserver::store::{DiskError, Key, Next, Store, StoreError};

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
    drop(store);
    let store = reopened(&file);
    assert_eq!((contents(&store), store.revision()), (acknowledged, revision));
}

/// The writer's thread closes the file a moment after the last handle goes.
fn reopened(file: &Path) -> Store {
    loop {
        match Store::open(file) {
            Ok(store) => return store,
            Err(error) if error.to_string().contains("already open") => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A store's file with some objects in it.
async fn file_with_objects(dir: &Path) -> PathBuf {
    let file = dir.join("state.redb");
    let store = Store::open(&file).unwrap();
    for number in 0..50 {
        put(&store, &format!("n{number}"), &format!("{{\"number\": {number}}}")).await.unwrap();
    }
    drop(store);
    drop(reopened(&file));
    drop(reopened(&file));
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

#[tokio::test]
async fn a_damaged_file_is_refused_or_read_but_never_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_with_objects(dir.path()).await;
    let good = fs::read(&file).unwrap();
    let copy = dir.path().join("copy.redb");
    // Every part of the file, with a step that is prime, so that every offset within a page has its turn.
    for position in (0..good.len()).step_by((good.len() / 300) | 1) {
        let mut bad = good.clone();
        for byte in bad.iter_mut().skip(position).take(8) {
            *byte ^= 0x5a;
        }
        fs::write(&copy, bad).unwrap();
        match Store::open(&copy) {
            Ok(store) => contents(&store)
                .values()
                .for_each(|json| drop(serde_json::from_slice::<serde_json::Value>(json).unwrap())),
            Err(error) => assert!(error.to_string().contains("copy.redb"), "{error}"),
        }
    }
    for length in [0, 1, 100, good.len() / 2, good.len() - 1] {
        fs::write(&copy, good.get(..length).unwrap()).unwrap();
        let _ = Store::open(&copy);
    }
}
