//! Objects that nobody would write: whatever fits a kind's schema is stored or refused, and never breaks the server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use apiserver::{ApiServer, Options};
use http::Request;
use kube::Client;
use objects::{
    kinds::{KINDS, Kind},
    schema,
};
use serde_json::{Map, Value, json};

/// Texts at the edges of what fields hold.
const TEXTS: &[&str] = &[
    "",
    "a",
    "A b",
    "a-b",
    "1",
    "10%",
    "101%",
    "500m",
    "-1",
    "1Gi",
    "10.43.0.77",
    "None",
    "/",
    "/a//b",
    "../x",
    "*.example.com",
    "TCP",
    "HTTP",
    "HTTPS",
    "Always",
    "Never",
    "Recreate",
    "RollingUpdate",
    "ClusterIP",
    "ExternalName",
    "NodePort",
    "Exact",
    "PathPrefix",
    "RequestRedirect",
    "URLRewrite",
    "metadata.name",
    "In",
    "Exists",
    "Resource",
    "Utilization",
    "cpu",
    "IPv4",
    "2026-01-01T00:00:00Z",
    "YQ==",
    "é\u{202e}\u{0}",
];
const NUMBERS: &[i64] = &[-1, 0, 1, 2, 80, 443, 65_535, 65_536, i32::MAX as i64, i32::MIN as i64];

/// Numbers in an order that a seed decides (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A value of a schema.
fn value(schema: &Value, all: &Map<String, Value>, dice: &mut Dice, depth: usize) -> Value {
    let reference =
        schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref")).or_else(|| schema.pointer("/anyOf/0/$ref"));
    if let Some(name) = reference.and_then(Value::as_str).and_then(|r| r.strip_prefix("#/components/schemas/")) {
        return all.get(name).map_or(Value::Null, |schema| value(schema, all, dice, depth));
    }
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return if dice.below(2) == 0 { json!(dice.of(NUMBERS)) } else { json!(dice.of(TEXTS)) };
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => json!(dice.of(TEXTS)),
        Some("integer" | "number") => json!(dice.of(NUMBERS)),
        Some("boolean") => json!(dice.below(2) == 0),
        Some("array") if depth > 0 => {
            (0..dice.below(3)).map(|_| value(&schema["items"], all, dice, depth - 1)).collect()
        }
        Some("array") => json!([]),
        _ => {
            let mut map = Map::new();
            if let Some(more) = schema.get("additionalProperties").filter(|more| more.is_object()) {
                map.insert((*dice.of(TEXTS)).to_owned(), value(more, all, dice, depth.saturating_sub(1)));
            }
            for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                // What leads to the interesting parts is there more often than not.
                let likely =
                    matches!(name.as_str(), "spec" | "template" | "containers" | "rules" | "listeners" | "ports");
                if depth > 0 && (likely || dice.below(3) == 0) {
                    map.insert(name.clone(), value(schema, all, dice, depth - 1));
                }
            }
            Value::Object(map)
        }
    }
}

fn object(kind: &Kind, all: &Map<String, Value>, dice: &mut Dice) -> Value {
    let root = schema::definition_name(kind.group, kind.version, kind.kind).unwrap();
    let mut object = value(&all[&root], all, dice, 8);
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    // Metadata is much the same everywhere: most of it would only be refused.
    object["metadata"] = json!({"name": "it", "labels": {"a": "b"}});
    object
}

async fn ask(client: &Client, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> u16 {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = client.send(request.body(kube::client::Body::from(bytes)).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.into_body().collect_bytes().await.unwrap();
    assert!(status < 500, "{method} {path} {body}: {status} {}", String::from_utf8_lossy(&text));
    status
}

#[tokio::test]
async fn no_object_breaks_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    let client = ApiServer::open(options).await.unwrap().client("tester");
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let merge = [("content-type", "application/merge-patch+json")];
    let mut stored = 0;
    for kind in KINDS {
        let schemas = schema::components(kind.group, kind.version);
        for seed in 1..60u64 {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let root =
                if kind.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", kind.api_version()) };
            let scope = if kind.namespaced { "/namespaces/default" } else { "" };
            let (all, one) = (format!("{root}{scope}/{}", kind.plural), format!("{root}{scope}/{}/it", kind.plural));
            stored += usize::from(ask(&client, "POST", &all, &[], &object(kind, &schemas, &mut dice)).await == 201);
            // What was refused may still be the change of what was not.
            let small = json!({"metadata": {"name": "it"}});
            ask(&client, "POST", &all, &[], &small).await;
            ask(&client, "GET", &all, &table, &Value::Null).await;
            ask(&client, "PATCH", &one, &merge, &object(kind, &schemas, &mut dice)).await;
            ask(&client, "PATCH", &format!("{one}/status"), &merge, &object(kind, &schemas, &mut dice)).await;
            ask(&client, "PUT", &one, &[], &object(kind, &schemas, &mut dice)).await;
            ask(&client, "GET", &one, &table, &Value::Null).await;
            ask(&client, "DELETE", &one, &[], &Value::Null).await;
        }
    }
    assert!(stored > 50, "too few of the objects were good ones to say much: {stored}");
}
