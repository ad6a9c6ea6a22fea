use std::{collections::BTreeSet, sync::Arc};

use objects::kinds::{KINDS, Kind};
use serde_json::Value;

use super::*;

fn roots() -> Vec<String> {
    group_versions(&Source::new(Arc::default())).into_iter().map(|(group, version)| root(group, version)).collect()
}

fn newer(root: &str) -> Value {
    v3::document(&Source::new(Arc::default()), root).unwrap()
}

fn older() -> Value {
    serde_json::from_slice(&v2::json(&Source::new(Arc::default()))).unwrap()
}

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_of_every_document_leads_somewhere() {
    for root in roots() {
        let document = newer(&root);
        let mut all = BTreeSet::new();
        references(&document, &mut all);
        for reference in all {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{root}: {reference}");
        }
    }
    let (document, mut all) = (older(), BTreeSet::new());
    references(&document, &mut all);
    for reference in all {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
}

#[test]
fn a_patch_says_its_kind_its_parameters_and_its_media_types() {
    let apps = newer("apis/apps/v1");
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    assert_eq!(patch["x-kubernetes-action"], "patch");
    let names: Vec<_> = patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force", "pretty"]);
    let media: BTreeSet<_> = patch["requestBody"]["content"].as_object().unwrap().keys().map(String::as_str).collect();
    let all = ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"];
    assert_eq!(
        media,
        all.iter().map(|m| format!("application/{m}")).collect::<Vec<_>>().iter().map(String::as_str).collect()
    );
    let routes = newer("apis/gateway.networking.k8s.io/v1");
    let patch =
        &routes["paths"]["/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/{name}"]["patch"];
    assert!(!patch["requestBody"]["content"].to_string().contains("strategic"), "custom resources do not know it");
}

#[test]
fn every_kind_has_a_schema_that_names_it_in_both_versions() {
    let all = older();
    for kind in KINDS {
        let is = |schema: &Value| {
            let gvks = schema["x-kubernetes-group-version-kind"].as_array();
            gvks.into_iter().flatten().any(|gvk| {
                (&gvk["group"], &gvk["version"], &gvk["kind"])
                    == (&kind.group.into(), &kind.version.into(), &kind.kind.into())
            })
        };
        let document = newer(&root(kind.group, kind.version));
        let found = document["components"]["schemas"].as_object().unwrap().values().any(is);
        assert!(found && all["definitions"].as_object().unwrap().values().any(is), "{kind:?}");
    }
}

#[test]
fn no_two_operations_have_the_same_name() {
    let mut seen = BTreeSet::new();
    for (path, item) in older()["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values().filter_map(|operation| operation["operationId"].as_str()) {
            assert!(seen.insert(operation.to_owned()), "{operation} at {path}");
        }
    }
    for wanted in [
        "readCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "deleteCoreV1CollectionNamespacedPod",
        "readCoreV1NamespacedPodLog",
        "patchAppsV1NamespacedDeploymentScale",
        "createCoreV1Namespace",
    ] {
        assert!(seen.contains(wanted), "{wanted}");
    }
}

#[test]
fn version_two_has_no_word_of_version_three() {
    let document = older();
    let definitions = &document["definitions"];
    assert_eq!(definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"], "int-or-string");
    let spec = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(spec["securityContext"]["$ref"], "#/definitions/io.k8s.api.core.v1.PodSecurityContext");
    assert!(spec["securityContext"]["description"].is_string());
    assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
    let text = document.to_string();
    assert!(
        !text.contains("#/components/") && !text.contains("\"nullable\":true") && !text.contains("\"requestBody\"")
    );
}

#[test]
fn documents_are_kept_within_their_bound_and_made_anew_when_the_kinds_change() {
    let documents = Documents::default();
    let mut source = Source::new(Arc::default());
    let index = documents.index(&source).unwrap();
    let paths = index["paths"].as_object().unwrap();
    assert_eq!(paths.keys().cloned().collect::<Vec<_>>(), roots());
    let apps = documents.get(&source, &Name::V3("apis/apps/v1".to_owned())).unwrap().unwrap();
    let address = paths["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(address, format!("/openapi/v3/apis/apps/v1?hash={}", apps.hash));
    let again = documents.get(&source, &Name::V3("apis/apps/v1".to_owned())).unwrap().unwrap();
    assert!(Arc::ptr_eq(&apps, &again), "it is kept");
    assert!(documents.get(&source, &Name::V3("apis/none/v1".to_owned())).unwrap().is_none());
    let own = Kind { group: "stable.example.com", ..objects::kinds::known()[0].clone() };
    let root = format!("apis/stable.example.com/{}", own.version);
    source = Source::new(Arc::new(Kinds::new(vec![own])));
    assert!(documents.index(&source).unwrap()["paths"].get(root).is_some());
}

/// The fields of a message: number, and bytes of those with a length.
pub(super) fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let varint = |bytes: &mut &[u8]| {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    };
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let content = match key & 7 {
            0 => {
                varint(&mut bytes);
                &[][..]
            }
            1 => {
                let (content, rest) = bytes.split_at(8);
                bytes = rest;
                content
            }
            _ => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (content, rest) = bytes.split_at(length);
                bytes = rest;
                content
            }
        };
        all.push((key >> 3, content));
    }
    all
}

pub(super) fn field(bytes: &[u8], number: u64) -> &[u8] {
    fields(bytes).into_iter().find(|(n, _)| *n == number).unwrap().1
}

#[test]
fn protobuf_says_what_json_says() {
    let (json, bytes) = (older(), v2::protobuf(&Source::new(Arc::default())));
    assert_eq!(field(&bytes, 1), b"2.0");
    let definitions: Vec<_> =
        fields(field(&bytes, 9)).into_iter().map(|(_, named)| (field(named, 1), field(named, 2))).collect();
    assert_eq!(definitions.len(), json["definitions"].as_object().unwrap().len());
    let (_, pod) = definitions.iter().find(|(name, _)| *name == b"io.k8s.api.core.v1.Pod").unwrap();
    let extension = field(pod, 31);
    assert_eq!(field(extension, 1), b"x-kubernetes-group-version-kind");
    let yaml: Value = serde_json::from_slice(field(field(extension, 2), 2)).unwrap();
    assert_eq!(yaml[0]["kind"], "Pod");
    let properties = fields(field(pod, 25));
    let spec = properties.iter().find(|(_, named)| field(named, 1) == b"spec").unwrap().1;
    assert_eq!(field(field(spec, 2), 1), b"#/definitions/io.k8s.api.core.v1.PodSpec");
    let paths = fields(field(&bytes, 8));
    assert_eq!(paths.len(), json["paths"].as_object().unwrap().len());
    let pods =
        paths.iter().find(|(_, named)| field(named, 1) == b"/api/v1/namespaces/{namespace}/pods/{name}").unwrap().1;
    let patch = field(field(pods, 2), 8);
    // What `kubectl --dry-run=server` of 1.20 looks for.
    let dry_run = fields(patch).into_iter().filter(|(n, _)| *n == 8).any(|(_, parameter)| {
        let parameter = field(parameter, 1);
        let Some((_, other)) = fields(parameter).into_iter().find(|(n, _)| *n == 2) else { return false };
        field(field(other, 3), 4) == b"dryRun"
    });
    assert!(dry_run);
}
