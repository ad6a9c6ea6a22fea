//! A pod's volumes and their sources.

use objects::{names, quantity::Quantity};
use serde_json::json;

use super::{
    at::{At, duplicates},
    storage,
    workload::template_labels,
};
use crate::status::Cause;

const HOST_PATHS: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// Checks the volumes; their names.
pub(super) fn all<'a>(spec: &At<'a>, causes: &mut Vec<Cause>) -> Vec<&'a str> {
    for volume in spec.each("volumes") {
        causes.extend(volume.field("name").must_be_named(names::dns_label));
        let sources: Vec<_> = volume
            .value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(field, value)| *field != "name" && !value.is_null())
            .map(|(field, _)| field.as_str())
            .collect();
        match sources.as_slice() {
            [] => causes.push(volume.required("must specify a volume type")),
            [source] => self::source(source, &volume.field(source), causes),
            [_, more @ ..] => {
                let why = "may not specify more than 1 volume type";
                causes.extend(more.iter().map(|source| volume.field(source).forbidden(why)));
            }
        }
    }
    causes.extend(duplicates(spec.each("volumes").map(|volume| volume.field("name"))));
    spec.each("volumes").map(|volume| volume.field("name").text()).collect()
}

fn source(name: &str, source: &At<'_>, causes: &mut Vec<Cause>) {
    match name {
        "hostPath" => {
            let path = source.field("path");
            causes.extend(path.must_be_set().or_else(|| path.no_steps_up()));
            causes.extend(source.field("type").one_of(HOST_PATHS));
        }
        "emptyDir" => {
            let limit = source.field("sizeLimit");
            if limit.text().parse::<Quantity>().is_ok_and(|limit| limit.is_negative()) {
                causes.push(limit.forbidden("SizeLimit field must be a valid resource quantity"));
            }
        }
        "configMap" => {
            causes.extend(source.field("name").must_be_set());
            files(source, causes);
        }
        "secret" => {
            causes.extend(source.field("secretName").must_be_set());
            files(source, causes);
        }
        "downwardAPI" => downward(source, causes),
        "projected" => {
            mode(&source.field("defaultMode"), causes);
            for part in source.each("sources") {
                projection(&part, causes);
            }
        }
        "persistentVolumeClaim" => causes.extend(source.field("claimName").must_be_set()),
        "nfs" => {
            let path = source.field("path");
            causes.extend([source.field("server").must_be_set(), path.must_be_set()].into_iter().flatten());
            if !path.text().is_empty() && !path.text().starts_with('/') {
                causes.push(path.invalid("must be an absolute path"));
            }
        }
        "csi" => {
            let secret = source.field("nodePublishSecretRef");
            causes.extend(source.field("driver").must_be_named(names::dns_subdomain));
            causes.extend(secret.field("name").must_be_set().filter(|_| secret.is_set()));
        }
        "ephemeral" => {
            let template = source.field("volumeClaimTemplate");
            if template.is_set() {
                template_labels(&template, causes);
                storage::claim_spec(&template.field("spec"), causes);
            } else {
                causes.push(template.required(""));
            }
        }
        _ => {}
    }
}

fn projection(part: &At<'_>, causes: &mut Vec<Cause>) {
    for kind in ["configMap", "secret"] {
        let source = part.field(kind);
        if source.is_set() {
            causes.extend(source.field("name").must_be_set());
            files(&source, causes);
        }
    }
    if part.field("downwardAPI").is_set() {
        downward(&part.field("downwardAPI"), causes);
    }
    let token = part.field("serviceAccountToken");
    if token.is_set() {
        causes.extend(token.field("path").must_be_set().or_else(|| token.field("path").local_path()));
        let expiration = token.field("expirationSeconds");
        causes.extend(expiration.at_least(600, "may not specify a duration less than 10 minutes"));
    }
}

/// The keys that become files, and where.
fn files(source: &At<'_>, causes: &mut Vec<Cause>) {
    mode(&source.field("defaultMode"), causes);
    for item in source.each("items") {
        causes.extend(item.field("key").must_be_set());
        let path = item.field("path");
        causes.extend(path.must_be_set().or_else(|| path.local_path()));
        mode(&item.field("mode"), causes);
    }
}

fn downward(source: &At<'_>, causes: &mut Vec<Cause>) {
    mode(&source.field("defaultMode"), causes);
    for item in source.each("items") {
        let path = item.field("path");
        causes.extend(path.must_be_set().or_else(|| path.local_path()));
        let (field, resource) = (item.field("fieldRef"), item.field("resourceFieldRef"));
        match (field.is_set(), resource.is_set()) {
            (false, false) => causes.push(item.required("one of fieldRef and resourceFieldRef is required")),
            (true, true) => {
                causes.push(item.invalid("fieldRef and resourceFieldRef can not be specified simultaneously"));
            }
            (true, false) => {
                let path = field.field("fieldPath");
                let known =
                    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
                let subscripted = ["metadata.annotations['", "metadata.labels['"];
                if !subscripted.iter().any(|start| path.text().starts_with(start)) {
                    causes.extend(path.must_be_one_of(&known));
                }
            }
            (false, true) => causes.extend(resource.field("resource").must_be_set()),
        }
        mode(&item.field("mode"), causes);
    }
}

fn mode(mode: &At<'_>, causes: &mut Vec<Cause>) {
    if mode.number().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        causes.push(Cause::invalid(&mode.path, &json!(mode.value), why));
    }
}
