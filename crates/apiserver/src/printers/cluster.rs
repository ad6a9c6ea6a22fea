//! The columns of what governs a namespace or the cluster: policies, roles, quotas, classes, admission.

use serde_json::{Value, json};

use super::{AGE, Column, column, condition, integer, joined, list, number, selector, text, text_or, wide};

pub(super) const NETWORK_POLICY: &[Column] =
    &[column("Pod-Selector", |p, _| selector(p.pointer("/spec/podSelector")).into()), AGE];

pub(super) const INGRESS: &[Column] = &[
    column("Class", |i, _| class(i).into()),
    column("Hosts", |i, _| hosts(i).into()),
    column("Address", |i, _| balanced(i).into()),
    column("Ports", |i, _| if list(i, "/spec/tls").count() > 0 { "80, 443" } else { "80" }.into()),
    AGE,
];

fn class(ingress: &Value) -> &str {
    match text(ingress, "/spec/ingressClassName") {
        "" => text_or(ingress, "/metadata/annotations/kubernetes.io~1ingress.class", "<none>"),
        class => class,
    }
}

/// The first three hosts, and how many more there are.
fn hosts(ingress: &Value) -> String {
    let all: Vec<&str> =
        list(ingress, "/spec/rules").map(|rule| text(rule, "/host")).filter(|host| !host.is_empty()).collect();
    match all.as_slice() {
        [] => "*".to_owned(),
        [a, b, c, more @ ..] if !more.is_empty() => format!("{a},{b},{c} + {} more...", more.len()),
        all => all.join(","),
    }
}

fn balanced(ingress: &Value) -> String {
    let all = list(ingress, "/status/loadBalancer/ingress");
    joined(all.map(|one| text_or(one, "/ip", text(one, "/hostname"))), "")
}

pub(super) const INGRESS_CLASS: &[Column] = &[
    column("Controller", |c, _| text(c, "/spec/controller").into()),
    column("Parameters", |c, _| parameters(c).into()),
    AGE,
];

fn parameters(class: &Value) -> String {
    let Some(parameters) = class.pointer("/spec/parameters") else { return "<none>".to_owned() };
    let kind = text(parameters, "/kind");
    let group = match text(parameters, "/apiGroup") {
        "" => String::new(),
        group => format!(".{group}"),
    };
    format!("{kind}{group}/{}", text(parameters, "/name"))
}

pub(super) const IP_ADDRESS: &[Column] = &[column("ParentRef", |a, _| parent(a).into()), AGE];

fn parent(address: &Value) -> String {
    let at = |field: &str| text(address, &format!("/spec/parentRef/{field}"));
    let resource = match at("group") {
        "" => at("resource").to_owned(),
        group => format!("{}.{group}", at("resource")),
    };
    match at("namespace") {
        "" => format!("{resource}/{}", at("name")),
        namespace => format!("{resource}/{namespace}/{}", at("name")),
    }
}

pub(super) const SERVICE_CIDR: &[Column] =
    &[column("CIDRs", |s, _| joined(list(s, "/spec/cidrs").filter_map(Value::as_str), "").into()), AGE];

pub(super) const DISRUPTION_BUDGET: &[Column] = &[
    column("Min Available", |b, _| bound(b, "/spec/minAvailable").into()),
    column("Max Unavailable", |b, _| bound(b, "/spec/maxUnavailable").into()),
    integer("Allowed Disruptions", |b, _| number(b, "/status/disruptionsAllowed").into()),
    AGE,
];

fn bound(budget: &Value, pointer: &str) -> String {
    match budget.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "N/A".to_owned(),
    }
}

/// Roles say when they were made, not how long ago.
pub(super) const CREATED: &[Column] = &[column("Created At", |o, _| text(o, "/metadata/creationTimestamp").into())];

pub(super) const ROLE_BINDING: &[Column] = &[
    column("Role", |b, _| format!("{}/{}", text(b, "/roleRef/kind"), text(b, "/roleRef/name")).into()),
    AGE,
    wide("Users", |b, _| subjects(b, "User").into()),
    wide("Groups", |b, _| subjects(b, "Group").into()),
    wide("ServiceAccounts", |b, _| subjects(b, "ServiceAccount").into()),
];

fn subjects(binding: &Value, kind: &str) -> String {
    let name = |subject: &Value| match (kind, text(subject, "/name")) {
        ("ServiceAccount", name) => format!("{}/{name}", text(subject, "/namespace")),
        (_, name) => name.to_owned(),
    };
    let all: Vec<String> = list(binding, "/subjects").filter(|s| text(s, "/kind") == kind).map(name).collect();
    all.join(", ")
}

pub(super) const RESOURCE_QUOTA: &[Column] =
    &[column("Request", |q, _| quota(q, false).into()), column("Limit", |q, _| quota(q, true).into()), AGE];

/// `used/hard` of each resource: of limits, or of everything else.
fn quota(quota: &Value, limits: bool) -> String {
    let hard = quota.pointer("/status/hard").and_then(Value::as_object);
    let shown = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("0").to_owned();
    let mut all: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("limits") == limits)
        .map(|(name, hard)| {
            let used = quota.pointer("/status/used").and_then(|used| used.get(name));
            format!("{name}: {}/{}", shown(used), shown(Some(hard)))
        })
        .collect();
    all.sort();
    all.join(", ")
}

pub(super) const API_SERVICE: &[Column] =
    &[column("Service", |s, _| served_by(s).into()), column("Available", |s, _| available(s).into()), AGE];

fn served_by(service: &Value) -> String {
    match service.pointer("/spec/service") {
        Some(by) => format!("{}/{}", text(by, "/namespace"), text(by, "/name")),
        None => "Local".to_owned(),
    }
}

/// Whether it can be asked; if not, why.
fn available(service: &Value) -> String {
    let Some(found) = condition(service, "Available") else { return "Unknown".to_owned() };
    match (text(found, "/status"), text(found, "/reason")) {
        ("True", _) => "True".to_owned(),
        (status, reason) => format!("{status} ({reason})"),
    }
}

pub(super) const PRIORITY_CLASS: &[Column] = &[
    integer("Value", |p, _| number(p, "/value").into()),
    column("Global-Default", |p, _| p.get("globalDefault").cloned().unwrap_or(json!(false))),
    AGE,
    column("PreemptionPolicy", |p, _| text(p, "/preemptionPolicy").into()),
];

pub(super) const RUNTIME_CLASS: &[Column] = &[column("Handler", |r, _| text(r, "/handler").into()), AGE];

pub(super) const CERTIFICATE_REQUEST: &[Column] = &[
    AGE,
    column("SignerName", |c, _| text_or(c, "/spec/signerName", "<none>").into()),
    column("Requestor", |c, _| text(c, "/spec/username").into()),
    column("RequestedDuration", |c, _| match c.pointer("/spec/expirationSeconds").and_then(Value::as_i64) {
        Some(seconds) => super::duration(seconds).into(),
        None => "<none>".into(),
    }),
    column("Condition", |c, _| request_condition(c).into()),
];

fn request_condition(request: &Value) -> String {
    let has = |name: &&str| condition(request, name).is_some();
    let mut words = vec![["Denied", "Approved"].into_iter().find(has).unwrap_or("Pending")];
    words.extend(Some("Failed").filter(has));
    if !text(request, "/status/certificate").is_empty() {
        words.push("Issued");
    }
    words.join(",")
}

pub(super) const WEBHOOKS: &[Column] = &[integer("Webhooks", |w, _| list(w, "/webhooks").count().into()), AGE];

pub(super) const ADMISSION_POLICY: &[Column] = &[
    integer("Validations", |p, _| list(p, "/spec/validations").count().into()),
    column("ParamKind", |p, _| match p.pointer("/spec/paramKind") {
        Some(kind) => format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind")).into(),
        None => "<unset>".into(),
    }),
    AGE,
];

pub(super) const ADMISSION_BINDING: &[Column] = &[
    column("PolicyName", |b, _| text(b, "/spec/policyName").into()),
    column("ParamRef", |b, _| match b.pointer("/spec/paramRef") {
        Some(param) if !text(param, "/name").is_empty() => match text(param, "/namespace") {
            "" => format!("*/{}", text(param, "/name")).into(),
            namespace => format!("{namespace}/{}", text(param, "/name")).into(),
        },
        Some(param) => selector(param.pointer("/selector")).into(),
        None => "<unset>".into(),
    }),
    AGE,
];

pub(super) const FLOW_SCHEMA: &[Column] = &[
    column("PriorityLevel", |f, _| text(f, "/spec/priorityLevelConfiguration/name").into()),
    integer("MatchingPrecedence", |f, _| number(f, "/spec/matchingPrecedence").into()),
    column("DistinguisherMethod", |f, _| text_or(f, "/spec/distinguisherMethod/type", "<none>").into()),
    AGE,
    column("MissingPL", |f, _| {
        match condition(f, "Dangling").map(|c| text(c, "/status")) {
            Some("True") => "True",
            Some("False") => "False",
            _ => "?",
        }
        .into()
    }),
];

pub(super) const PRIORITY_LEVEL: &[Column] = &[
    column("Type", |p, _| text(p, "/spec/type").into()),
    column("NominalConcurrencyShares", |p, _| limited(p, "nominalConcurrencyShares").into()),
    column("Queues", |p, _| limited(p, "limitResponse/queuing/queues").into()),
    column("HandSize", |p, _| limited(p, "limitResponse/queuing/handSize").into()),
    column("QueueLengthLimit", |p, _| limited(p, "limitResponse/queuing/queueLengthLimit").into()),
    AGE,
];

fn limited(level: &Value, pointer: &str) -> String {
    let found = level.pointer(&format!("/spec/limited/{pointer}")).and_then(Value::as_i64);
    found.map_or_else(|| "<none>".to_owned(), |number| number.to_string())
}
