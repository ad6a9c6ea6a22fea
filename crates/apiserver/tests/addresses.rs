//! Service addresses and node ports are never given twice, whatever becomes of the write or of whoever waits for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[allow(dead_code, reason = "the other tests that share this file use the rest")]
#[path = "support/disk.rs"]
mod disk;

use apiserver::{
    registry::{Registry, addresses::Addresses, delete::DeleteOptions, update::Part},
    store::Store,
};
use disk::{Fault, TestDisk};
use objects::kinds::{self, Kind};
use serde_json::{Value, json};

fn kind(name: &str) -> &'static Kind {
    kinds::by_kind("", "v1", name).unwrap()
}

async fn registry(disk: &TestDisk) -> Registry {
    let store = Store::open_in(disk.clone()).unwrap();
    let registry = Registry::new(store, Addresses::new("10.43.0.0/16").unwrap());
    registry.create(kind("Namespace"), "", json!({"metadata": {"name": "n"}}), false).await.unwrap();
    registry
}

fn service(name: &str, address: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}})
}

/// Why a Service with this address is refused; `None` if it is made.
async fn refused(registry: &Registry, name: &str, address: &str) -> Option<String> {
    registry.create(kind("Service"), "n", service(name, address), false).await.err().map(|failure| failure.message)
}

#[tokio::test]
async fn a_service_keeps_its_address_when_whoever_made_it_does_not_wait_for_the_answer() {
    let disk = TestDisk::default();
    let registry = registry(&disk).await;
    let slow = disk.hold_sync();
    tokio::select! {
        _ = registry.create(kind("Service"), "n", service("a", "10.43.0.99"), false) => panic!("the disk is slow"),
        () = slow.reached() => {}
    }
    slow.let_go();
    let why = refused(&registry, "b", "10.43.0.99").await.unwrap();
    assert!(why.contains("already allocated"), "{why}");
    // Whose write comes later is answered later.
    assert_eq!(refused(&registry, "c", "10.43.0.97").await, None);
    assert!(registry.get(kind("Service"), "n", "a").is_ok());
}

#[tokio::test]
async fn an_address_is_free_when_its_service_is_refused_or_durably_an_alias() {
    let disk = TestDisk::default();
    let registry = registry(&disk).await;
    assert_eq!(refused(&registry, "a", "10.43.0.98").await, None);
    assert!(refused(&registry, "a", "10.43.0.99").await.unwrap().contains("already exists"));
    assert_eq!(refused(&registry, "b", "10.43.0.99").await, None, "nobody has it");
    let alias = async || {
        let change = |_: &Value| {
            Ok(
                json!({"metadata": {"name": "a"}, "spec": {"type": "ExternalName", "externalName": "a.example", "ports": [{"port": 80}]}}),
            )
        };
        registry.update(kind("Service"), "n", "a", Part::Main, false, change).await.map_err(|failure| failure.message)
    };
    disk.fail(Fault::Sync);
    alias().await.unwrap_err();
    disk.heal();
    assert!(refused(&registry, "c", "10.43.0.98").await.unwrap().contains("already allocated"), "it is still its own");
    alias().await.unwrap();
    assert_eq!(refused(&registry, "c", "10.43.0.98").await, None);
}

#[tokio::test]
async fn an_address_is_free_when_whoever_deleted_its_service_does_not_wait_for_the_answer() {
    let disk = TestDisk::default();
    let registry = registry(&disk).await;
    assert_eq!(refused(&registry, "a", "10.43.0.98").await, None);
    let slow = disk.hold_sync();
    tokio::select! {
        _ = registry.delete(kind("Service"), "n", "a", DeleteOptions::default(), false) => panic!("the disk is slow"),
        () = slow.reached() => {}
    }
    assert!(refused(&registry, "b", "10.43.0.98").await.unwrap().contains("already allocated"), "it is not gone yet");
    slow.let_go();
    // Whose write comes later is answered later.
    assert_eq!(refused(&registry, "c", "10.43.0.97").await, None);
    assert!(registry.get(kind("Service"), "n", "a").is_err());
    assert_eq!(refused(&registry, "b", "10.43.0.98").await, None);
}

#[tokio::test]
async fn an_address_is_free_when_the_commit_that_would_give_it_fails() {
    let disk = TestDisk::default();
    let registry = registry(&disk).await;
    disk.fail(Fault::Sync);
    assert!(refused(&registry, "a", "10.43.0.98").await.unwrap().contains("durable"));
    disk.heal();
    assert_eq!(refused(&registry, "b", "10.43.0.98").await, None);
}

#[tokio::test]
async fn what_services_have_is_known_after_a_start_and_free_when_they_are_durably_gone() {
    let disk = TestDisk::default();
    let published = |name: &str| {
        let ports = json!([{"port": 80, "nodePort": 30080}]);
        json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": ports}})
    };
    let first = registry(&disk).await;
    first.create(kind("Service"), "n", published("a"), false).await.unwrap();
    drop(first);
    let store = Store::open_in(disk.clone()).unwrap();
    let registry = Registry::new(store, Addresses::new("10.43.0.0/16").unwrap());
    let why = async |name: &str| {
        registry.create(kind("Service"), "n", published(name), false).await.err().map(|failure| failure.message)
    };
    assert!(why("b").await.unwrap().contains("provided port is already allocated"));
    disk.fail(Fault::Sync);
    registry.delete(kind("Service"), "n", "a", DeleteOptions::default(), false).await.unwrap_err();
    disk.heal();
    assert!(why("b").await.unwrap().contains("provided port is already allocated"), "it is still its own");
    registry.delete(kind("Service"), "n", "a", DeleteOptions::default(), false).await.unwrap();
    assert_eq!(why("b").await, None);
}

#[tokio::test]
async fn no_object_too_many_is_made_while_one_is_written_whose_maker_left() {
    let disk = TestDisk::default();
    let registry = registry(&disk).await;
    let quota = json!({"metadata": {"name": "one"}, "spec": {"hard": {"count/configmaps": "1"}}});
    registry.create(kind("ResourceQuota"), "n", quota, false).await.unwrap();
    let map = |name: &str| json!({"metadata": {"name": name}});
    let slow = disk.hold_sync();
    tokio::select! {
        _ = registry.create(kind("ConfigMap"), "n", map("a"), false) => panic!("the disk is slow"),
        () = slow.reached() => {}
    }
    let second = registry.create(kind("ConfigMap"), "n", map("b"), false);
    tokio::pin!(second);
    // It looks at the quota as far as it can before the first is there.
    assert!(futures::poll!(&mut second).is_pending());
    slow.let_go();
    let why = second.await.unwrap_err().message;
    assert!(why.contains("exceeded quota: one"), "{why}");
    assert!(registry.get(kind("ConfigMap"), "n", "a").is_ok());
}
