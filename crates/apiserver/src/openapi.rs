//! The OpenAPI v3 documents that clients read before they send objects: which paths there are, which parameters a PATCH takes,
//! and which kind each schema is.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::LazyLock,
};

use objects::{
    kinds::{KINDS, Kind},
    patch, schema,
};
use serde_json::{Map, Value, json};

fn root(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    }
}

/// A hash of each document's text, so that clients keep what they have fetched until it changes. The documents are made once
/// for it, when the first client asks for the index, and not kept.
static HASHES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let roots: BTreeSet<String> = KINDS.iter().map(root).collect();
    let hash = |root: String| {
        let segments: Vec<&str> = root.split('/').collect();
        let mut hasher = DefaultHasher::new();
        document(&segments).map(|document| document.to_string()).hash(&mut hasher);
        (root, format!("{:016X}", hasher.finish()))
    };
    roots.into_iter().map(hash).collect()
});

/// `/openapi/v3`: the documents there are.
pub fn index() -> Value {
    let entry = |(root, hash): (&String, &String)| {
        (root.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{root}?hash={hash}")}))
    };
    json!({"paths": HASHES.iter().map(entry).collect::<Map<_, _>>()})
}

/// The hash of a document of the index.
pub fn hash(path: &[&str]) -> Option<&'static str> {
    HASHES.get(&path.join("/")).map(String::as_str)
}

/// `/openapi/v3/…`: the document of one group version.
pub fn document(path: &[&str]) -> Option<Value> {
    let wanted = path.join("/");
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| root(kind) == wanted).collect();
    if kinds.is_empty() {
        return None;
    }
    let mut paths = Map::new();
    let schemas = kinds.first().map(|kind| schema::components(kind.group, kind.version)).unwrap_or_default();
    for kind in kinds {
        let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("/{wanted}{scope}/{}", kind.plural);
        paths.insert(format!("{collection}/{{name}}"), json!({
            "get": operation(kind, "get", &[]), "put": operation(kind, "put", WRITE), "patch": patch_operation(kind),
            "delete": operation(kind, "delete", &["dryRun"]),
        }));
        paths.insert(collection, json!({"get": operation(kind, "list", &[]), "post": operation(kind, "post", WRITE)}));
    }
    let info = json!({"title": "Kubernetes", "version": "v1.33.0"});
    Some(json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}))
}

/// The media type of OpenAPI v2 in protobuf, as kubectl before 1.29 asks for it.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `/openapi/v2` without schemas: kubectl before 1.29 fails without the document, and does with its own knowledge without
/// schemas.
pub fn v2() -> Value {
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.33.0"}, "paths": {}})
}

/// [`v2`] in protobuf: fields 1 (swagger), 2 (info: 1 title, 2 version) and 8 (paths) of gnostic's `Document`.
pub fn v2_protobuf() -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| {
        // Every length here is far below 128, so it is one byte.
        let length = u8::try_from(bytes.len()).unwrap_or_default();
        [&[tag << 3 | 2, length], bytes].concat()
    };
    let info = [field(1, b"Kubernetes"), field(2, b"v1.33.0")].concat();
    [field(1, b"2.0"), field(2, &info), field(8, b"")].concat()
}

const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];

fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn operation(kind: &Kind, action: &str, parameters: &[&str]) -> Value {
    let parameter =
        |name: &&str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let parameters: Vec<Value> = parameters.iter().map(parameter).collect();
    let name = schema::definition_name(kind.group, kind.version, kind.kind).unwrap_or_default();
    let schema = json!({"$ref": format!("#/components/schemas/{name}")});
    json!({"parameters": parameters, "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(kind),
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}})
}

fn patch_operation(kind: &Kind) -> Value {
    let mut operation = operation(kind, "patch", WRITE);
    let mut media = vec!["application/json-patch+json", "application/merge-patch+json"];
    if patch::is_strategic(kind) {
        media.push("application/strategic-merge-patch+json");
    }
    let content: Map<String, Value> =
        media.into_iter().map(|m| (m.to_owned(), json!({"schema": {"type": "object"}}))).collect();
    if let Some(map) = operation.as_object_mut() {
        map.insert("requestBody".to_owned(), json!({"content": content, "required": true}));
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_of_the_index_is_there_and_says_how_to_patch() {
        for root in index()["paths"].as_object().unwrap().keys() {
            let document = document(&root.split('/').collect::<Vec<_>>()).unwrap();
            let patches = document["paths"].as_object().unwrap().values().filter(|path| path.get("patch").is_some());
            assert!(patches.clone().all(|path| path["patch"]["parameters"].to_string().contains("fieldValidation")));
            assert!(patches.count() > 0, "{root}");
        }
    }
}
