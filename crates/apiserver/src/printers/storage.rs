//! The columns of persistent volumes, claims, and storage drivers.

use serde_json::{Value, json};

use super::{AGE, Column, column, integer, joined, list, text, text_or, wide};

/// The access modes as `kubectl` shortens them.
fn modes(object: &Value, pointer: &str) -> String {
    let short = |mode: &Value| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    joined(list(object, pointer).map(short), "")
}

const BETA_CLASS: &str = "/metadata/annotations/volume.beta.kubernetes.io~1storage-class";

fn class(object: &Value) -> &str {
    text_or(object, BETA_CLASS, text(object, "/spec/storageClassName"))
}

pub(super) const PERSISTENT: &[Column] = &[
    column("Capacity", |v, _| text(v, "/spec/capacity/storage").into()),
    column("Access Modes", |v, _| modes(v, "/spec/accessModes").into()),
    column("Reclaim Policy", |v, _| text(v, "/spec/persistentVolumeReclaimPolicy").into()),
    column("Status", |v, _| {
        let going = v.pointer("/metadata/deletionTimestamp").is_some();
        if going { "Terminating" } else { text(v, "/status/phase") }.into()
    }),
    column("Claim", |v, _| match text(v, "/spec/claimRef/name") {
        "" => "".into(),
        name => format!("{}/{name}", text(v, "/spec/claimRef/namespace")).into(),
    }),
    column("StorageClass", |v, _| class(v).into()),
    column("VolumeAttributesClass", |v, _| text_or(v, "/spec/volumeAttributesClassName", "<unset>").into()),
    column("Reason", |v, _| text(v, "/status/reason").into()),
    AGE,
    wide("VolumeMode", |v, _| text_or(v, "/spec/volumeMode", "<unset>").into()),
];

pub(super) const CLAIM: &[Column] = &[
    column("Status", |c, _| {
        let going = c.pointer("/metadata/deletionTimestamp").is_some();
        if going { "Terminating" } else { text(c, "/status/phase") }.into()
    }),
    column("Volume", |c, _| text(c, "/spec/volumeName").into()),
    column("Capacity", |c, _| bound(c, text(c, "/status/capacity/storage"))),
    column("Access Modes", |c, _| bound(c, &modes(c, "/status/accessModes"))),
    column("StorageClass", |c, _| class(c).into()),
    column("VolumeAttributesClass", |c, _| text_or(c, "/spec/volumeAttributesClassName", "<unset>").into()),
    AGE,
    wide("VolumeMode", |c, _| text_or(c, "/spec/volumeMode", "<unset>").into()),
];

/// What is known only once there is a volume.
fn bound(claim: &Value, shown: &str) -> Value {
    if text(claim, "/spec/volumeName").is_empty() { "".into() } else { shown.into() }
}

/// The name of a StorageClass says whether it is the default one.
pub(super) fn class_name(class: &Value) -> String {
    let name = text(class, "/metadata/name");
    let marks = ["storageclass.kubernetes.io~1is-default-class", "storageclass.beta.kubernetes.io~1is-default-class"];
    let default = marks.iter().any(|mark| text(class, &format!("/metadata/annotations/{mark}")) == "true");
    if default { format!("{name} (default)") } else { name.to_owned() }
}

pub(super) const CLASS: &[Column] = &[
    column("Provisioner", |c, _| text(c, "/provisioner").into()),
    column("ReclaimPolicy", |c, _| text_or(c, "/reclaimPolicy", "Delete").into()),
    column("VolumeBindingMode", |c, _| text_or(c, "/volumeBindingMode", "Immediate").into()),
    column("AllowVolumeExpansion", |c, _| c.get("allowVolumeExpansion").cloned().unwrap_or(json!(false))),
    AGE,
];

fn flag(object: &Value, pointer: &str, default: bool) -> Value {
    object.pointer(pointer).cloned().unwrap_or(json!(default))
}

pub(super) const DRIVER: &[Column] = &[
    column("AttachRequired", |d, _| flag(d, "/spec/attachRequired", true)),
    column("PodInfoOnMount", |d, _| flag(d, "/spec/podInfoOnMount", false)),
    column("StorageCapacity", |d, _| flag(d, "/spec/storageCapacity", false)),
    column("TokenRequests", |d, _| {
        joined(list(d, "/spec/tokenRequests").map(|request| text(request, "/audience")), "<unset>").into()
    }),
    column("RequiresRepublish", |d, _| flag(d, "/spec/requiresRepublish", false)),
    column("Modes", |d, _| joined(list(d, "/spec/volumeLifecycleModes").filter_map(Value::as_str), "<none>").into()),
    AGE,
];

pub(super) const DRIVER_NODE: &[Column] = &[integer("Drivers", |n, _| list(n, "/spec/drivers").count().into()), AGE];

pub(super) const CAPACITY: &[Column] = &[
    column("StorageClassName", |c, _| text(c, "/storageClassName").into()),
    column("Capacity", |c, _| text_or(c, "/capacity", "<unset>").into()),
    AGE,
];

pub(super) const ATTACHMENT: &[Column] = &[
    column("Attacher", |a, _| text(a, "/spec/attacher").into()),
    column("PV", |a, _| text(a, "/spec/source/persistentVolumeName").into()),
    column("Node", |a, _| text(a, "/spec/nodeName").into()),
    column("Attached", |a, _| flag(a, "/status/attached", false)),
    AGE,
];
