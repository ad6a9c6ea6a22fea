//! What there is: versions, groups, resources, and the OpenAPI documents, generated from the table of kinds.

use std::collections::BTreeMap;

use http::{HeaderValue, StatusCode, header, request::Parts};
use objects::kinds::{KINDS, Kind};
use serde_json::{Value, json};

use super::{
    Answer, respond,
    reviews::{REVIEWS, Review},
};
use crate::{openapi, status::Failure};

/// The aggregated form's media type, as clients since 1.30 ask for it.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// `/version`: the Kubernetes version whose behaviour is kept to.
pub fn version() -> Value {
    json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0+coracle", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64"})
}

/// The discovery document at a path, or `None` if the path is not discovery's.
///
/// # Errors
/// 404 for a group or version that is not there.
pub fn document(parts: &Parts) -> Result<Option<Answer>, Failure> {
    let path = parts.uri.path().trim_end_matches('/');
    let accept = parts.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let aggregated = accept.split(',').any(is_aggregated);
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let document = match segments.as_slice() {
        ["api" | "apis"] if aggregated => {
            let mut answer = respond::json(StatusCode::OK, &aggregated_groups(path == "/api"));
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
            return Ok(Some(answer));
        }
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            let groups: Vec<Value> = groups().iter().map(|(name, versions)| group(name, versions)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", "v1"] => resources("", "v1"),
        ["apis", name] => match groups().get(name) {
            Some(versions) => {
                let mut group = group(name, versions);
                if let Some(map) = group.as_object_mut() {
                    map.insert("kind".to_owned(), json!("APIGroup"));
                    map.insert("apiVersion".to_owned(), json!("v1"));
                }
                group
            }
            None => return Err(Failure::no_such_path()),
        },
        ["apis", name, version] if groups().get(name).is_some_and(|v| v.contains(version)) => resources(name, version),
        ["apis", _, _] if parts.uri.path().split('/').count() == 4 => return Err(Failure::no_such_path()),
        ["openapi", "v2"] if accept.contains("protobuf") => {
            let mut answer = respond::bytes(StatusCode::OK, openapi::v2_protobuf());
            let media = HeaderValue::from_static(openapi::V2_PROTOBUF);
            answer.headers_mut().insert(header::CONTENT_TYPE, media);
            return Ok(Some(answer));
        }
        ["openapi", "v2"] => openapi::v2(),
        ["openapi", "v3"] => openapi::index(),
        ["openapi", "v3", rest @ ..] => return schemas(parts, rest).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(respond::json(StatusCode::OK, &document)))
}

/// One OpenAPI document, which a client may keep for as long as the index names its hash.
fn schemas(parts: &Parts, path: &[&str]) -> Result<Answer, Failure> {
    let hash = openapi::hash(path).ok_or_else(Failure::no_such_path)?;
    let tag = format!("\"{hash}\"");
    let mut answer = if parts.headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        let mut same = Answer::new(super::full(Vec::new()));
        *same.status_mut() = StatusCode::NOT_MODIFIED;
        same
    } else {
        respond::json(StatusCode::OK, &openapi::document(path).ok_or_else(Failure::no_such_path)?)
    };
    let asked = parts.uri.query().and_then(|query| query.strip_prefix("hash="));
    let keep = if asked == Some(hash) { "public, immutable, max-age=31536000" } else { "no-cache, private" };
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    Ok(answer)
}

fn is_aggregated(media: &str) -> bool {
    let has = |wanted: &str| media.split(';').any(|part| part.trim() == wanted);
    has("g=apidiscovery.k8s.io") && has("v=v2") && has("as=APIGroupDiscoveryList")
}

/// Named groups and their versions, the preferred one first.
fn groups() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for kind in KINDS.iter().filter(|kind| !kind.group.is_empty()) {
        let versions = groups.entry(kind.group).or_default();
        if !versions.contains(&kind.version) {
            versions.push(kind.version);
        }
    }
    for review in REVIEWS {
        groups.insert(review.group, vec!["v1"]);
    }
    groups
}

fn group(name: &str, versions: &[&str]) -> Value {
    let entry = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let list: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "versions": list, "preferredVersion": list.first()})
}

/// One subresource: its name, the group, version and kind of what is sent there, and its verbs.
type Subresource = (&'static str, (&'static str, &'static str, &'static str), &'static [&'static str]);

fn subresources(kind: &Kind) -> Vec<Subresource> {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    const CREATE: &[&str] = &["create"];
    let own = (kind.group, kind.version, kind.kind);
    let mut all = Vec::new();
    if kind.status {
        all.push(("status", own, CHANGE));
    }
    if kind.scale {
        all.push(("scale", ("autoscaling", "v1", "Scale"), CHANGE));
    }
    match kind.kind {
        "Pod" => {
            all.push(("binding", ("", "v1", "Binding"), CREATE));
            all.push(("eviction", ("policy", "v1", "Eviction"), CREATE));
            all.push(("log", own, &["get"]));
        }
        "Namespace" => all.push(("finalize", own, &["update"])),
        "ServiceAccount" => all.push(("token", ("authentication.k8s.io", "v1", "TokenRequest"), CREATE)),
        _ => {}
    }
    all
}

fn resources(group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for kind in KINDS.iter().filter(|kind| (kind.group, kind.version) == (group, version)) {
        list.push(json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": VERBS, "shortNames": kind.short_names, "categories": kind.categories}));
        for (name, (group, version, sub), verbs) in subresources(kind) {
            list.push(
                json!({"name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "group": group, "version": version, "kind": sub, "verbs": verbs}),
            );
        }
    }
    for review in REVIEWS.iter().filter(|review| review.group == group) {
        list.push(json!({"name": review.plural, "singularName": review.kind.to_ascii_lowercase(), "namespaced": review.namespaced,
            "kind": review.kind, "verbs": ["create"]}));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
}

fn aggregated_groups(core: bool) -> Value {
    let groups = if core { BTreeMap::from([("", vec!["v1"])]) } else { groups() };
    let items: Vec<Value> = groups.iter().map(|(group, versions)| aggregated_group(group, versions)).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_group(group: &str, versions: &[&str]) -> Value {
    let version_entry = |version: &&str| {
        let kinds = KINDS.iter().filter(|kind| kind.group == group && kind.version == *version);
        let reviews = REVIEWS.iter().filter(|review| review.group == group);
        let resources: Vec<Value> = kinds.map(aggregated_resource).chain(reviews.map(aggregated_review)).collect();
        json!({"version": version, "freshness": "Current", "resources": resources})
    };
    let versions: Vec<Value> = versions.iter().map(version_entry).collect();
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
}

fn aggregated_review(review: &Review) -> Value {
    json!({"resource": review.plural, "singularResource": review.kind.to_ascii_lowercase(), "verbs": ["create"],
        "responseKind": {"group": review.group, "version": "v1", "kind": review.kind},
        "scope": if review.namespaced { "Namespaced" } else { "Cluster" }})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let gvk = |(group, version, kind)| json!({"group": group, "version": version, "kind": kind});
    let subs: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|(name, sub, verbs)| json!({"subresource": name, "responseKind": gvk(sub), "verbs": verbs}))
        .collect();
    json!({"resource": kind.plural, "singularResource": kind.singular, "verbs": VERBS,
        "responseKind": gvk((kind.group, kind.version, kind.kind)),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "shortNames": kind.short_names, "categories": kind.categories, "subresources": subs})
}
