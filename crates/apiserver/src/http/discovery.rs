//! What there is: versions, groups and resources, generated from the table of kinds, in the older form (a document for each
//! group and version) and in the aggregated one (everything at once); what others serve says itself what it is.

use std::collections::{BTreeMap, BTreeSet};

use http::{header, request::Parts};
use objects::kinds::{Kind, Kinds};
use serde_json::{Value, json};

use super::{
    Answer,
    delegated::{Delegates, Offered},
    health, proxy, respond,
    reviews::{REVIEWS, Review},
};
use crate::{request::goes_together, status::Failure};

/// The aggregated form's media type: clients since 1.30 ask for `v2`, those before for `v2beta1`, which says the same.
const AGGREGATED: &[(&str, &str)] = &[
    ("v2", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    ("v2beta1", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
];
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// What can be done with objects of a kind.
fn verbs(kind: &Kind) -> Vec<&'static str> {
    VERBS.iter().filter(|verb| **verb != "deletecollection" || goes_together(kind)).copied().collect()
}

/// `/version`: the Kubernetes version whose behaviour is kept to.
pub fn version() -> Value {
    json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0+coracle", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64"})
}

/// The discovery document at a path, or `None` if the path is not discovery's.
///
/// # Errors
/// 404 for a group or version that is not there.
pub(super) async fn document(parts: &Parts, kinds: &Kinds, delegates: &Delegates) -> Result<Option<Answer>, Failure> {
    let path = parts.uri.path().trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let offered = match segments.as_slice() {
        ["apis"] => delegates.offered(aggregated(parts).is_some()).await,
        [] | ["apis", _] => delegates.offered(false).await,
        _ => Vec::new(),
    };
    let document = match segments.as_slice() {
        ["api" | "apis"] if let Some((version, media)) = aggregated(parts) => {
            let groups = aggregated_groups(path == "/api", version, kinds, &offered).to_string().into_bytes();
            return respond::document(parts, "public", media, groups).map(Some);
        }
        [] => json!({"paths": paths(kinds, &offered)}),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            let groups: Vec<Value> =
                groups(kinds, &offered).iter().map(|(name, versions)| group(name, versions)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", "v1"] => resources("", "v1", kinds),
        ["apis", name] => match groups(kinds, &offered).get(name) {
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
        ["apis", name, version] if groups(kinds, &[]).get(name).is_some_and(|v| v.contains(version)) => {
            resources(name, version, kinds)
        }
        ["apis", _, _] if parts.uri.path().split('/').count() == 4 => return Err(Failure::no_such_path()),
        _ => return Ok(None),
    };
    respond::document(parts, "no-cache, private", "application/json", document.to_string().into_bytes()).map(Some)
}

/// What can be asked for, as `kubectl get --raw /` and who opens `kubectl proxy` in a browser see it.
fn paths(kinds: &Kinds, offered: &[Offered]) -> BTreeSet<String> {
    const ALWAYS: &[&str] = &[
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/version",
    ];
    let named = groups(kinds, offered).into_iter().flat_map(|(group, versions)| {
        let each: Vec<String> = versions.iter().map(|version| format!("/apis/{group}/{version}")).collect();
        std::iter::once(format!("/apis/{group}")).chain(each)
    });
    ALWAYS.iter().map(|path| (*path).to_owned()).chain(named).chain(health::paths()).collect()
}

/// The aggregated form that a client prefers: its version and media type. `None`: it does not know the form, or prefers the older one.
fn aggregated(parts: &Parts) -> Option<(&'static str, &'static str)> {
    let accept = parts.headers.get(header::ACCEPT)?.to_str().ok()?;
    let known = |media: &str| {
        let has = |wanted: &str| media.split(';').any(|part| part.trim() == wanted);
        if !has("application/json") {
            return None;
        }
        if media.split(';').count() == 1 {
            return Some(None);
        }
        let is = |(version, _): &&(&str, &str)| {
            has("g=apidiscovery.k8s.io") && has("as=APIGroupDiscoveryList") && has(&format!("v={version}"))
        };
        AGGREGATED.iter().find(is).map(|found| Some(*found))
    };
    accept.split(',').find_map(known)?
}

/// Named groups and their versions, the preferred one first.
fn groups<'a>(kinds: &Kinds, offered: &'a [Offered]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in kinds.all().filter(|kind| !kind.group.is_empty()) {
        let versions = groups.entry(kind.group).or_default();
        if !versions.contains(&kind.version) {
            versions.push(kind.version);
        }
    }
    for review in REVIEWS {
        groups.insert(review.group, vec!["v1"]);
    }
    for Offered { group, version, .. } in offered {
        let versions = groups.entry(group).or_default();
        if !versions.contains(&version.as_str()) {
            versions.push(version);
        }
    }
    groups
}

fn group(name: &str, versions: &[&str]) -> Value {
    let entry = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let list: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "versions": list, "preferredVersion": list.first()})
}

/// One subresource: its name, the group, version and kind of what is sent there, and its verbs.
pub(crate) type Subresource = (&'static str, (&'static str, &'static str, &'static str), &'static [&'static str]);

/// What a kind has besides its objects.
pub(crate) fn subresources(kind: &Kind) -> Vec<Subresource> {
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
        _ if kind.is_custom() => {}
        "Pod" => {
            const OPEN: &[&str] = &["create", "get"];
            all.push(("attach", ("", "v1", "PodAttachOptions"), OPEN));
            all.push(("binding", ("", "v1", "Binding"), CREATE));
            all.push(("ephemeralcontainers", own, CHANGE));
            all.push(("eviction", ("policy", "v1", "Eviction"), CREATE));
            all.push(("exec", ("", "v1", "PodExecOptions"), OPEN));
            all.push(("log", own, &["get"]));
            all.push(("portforward", ("", "v1", "PodPortForwardOptions"), OPEN));
            all.push(("proxy", ("", "v1", "PodProxyOptions"), proxy::VERBS));
            all.push(("resize", own, CHANGE));
        }
        "CertificateSigningRequest" => all.push(("approval", own, CHANGE)),
        "Service" => all.push(("proxy", ("", "v1", "ServiceProxyOptions"), proxy::VERBS)),
        "Node" => all.push(("proxy", ("", "v1", "NodeProxyOptions"), proxy::VERBS)),
        "Namespace" => all.push(("finalize", own, &["update"])),
        "ServiceAccount" => all.push(("token", ("authentication.k8s.io", "v1", "TokenRequest"), CREATE)),
        _ => {}
    }
    all
}

fn resources(group: &str, version: &str, kinds: &Kinds) -> Value {
    let mut list = Vec::new();
    for kind in kinds.all().filter(|kind| (kind.group, kind.version) == (group, version)) {
        list.push(json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": verbs(&kind), "shortNames": kind.short_names, "categories": kind.categories}));
        for (name, (group, version, sub), verbs) in subresources(&kind) {
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

fn aggregated_groups(core: bool, version: &str, kinds: &Kinds, offered: &[Offered]) -> Value {
    let groups = if core { BTreeMap::from([("", vec!["v1"])]) } else { groups(kinds, offered) };
    let items: Vec<Value> =
        groups.iter().map(|(group, versions)| aggregated_group(group, versions, kinds, offered)).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items})
}

fn aggregated_group(group: &str, versions: &[&str], kinds: &Kinds, offered: &[Offered]) -> Value {
    let version_entry = |version: &&str| {
        if let Some(offered) = offered.iter().find(|offered| offered.group == group && offered.version == *version) {
            return aggregated_offer(offered);
        }
        let kinds = kinds.all().filter(|kind| kind.group == group && kind.version == *version);
        let reviews = REVIEWS.iter().filter(|review| review.group == group);
        let resources: Vec<Value> =
            kinds.map(|kind| aggregated_resource(&kind)).chain(reviews.map(aggregated_review)).collect();
        json!({"version": version, "freshness": "Current", "resources": resources})
    };
    let versions: Vec<Value> = versions.iter().map(version_entry).collect();
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
}

/// What somebody else serves. `Stale` says that it is not known now what that is.
fn aggregated_offer(offered: &Offered) -> Value {
    let Some(list) = &offered.resources else {
        return json!({"version": offered.version, "freshness": "Stale", "resources": []});
    };
    let text =
        |resource: &Value, field: &str| resource.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    // What is not said is as of the group and version itself.
    let response_kind = |resource: &Value| {
        let or = |field: &str, own: &str| match text(resource, field) {
            said if said.is_empty() => own.to_owned(),
            said => said,
        };
        json!({"group": or("group", &offered.group), "version": or("version", &offered.version), "kind": text(resource, "kind")})
    };
    let mut resources: Vec<Value> = Vec::new();
    for one in list {
        let name = text(one, "name");
        let (name, sub) = name.split_once('/').map_or((name.as_str(), None), |(name, sub)| (name, Some(sub)));
        let is_it = |found: &Value| found.get("resource").and_then(Value::as_str) == Some(name);
        let at = resources.iter().position(is_it).unwrap_or_else(|| {
            let scope = if one.get("namespaced") == Some(&Value::Bool(true)) { "Namespaced" } else { "Cluster" };
            // Subresources may have no resource above them, as those of custom.metrics.k8s.io.
            resources.push(json!({"resource": name, "scope": scope, "verbs": [], "responseKind": {"group": "", "version": "", "kind": ""}}));
            resources.len() - 1
        });
        let Some(Value::Object(found)) = resources.get_mut(at) else { continue };
        let verbs = one.get("verbs").cloned().unwrap_or_else(|| json!([]));
        if let Some(sub) = sub {
            let subresource = json!({"subresource": sub, "responseKind": response_kind(one), "verbs": verbs});
            if let Value::Array(subs) = found.entry("subresources").or_insert_with(|| json!([])) {
                subs.push(subresource);
            }
            continue;
        }
        found.insert("responseKind".to_owned(), response_kind(one));
        found.insert("verbs".to_owned(), verbs);
        found.insert("singularResource".to_owned(), text(one, "singularName").into());
        for list in ["shortNames", "categories"] {
            found.extend(one.get(list).map(|names| (list.to_owned(), names.clone())));
        }
    }
    json!({"version": offered.version, "freshness": "Current", "resources": resources})
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
    json!({"resource": kind.plural, "singularResource": kind.singular, "verbs": verbs(kind),
        "responseKind": gvk((kind.group, kind.version, kind.kind)),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "shortNames": kind.short_names, "categories": kind.categories, "subresources": subs})
}
