//! `v1` Endpoints: what clients read from before there were EndpointSlices, such as `kubectl describe service` until 1.30. They
//! are not stored: each is made of its Service's slices when it is asked for, and can be read and listed, nothing else.

use std::collections::BTreeMap;

use http::{Method, StatusCode, request::Parts};
use objects::kinds;
use serde_json::{Map, Value, json};

use super::{Answer, respond};
use crate::{
    printers,
    registry::{Registry, meta, parse},
    request::decode,
    status::Failure,
};

/// The label by which a slice names its Service.
const SERVICE: &str = "kubernetes.io/service-name";

/// Answers a request for Endpoints; `None` if the path is another's.
///
/// # Errors
/// 404 for a Service without any, 405 for anything but reading.
pub(super) fn answer(registry: &Registry, parts: &Parts) -> Result<Option<Answer>, Failure> {
    let segments: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let (namespace, name) = match segments.as_slice() {
        ["api", "v1", "endpoints"] => ("", None),
        ["api", "v1", "namespaces", namespace, "endpoints"] => (*namespace, None),
        ["api", "v1", "namespaces", namespace, "endpoints", name] => (*namespace, Some(*name)),
        _ => return Ok(None),
    };
    let is_watch = crate::request::Query::parse(parts.uri.query()).is_on("watch");
    if parts.method != Method::GET || is_watch {
        return Err(Failure::method_not_allowed());
    }
    let namespace = decode(namespace).ok_or_else(Failure::no_such_path)?;
    let (revision, all) = all(registry, &namespace)?;
    let form = respond::Form::negotiate(&parts.headers)?;
    let include = crate::request::Query::parse(parts.uri.query());
    let shown = match name {
        Some(name) => {
            let name = decode(name).ok_or_else(Failure::no_such_path)?;
            let missing = || Failure::not_found_named("endpoints", &name);
            all.into_iter().find(|one| meta::text(one, "name") == name).ok_or_else(missing)?
        }
        None => {
            json!({"kind": "EndpointsList", "apiVersion": "v1", "metadata": {"resourceVersion": revision.to_string()}, "items": all})
        }
    };
    if form == respond::Form::Table {
        let rows: Vec<&Value> = match shown.get("items").and_then(Value::as_array) {
            Some(items) => items.iter().collect(),
            None => vec![&shown],
        };
        let table = printers::endpoints(&rows, include.get("includeObject"), jiff::Timestamp::now());
        return Ok(Some(respond::json(StatusCode::OK, &table)));
    }
    Ok(Some(respond::json(StatusCode::OK, &shown)))
}

/// The revision, and the Endpoints of every Service in a namespace or (empty) in all.
fn all(registry: &Registry, namespace: &str) -> Result<(u64, Vec<Value>), Failure> {
    let kind = kinds::by_kind("discovery.k8s.io", "v1", "EndpointSlice").ok_or_else(Failure::no_such_path)?;
    let snapshot = registry.list(kind, namespace);
    let mut services: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for (key, stored) in &snapshot.objects {
        let slice = parse(stored)?;
        if let Some(service) = meta::labels(&slice).remove(SERVICE) {
            services.entry((key.namespace.clone(), service)).or_default().push(slice);
        }
    }
    let made = services.into_iter().map(|((namespace, name), slices)| of(&namespace, &name, &slices));
    Ok((snapshot.revision, made.collect()))
}

/// The Endpoints of one Service (upstream's endpoints controller): a subset for each slice.
fn of(namespace: &str, name: &str, slices: &[Value]) -> Value {
    let own = |field: &str| slices.iter().map(|slice| meta::text(slice, field)).max().unwrap_or_default().to_owned();
    let subsets: Vec<Value> = slices.iter().filter_map(subset).collect();
    let mut endpoints = json!({"kind": "Endpoints", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace,
        "resourceVersion": own("resourceVersion"), "creationTimestamp": own("creationTimestamp"), "uid": own("uid")}});
    if let (false, Some(map)) = (subsets.is_empty(), endpoints.as_object_mut()) {
        map.insert("subsets".to_owned(), subsets.into());
    }
    endpoints
}

/// What a slice is as a subset; `None` if it holds no address.
fn subset(slice: &Value) -> Option<Value> {
    let (mut ready, mut not_ready) = (Vec::new(), Vec::new());
    for endpoint in slice.get("endpoints").and_then(Value::as_array).into_iter().flatten() {
        // Unknown counts as ready.
        let is_ready = endpoint.pointer("/conditions/ready") != Some(&json!(false));
        for ip in endpoint.get("addresses").and_then(Value::as_array).into_iter().flatten() {
            let mut address = Map::from_iter([("ip".to_owned(), ip.clone())]);
            for field in ["hostname", "nodeName", "targetRef"] {
                address.extend(endpoint.get(field).map(|value| (field.to_owned(), value.clone())));
            }
            if is_ready { ready.push(address) } else { not_ready.push(address) }
        }
    }
    let mut subset = Map::new();
    for (field, addresses) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
        if !addresses.is_empty() {
            subset.insert(field.to_owned(), json!(addresses));
        }
    }
    if subset.is_empty() {
        return None;
    }
    let ports = slice.get("ports").and_then(Value::as_array).filter(|ports| !ports.is_empty());
    subset.extend(ports.map(|ports| ("ports".to_owned(), json!(ports))));
    Some(Value::Object(subset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_make_endpoints_of_what_is_ready_and_what_is_not() {
        let endpoint =
            |ip: &str, ready: Value| json!({"addresses": [ip], "conditions": {"ready": ready}, "nodeName": "n"});
        let slice = json!({"metadata": {"name": "web-0", "resourceVersion": "7"}, "ports": [{"port": 80}],
            "endpoints": [endpoint("10.42.0.1", json!(true)), endpoint("10.42.0.2", json!(false))]});
        let made = of("ns", "web", &[slice, json!({"metadata": {}})]);
        assert_eq!(made["metadata"]["name"], "web");
        let expected = json!([{"addresses": [{"ip": "10.42.0.1", "nodeName": "n"}],
            "notReadyAddresses": [{"ip": "10.42.0.2", "nodeName": "n"}], "ports": [{"port": 80}]}]);
        assert_eq!(made["subsets"], expected);
        assert_eq!(of("ns", "web", &[]).get("subsets"), None);
    }
}
