//! Persistent volumes, claims and classes.

use serde_json::{Map, Value, json};

use super::{child, set};
use crate::registry::meta::section;

pub(super) fn claim(object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        claim_fields(object);
    }
}

/// What a claim gets, also as a template of a StatefulSet.
pub(super) fn claim_fields(claim: &mut Map<String, Value>) {
    set(claim, "spec", json!({}));
    if let Some(spec) = child(claim, "spec") {
        claim_spec(spec);
    }
    set(claim, "status", json!({}));
    if let Some(status) = child(claim, "status") {
        set(status, "phase", json!("Pending"));
    }
}

/// What a claim's spec gets, also in an ephemeral volume.
pub(super) fn claim_spec(spec: &mut Map<String, Value>) {
    set(spec, "volumeMode", json!("Filesystem"));
    set(spec, "resources", json!({}));
}

pub(super) fn persistent(object: &mut Value) {
    let spec = section(object, "spec");
    set(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
    set(spec, "volumeMode", json!("Filesystem"));
    source(spec);
    set(section(object, "status"), "phase", json!("Pending"));
}

/// What volume sources get that a pod and a PersistentVolume share.
pub(super) fn source(volume: &mut Map<String, Value>) {
    if let Some(path) = child(volume, "hostPath") {
        set(path, "type", json!(""));
    }
    if let Some(iscsi) = child(volume, "iscsi") {
        set(iscsi, "iscsiInterface", json!("default"));
    }
    if let Some(rbd) = child(volume, "rbd") {
        for (field, value) in [("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")] {
            set(rbd, field, json!(value));
        }
    }
    if let Some(disk) = child(volume, "azureDisk") {
        for (field, value) in [
            ("cachingMode", json!("ReadWrite")),
            ("fsType", json!("ext4")),
            ("kind", json!("Shared")),
            ("readOnly", json!(false)),
        ] {
            set(disk, field, value);
        }
    }
    if let Some(scale) = child(volume, "scaleIO") {
        set(scale, "storageMode", json!("ThinProvisioned"));
        set(scale, "fsType", json!("xfs"));
    }
}

pub(super) fn class(object: &mut Value) {
    if let Some(class) = object.as_object_mut() {
        set(class, "reclaimPolicy", json!("Delete"));
        set(class, "volumeBindingMode", json!("Immediate"));
    }
}

pub(super) fn csi_driver(object: &mut Value) {
    let spec = section(object, "spec");
    for (field, value) in [
        ("attachRequired", json!(true)),
        ("podInfoOnMount", json!(false)),
        ("storageCapacity", json!(false)),
        ("fsGroupPolicy", json!("ReadWriteOnceWithFSType")),
        ("volumeLifecycleModes", json!(["Persistent"])),
        ("requiresRepublish", json!(false)),
        ("seLinuxMount", json!(false)),
    ] {
        set(spec, field, value);
    }
}
