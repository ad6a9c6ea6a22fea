//! Persistent volumes, claims on them, and what storage drivers say (kubernetes/pkg/apis/{core,storage}/validation).

use objects::{names, quantity::Quantity};
use serde_json::{Value, json};

use super::{
    at::At,
    change::{immutable, unchangeable_fields},
    placement::node_selector,
    workload::label_selector,
};
use crate::status::Cause;

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const POSITIVE: &str = "must be greater than zero";

/// An amount of storage that must be more than nothing.
fn positive(at: &At<'_>) -> Option<Cause> {
    let amount: Option<Quantity> = at.value.as_str().map_or_else(|| at.value.to_string(), str::to_owned).parse().ok();
    amount.is_some_and(|amount| amount.is_negative() || amount.millis() == 0).then(|| at.invalid(POSITIVE))
}

fn access_modes(modes: &At<'_>, none: &str, causes: &mut Vec<Cause>) {
    if modes.len() == 0 {
        causes.push(modes.required(none));
    }
    let alone = modes.clone().elements().any(|mode| mode.text() == "ReadWriteOncePod");
    causes.extend(
        modes
            .clone()
            .elements()
            .filter(|mode| !MODES.contains(&mode.text()))
            .map(|mode| Cause::not_supported(&modes.path, mode.value, MODES)),
    );
    if alone && modes.len() > 1 {
        causes.push(modes.forbidden("may not use ReadWriteOncePod with other access modes"));
    }
}

pub(super) fn claim(object: &At<'_>, causes: &mut Vec<Cause>) {
    claim_spec(&object.field("spec"), causes);
}

/// A claim's spec, wherever it stands.
pub(super) fn claim_spec(spec: &At<'_>, causes: &mut Vec<Cause>) {
    access_modes(&spec.field("accessModes"), "at least 1 access mode is required", causes);
    if spec.field("selector").is_set() {
        label_selector(&spec.field("selector"), causes);
    }
    let requests = spec.field("resources").field("requests");
    let storage = requests.clone().entries().find(|(name, _)| *name == "storage").map(|(_, at)| at);
    match storage {
        None => causes.push(Cause::required(format!("{}[storage]", requests.path), "")),
        Some(storage) => causes.extend(positive(&storage)),
    }
    let class = spec.field("storageClassName");
    if !class.text().is_empty() {
        causes.extend(class.named(names::dns_subdomain));
    }
    causes.extend(spec.field("volumeMode").one_of(&["Block", "Filesystem"]));
    for source in ["dataSource", "dataSourceRef"] {
        let source = spec.field(source);
        if source.is_set() {
            causes.extend(["kind", "name"].iter().filter_map(|field| source.field(field).must_be_set()));
        }
    }
}

pub(super) fn claim_change(new: &Value, old: &Value) -> Vec<Cause> {
    let bound = old.pointer("/status/phase").is_some_and(|phase| phase == "Bound");
    let fixed = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        if let Some(map) = spec.as_object_mut() {
            // The binder names the volume once, and classes are filled in after the fact.
            if old.pointer("/spec/volumeName").is_none() {
                map.remove("volumeName");
            }
            if old.pointer("/spec/storageClassName").is_none() {
                map.remove("storageClassName");
            }
            if bound {
                map.remove("volumeAttributesClassName");
            }
        }
        if let (true, Some(resources)) = (bound, spec.get_mut("resources").and_then(Value::as_object_mut)) {
            resources.remove("requests");
        }
        spec
    };
    let mut causes = Vec::new();
    if fixed(new) != fixed(old) {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        causes.push(Cause::forbidden("spec", why));
    }
    let amount = |object: &Value, at: &str| -> Option<Quantity> { object.pointer(at)?.as_str()?.parse().ok() };
    let requested = amount(new, "/spec/resources/requests/storage");
    if requested < amount(old, "/spec/resources/requests/storage")
        && requested < amount(old, "/status/capacity/storage")
    {
        causes.push(Cause::forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"));
    }
    causes
}

/// The fields of a PersistentVolume's spec that say where it is.
const SOURCES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

pub(super) fn persistent(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    access_modes(&spec.field("accessModes"), "", causes);
    let capacity = spec.field("capacity");
    if capacity.len() == 0 {
        causes.push(capacity.required(""));
    } else if capacity.value.get("storage").is_none() || capacity.len() > 1 {
        causes.push(Cause::not_supported(&capacity.path, capacity.value, &["storage"]));
    }
    causes.extend(capacity.entries().filter_map(|(_, amount)| positive(&amount)));
    causes.extend(spec.field("persistentVolumeReclaimPolicy").one_of(&["Delete", "Recycle", "Retain"]));
    causes.extend(spec.field("volumeMode").one_of(&["Block", "Filesystem"]));
    let class = spec.field("storageClassName");
    if !class.text().is_empty() {
        causes.extend(class.named(names::dns_subdomain));
    }
    let sources: Vec<At<'_>> = SOURCES.iter().map(|name| spec.field(name)).filter(At::is_set).collect();
    match sources.as_slice() {
        [] => causes.push(spec.required("must specify a volume type")),
        [source] => self::source(source, &spec, causes),
        [_, more @ ..] => {
            causes.extend(more.iter().map(|source| source.forbidden("may not specify more than 1 volume type")));
        }
    }
    let required = spec.field("nodeAffinity").field("required");
    if spec.field("nodeAffinity").is_set() && !required.is_set() {
        causes.push(required.required("must specify required node constraints"));
    } else if required.is_set() {
        node_selector(&required, causes);
    }
}

fn source(source: &At<'_>, spec: &At<'_>, causes: &mut Vec<Cause>) {
    let required: &[&str] = match source.path.rsplit('.').next().unwrap_or_default() {
        "hostPath" => {
            if spec.field("persistentVolumeReclaimPolicy").text() == "Recycle" && source.field("path").text() == "/" {
                let policy = spec.field("persistentVolumeReclaimPolicy");
                causes.push(policy.forbidden("may not be 'recycle' for a hostPath mount of '/'"));
            }
            causes.extend(source.field("path").no_steps_up());
            &["path"]
        }
        "local" => {
            if !spec.field("nodeAffinity").is_set() {
                causes.push(spec.field("nodeAffinity").required("Local volume requires node affinity"));
            }
            causes.extend(source.field("path").no_steps_up());
            &["path"]
        }
        "nfs" => {
            if source.field("path").is_set() && !source.field("path").text().starts_with('/') {
                causes.push(source.field("path").invalid("must be an absolute path"));
            }
            &["server", "path"]
        }
        "csi" => &["driver", "volumeHandle"],
        "awsElasticBlockStore" | "cinder" => &["volumeID"],
        "gcePersistentDisk" => &["pdName"],
        "iscsi" => &["targetPortal", "iqn"],
        _ => &[],
    };
    causes.extend(required.iter().filter_map(|field| source.field(field).must_be_set()));
}

pub(super) fn persistent_change(new: &Value, old: &Value) -> Vec<Cause> {
    let source = |object: &Value| -> Vec<Value> {
        let spec = object.get("spec").cloned().unwrap_or_default();
        SOURCES.iter().map(|name| spec.get(*name).cloned().unwrap_or_default()).collect()
    };
    let mut causes = Vec::new();
    if source(new) != source(old) {
        let why = "spec.persistentvolumesource is immutable after creation";
        causes.push(Cause::forbidden("spec.persistentvolumesource", why));
    }
    causes.extend(immutable(new, old, "spec.volumeMode"));
    if old.pointer("/spec/nodeAffinity").is_some() {
        causes.extend(immutable(new, old, "spec.nodeAffinity"));
    }
    causes
}

pub(super) fn class(object: &At<'_>, causes: &mut Vec<Cause>) {
    let provisioner = object.field("provisioner");
    if provisioner.text().is_empty() {
        causes.push(provisioner.required(""));
    } else {
        let wrong = names::qualified_name(&provisioner.text().to_lowercase());
        causes.extend(wrong.iter().map(|wrong| provisioner.invalid(wrong)));
    }
    let parameters = object.field("parameters");
    if parameters.len() > 512 {
        causes.push(Cause::too_long("Provisioner Parameters", 512));
    }
    for (key, at) in parameters.entries() {
        if key.is_empty() {
            causes.push(Cause::invalid(&at.path, &json!(key), "field can not be empty."));
        }
    }
    causes.extend(object.field("reclaimPolicy").one_of(&["Delete", "Retain"]));
    causes.extend(object.field("volumeBindingMode").must_be_one_of(&["Immediate", "WaitForFirstConsumer"]));
    for term in object.each("allowedTopologies") {
        let expressions = term.field("matchLabelExpressions");
        for expression in expressions.elements() {
            causes.extend(expression.field("key").named(names::qualified_name));
            if expression.field("values").len() == 0 {
                causes.push(expression.field("values").required(""));
            }
        }
    }
}

pub(super) fn class_change(new: &Value, old: &Value) -> Vec<Cause> {
    let differs = |field: &&str| new.get(*field) != old.get(*field);
    let frozen = ["parameters", "provisioner", "reclaimPolicy"].into_iter().filter(differs);
    let mut causes: Vec<Cause> =
        frozen.map(|field| Cause::forbidden(field, &format!("updates to {field} are forbidden."))).collect();
    causes.extend(immutable(new, old, "volumeBindingMode"));
    causes
}

pub(super) fn csi_driver(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    let policies = ["ReadWriteOnceWithFSType", "File", "None"];
    causes.extend(spec.field("fsGroupPolicy").one_of(&policies));
    causes.extend(spec.each("volumeLifecycleModes").filter_map(|mode| mode.one_of(&["Ephemeral", "Persistent"])));
}

pub(super) fn csi_driver_change(new: &Value, old: &Value) -> Vec<Cause> {
    unchangeable_fields(new, old, &["spec.attachRequired", "spec.volumeLifecycleModes"])
}

pub(super) fn csi_node(object: &At<'_>, causes: &mut Vec<Cause>) {
    for driver in object.field("spec").each("drivers") {
        causes.extend(driver.field("name").must_be_set());
        causes.extend(driver.field("nodeID").must_be_set());
    }
}

pub(super) fn attachment(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    causes.extend(["attacher", "nodeName"].iter().filter_map(|field| spec.field(field).must_be_set()));
    let source = spec.field("source");
    let (name, inline) = (source.field("persistentVolumeName"), source.field("inlineVolumeSpec"));
    match (name.is_set(), inline.is_set()) {
        (false, false) => {
            causes.push(source.required("must specify exactly one of inlineVolumeSpec and persistentVolumeName"));
        }
        (true, true) => {
            causes.push(source.forbidden("must specify exactly one of inlineVolumeSpec and persistentVolumeName"));
        }
        _ => {}
    }
}

pub(super) fn attachment_change(new: &Value, old: &Value) -> Vec<Cause> {
    unchangeable_fields(new, old, &["spec"])
}

pub(super) fn capacity(object: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(object.field("storageClassName").must_be_named(names::dns_subdomain));
}
