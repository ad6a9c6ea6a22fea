//! What the cluster itself is made of: endpoints, priorities, runtime classes, webhooks, the flow of requests.

use std::net::IpAddr;

use objects::{admission, names};
use serde_json::Value;

use super::{
    at::{At, duplicates},
    change::{immutable, unchangeable_fields},
    metadata,
    workload::label_selector,
};
use crate::status::Cause;

/// The highest priority that is not kept for the system.
const HIGHEST: i64 = 1_000_000_000;
/// The classes of the system, and their priorities.
pub(crate) const SYSTEM_PRIORITIES: &[(&str, i64)] =
    &[("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub(super) fn priority_class(object: &At<'_>, causes: &mut Vec<Cause>) {
    let (name, value) = (object.field("metadata").field("name"), object.field("value"));
    causes.extend(object.field("preemptionPolicy").one_of(&["Never", "PreemptLowerPriority"]));
    if SYSTEM_PRIORITIES.iter().any(|(system, priority)| *system == name.text() && Some(*priority) == value.number()) {
        return;
    }
    if name.text().starts_with("system-") {
        let why = "priority class names with 'system-' prefix are reserved for system use only. error: \
                   name or value of the priority class is not one of the system's";
        causes.push(name.forbidden(why));
    }
    if value.number().is_some_and(|value| value > HIGHEST) {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        causes.push(value.forbidden(&why));
    }
}

pub(super) fn priority_class_change(new: &Value, old: &Value) -> Vec<Cause> {
    let changed = new.get("value") != old.get("value");
    let mut causes: Vec<Cause> =
        changed.then(|| Cause::forbidden("value", "may not be changed in an update.")).into_iter().collect();
    causes.extend(immutable(new, old, "preemptionPolicy"));
    causes
}

pub(super) fn endpoints(object: &At<'_>, causes: &mut Vec<Cause>) {
    let metadata = object.field("metadata");
    // The API's own: it may be served on this machine alone.
    let is_api = metadata.field("namespace").text() == "default" && metadata.field("name").text() == "kubernetes";
    for subset in object.each("subsets") {
        if subset.field("addresses").len() + subset.field("notReadyAddresses").len() == 0 {
            causes.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for address in subset.each(list) {
                self::address(&address.field("ip"), is_api, causes);
                let host = address.field("hostname");
                if !host.text().is_empty() {
                    causes.extend(host.named(names::dns_label));
                }
            }
        }
        let several = subset.field("ports").len() > 1;
        for port in subset.each("ports") {
            let name = port.field("name");
            if !name.text().is_empty() {
                causes.extend(name.named(names::dns_label));
            } else if several {
                causes.push(name.required(""));
            }
            causes.extend(port.field("port").port_number());
            causes.extend(port.field("protocol").must_be_one_of(&["SCTP", "TCP", "UDP"]));
        }
    }
}

/// An address that traffic may be sent to; `here`: it may be the machine's own.
fn address(ip: &At<'_>, here: bool, causes: &mut Vec<Cause>) {
    let Ok(parsed) = ip.text().parse::<IpAddr>() else {
        causes.push(ip.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        return;
    };
    // Where pods are plain processes they have addresses of 127.64.0.0/12, each its own.
    let is_pods = matches!(parsed, IpAddr::V4(v4) if v4.octets()[0] == 127 && v4.octets()[1] & 0xf0 == 64);
    let link_local = match parsed {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    for (is, why) in [
        (parsed.is_unspecified(), format!("may not be unspecified ({parsed})")),
        (
            parsed.is_loopback() && !is_pods && !here,
            "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned(),
        ),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
    ] {
        causes.extend(is.then(|| ip.invalid(&why)));
    }
}

pub(super) fn runtime_class(object: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(object.field("handler").named(names::dns_label));
    causes.extend(metadata::labels(&object.field("scheduling").field("nodeSelector")));
}

pub(super) fn runtime_class_change(new: &Value, old: &Value) -> Vec<Cause> {
    unchangeable_fields(new, old, &["handler"])
}

pub(super) fn api_service(object: &At<'_>, causes: &mut Vec<Cause>) {
    let (name, spec) = (object.field("metadata").field("name"), object.field("spec"));
    let (group, version) = (spec.field("group"), spec.field("version"));
    let required = format!("{}.{}", version.text(), group.text());
    if name.text() != required {
        causes.push(name.invalid(&format!("must be `spec.version+\".\"+spec.group`: {required:?}")));
    }
    if group.text().is_empty() && version.text() != "v1" {
        causes.push(group.required("only v1 may have an empty group and it better be legacy kube"));
    }
    if !group.text().is_empty() {
        causes.extend(group.named(names::dns_subdomain));
    }
    causes.extend(version.named(names::dns_1035_label));
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = spec.field(field);
        if !(1..=most).contains(&priority.number().unwrap_or(0)) {
            causes.push(priority.invalid(&format!("must be positive and less than {most}")));
        }
    }
    let (service, unchecked) = (spec.field("service"), spec.field("insecureSkipTLSVerify"));
    let trusts = !spec.field("caBundle").text().is_empty();
    let skips = unchecked.value == &Value::Bool(true);
    match (service.is_set(), trusts, skips) {
        (false, true, _) => causes.push(spec.field("caBundle").invalid("local APIServices may not have a caBundle")),
        (false, _, true) => causes.push(unchecked.invalid("local APIServices may not have insecureSkipTLSVerify")),
        (true, true, true) => causes.push(unchecked.invalid("may not be true if caBundle is present")),
        _ => {}
    }
    if service.is_set() {
        causes.extend(["namespace", "name"].into_iter().filter_map(|field| service.field(field).must_be_set()));
        if service.field("port").number().is_some_and(|port| !(1..=65_535).contains(&port)) {
            causes.push(service.field("port").invalid("port is not valid: must be between 1 and 65535, inclusive"));
        }
    }
}

pub(super) fn webhooks(object: &At<'_>, causes: &mut Vec<Cause>) {
    for webhook in object.each("webhooks") {
        let name = webhook.field("name");
        if name.text().split('.').count() < 3 {
            causes.push(name.invalid("should be a domain with at least three segments separated by dots"));
        }
        let versions = webhook.field("admissionReviewVersions");
        if versions.len() == 0 {
            causes.push(versions.required("must specify one of v1, v1beta1"));
        }
        let effects = webhook.field("sideEffects");
        if effects.is_set() {
            causes.extend(effects.one_of(&["None", "NoneOnDryRun"]));
        } else {
            causes.push(effects.required("must specify one of None, NoneOnDryRun"));
        }
        causes.extend(webhook.field("failurePolicy").one_of(&["Fail", "Ignore"]));
        causes.extend(webhook.field("matchPolicy").one_of(&["Equivalent", "Exact"]));
        if webhook.field("timeoutSeconds").number().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
            causes.push(webhook.field("timeoutSeconds").invalid("the timeout value must be between 1 and 30 seconds"));
        }
        let (url, service) =
            (webhook.field("clientConfig").field("url"), webhook.field("clientConfig").field("service"));
        if url.is_set() == service.is_set() {
            causes.push(webhook.field("clientConfig").required("exactly one of url or service is required"));
        }
        webhook.each("rules").for_each(|one| rule(&one, causes));
        match_conditions(&webhook.field("matchConditions"), causes);
        for selector in ["namespaceSelector", "objectSelector"] {
            label_selector(&webhook.field(selector), causes);
        }
    }
    causes.extend(duplicates(object.each("webhooks").map(|webhook| webhook.field("name"))));
}

/// Conditions of a webhook or a policy, at most.
const CONDITIONS: usize = 64;

fn match_conditions(list: &At<'_>, causes: &mut Vec<Cause>) {
    if list.len() > CONDITIONS {
        causes.push(Cause::too_many(&list.path, list.len(), CONDITIONS));
        return;
    }
    for condition in list.clone().elements() {
        let (name, expression) = (condition.field("name"), condition.field("expression"));
        causes.extend(name.must_be_named(names::qualified_name));
        if expression.text().trim().is_empty() {
            causes.push(expression.required(""));
        } else if let Err(why) = admission::condition(expression.text()) {
            causes.push(expression.invalid(&why));
        }
    }
    causes.extend(duplicates(list.clone().elements().map(|condition| condition.field("name"))));
}

fn rule(rule: &At<'_>, causes: &mut Vec<Cause>) {
    for field in ["apiGroups", "apiVersions", "resources", "operations"] {
        let list = rule.field(field);
        if list.len() == 0 {
            causes.push(list.required(""));
        }
        let several = list.len() > 1;
        if several && list.clone().elements().any(|one| one.text() == "*") {
            let why = if field == "operations" {
                "if '*' is present, must not specify other operations"
            } else {
                "if '*' is present, must not specify other values"
            };
            causes.push(list.invalid(why));
        }
    }
    let operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    causes.extend(rule.each("operations").filter_map(|one| one.one_of(&operations)));
    causes.extend(rule.field("scope").one_of(&["*", "Cluster", "Namespaced"]));
}

pub(super) fn admission_policy(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    if !spec.field("matchConstraints").is_set() {
        causes.push(spec.field("matchConstraints").required(""));
    }
    if spec.field("validations").len() + spec.field("auditAnnotations").len() == 0 {
        causes.push(spec.field("validations").required("validations or auditAnnotations must be set"));
    }
    match_conditions(&spec.field("matchConditions"), causes);
    for validation in spec.each("validations") {
        causes.extend(validation.field("expression").must_be_set());
    }
}

pub(super) fn admission_binding(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    causes.extend(spec.field("policyName").must_be_named(names::dns_subdomain));
    let actions = spec.field("validationActions");
    if actions.len() == 0 {
        causes.push(actions.required("at least one validation action is required"));
    }
    causes.extend(actions.elements().filter_map(|action| action.one_of(&["Audit", "Deny", "Warn"])));
}

pub(super) fn flow_schema(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    let precedence = spec.field("matchingPrecedence");
    if precedence.number().is_some_and(|number| !(1..=10_000).contains(&number)) {
        causes.push(precedence.invalid("must not be greater than 10000"));
    }
    causes.extend(spec.field("priorityLevelConfiguration").field("name").must_be_set());
    causes.extend(spec.field("distinguisherMethod").field("type").one_of(&["ByNamespace", "ByUser"]));
}

pub(super) fn priority_level(object: &At<'_>, causes: &mut Vec<Cause>) {
    let of = object.field("spec").field("type");
    causes.extend(of.must_be_one_of(&["Exempt", "Limited"]));
    let limited = object.field("spec").field("limited");
    if of.text() == "Limited" && !limited.is_set() {
        causes.push(limited.required("must not be empty when type is Limited"));
    }
}
