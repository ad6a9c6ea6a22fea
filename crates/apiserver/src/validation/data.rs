//! ConfigMaps, Secrets, Leases and Nodes.

use base64::{Engine, engine::general_purpose::STANDARD};
use objects::names;
use serde_json::Value;

use super::at::At;
use crate::status::Cause;

/// All values of a ConfigMap or Secret together.
const MOST_DATA: usize = 1024 * 1024;

pub(super) fn config_map(object: &At<'_>, causes: &mut Vec<Cause>) {
    let (data, binary) = (object.field("data"), object.field("binaryData"));
    let mut size = 0;
    for (key, value) in data.clone().entries() {
        keys(key, &value, causes);
        if binary.value.get(key).is_some() {
            causes.push(Cause::invalid(&value.path, &key.into(), "duplicate of key present in binaryData"));
        }
        size += value.len();
    }
    for (key, value) in binary.entries() {
        keys(key, &value, causes);
        size += decoded(&value).len();
    }
    if size > MOST_DATA {
        causes.push(Cause::too_long("", MOST_DATA));
    }
}

fn keys(key: &str, value: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(names::config_key(key).iter().map(|wrong| Cause::invalid(&value.path, &key.into(), wrong)));
}

fn decoded(value: &At<'_>) -> Vec<u8> {
    STANDARD.decode(value.text()).unwrap_or_default()
}

/// What a Secret of a type must hold: of each row one key at least.
const CONTENTS: &[(&str, &[&[&str]])] = &[
    ("kubernetes.io/dockercfg", &[&[".dockercfg"]]),
    ("kubernetes.io/dockerconfigjson", &[&[".dockerconfigjson"]]),
    ("kubernetes.io/basic-auth", &[&["username", "password"]]),
    ("kubernetes.io/ssh-auth", &[&["ssh-privatekey"]]),
    ("kubernetes.io/tls", &[&["tls.crt"], &["tls.key"]]),
];

pub(super) fn secret(object: &At<'_>, causes: &mut Vec<Cause>) {
    let (of, data) = (object.field("type").text(), object.field("data"));
    let mut size = 0;
    for (key, value) in data.clone().entries() {
        keys(key, &value, causes);
        size += decoded(&value).len();
    }
    if size > MOST_DATA {
        causes.push(Cause::too_long("data", MOST_DATA));
    }
    let wanted = CONTENTS.iter().find(|(name, _)| *name == of).map(|(_, rows)| *rows).unwrap_or_default();
    for row in wanted {
        if !row.iter().any(|key| data.value.get(*key).is_some()) {
            causes.extend(row.iter().map(|key| Cause::required(format!("data[{key}]"), "")));
        }
    }
    if of.starts_with("kubernetes.io/dockercfg") || of.starts_with("kubernetes.io/dockerconfigjson") {
        for (key, value) in data.entries().filter(|(key, _)| key.starts_with(".dockerc")) {
            if let Err(error) = serde_json::from_slice::<Value>(&decoded(&value)) {
                let why = error.to_string();
                causes.push(Cause::invalid(format!("data[{key}]"), &"<secret contents redacted>".into(), &why));
            }
        }
    }
    let account = object.field("metadata").field("annotations").field("kubernetes.io/service-account.name");
    if of == "kubernetes.io/service-account-token" && account.text().is_empty() {
        causes.push(Cause::required("metadata.annotations[kubernetes.io/service-account.name]", ""));
    }
}

pub(super) fn lease(spec: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(spec.field("leaseDurationSeconds").at_least(1, "must be greater than 0"));
    causes.extend(spec.field("leaseTransitions").not_negative());
}

pub(super) fn node(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let mut seen = Vec::new();
    for taint in spec.each("taints") {
        let (key, value, effect) = (taint.field("key"), taint.field("value"), taint.field("effect"));
        causes.extend(key.named(names::qualified_name));
        causes.extend(value.named(names::label_value));
        causes.extend(effect.must_be_one_of(&["NoExecute", "NoSchedule", "PreferNoSchedule"]));
        if seen.contains(&(key.text(), effect.text())) {
            causes.push(taint.duplicate());
        }
        seen.push((key.text(), effect.text()));
    }
}
