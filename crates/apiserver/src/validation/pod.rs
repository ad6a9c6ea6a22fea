//! A pod's spec, in a Pod or in a workload's template.

use objects::names;

use super::{
    at::{At, duplicates},
    container, metadata, placement, resize, volume,
};
use crate::status::Cause;

pub(super) fn spec(spec: &At<'_>, causes: &mut Vec<Cause>) {
    with_volumes(spec, &[], causes);
}

/// A spec that gets more volumes than it says: those of a StatefulSet's claims.
pub(super) fn with_volumes<'a>(spec: &At<'a>, claims: &[&'a str], causes: &mut Vec<Cause>) {
    let mut volumes = volume::all(spec, causes);
    volumes.extend(claims);
    let containers = spec.field("containers");
    if containers.len() == 0 {
        causes.push(containers.required(""));
    }
    for (list, init) in [("containers", false), ("initContainers", true)] {
        for container in spec.each(list) {
            container::check(&container, &volumes, init, spec.field("hostNetwork").is_true(), causes);
        }
    }
    resize::policies(spec, causes);
    let all = spec.each("containers").chain(spec.each("initContainers"));
    causes.extend(duplicates(all.map(|container| container.field("name"))));
    causes.extend(spec.field("restartPolicy").one_of(&["Always", "OnFailure", "Never"]));
    causes.extend(spec.field("terminationGracePeriodSeconds").not_negative());
    let deadline = spec.field("activeDeadlineSeconds");
    causes.extend(deadline.at_least(1, "must be between 1 and 2147483647, inclusive"));
    dns(spec, causes);
    causes.extend(metadata::labels(&spec.field("nodeSelector")));
    for (field, check) in [
        ("nodeName", names::dns_subdomain as fn(&str) -> Vec<String>),
        ("serviceAccountName", names::dns_subdomain),
        ("hostname", names::dns_label),
        ("subdomain", names::dns_label),
        ("priorityClassName", names::dns_subdomain),
    ] {
        let field = spec.field(field);
        if !field.text().is_empty() {
            causes.extend(field.named(check));
        }
    }
    tolerations(spec, causes);
    for alias in spec.each("hostAliases") {
        let ip = alias.field("ip");
        if ip.text().parse::<std::net::IpAddr>().is_err() {
            causes.push(ip.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        }
        for name in alias.each("hostnames") {
            causes.extend(name.named(names::dns_subdomain));
        }
    }
    container::security(&spec.field("securityContext"), causes);
    placement::check(spec, causes);
}

fn dns(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let policy = spec.field("dnsPolicy");
    causes.extend(policy.one_of(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]));
    let servers = spec.field("dnsConfig").field("nameservers");
    if policy.text() == "None" && servers.len() == 0 {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        causes.push(servers.required(why));
    }
    for server in servers.elements() {
        if server.text().parse::<std::net::IpAddr>().is_err() {
            causes.push(server.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        }
    }
}

fn tolerations(spec: &At<'_>, causes: &mut Vec<Cause>) {
    for toleration in spec.each("tolerations") {
        let (key, operator, value) = (toleration.field("key"), toleration.field("operator"), toleration.field("value"));
        if !key.text().is_empty() {
            causes.extend(key.named(names::qualified_name));
        } else if operator.text() != "Exists" {
            causes.push(
                operator.invalid(
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                ),
            );
        }
        match operator.text() {
            "" | "Equal" => causes.extend(value.named(names::label_value)),
            "Exists" if !value.text().is_empty() => {
                causes.push(operator.invalid("value must be empty when `operator` is 'Exists'"));
            }
            "Exists" => {}
            _ => causes.extend(operator.one_of(&["Equal", "Exists"])),
        }
        let effect = toleration.field("effect");
        if !effect.text().is_empty() {
            causes.extend(effect.one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"]));
        }
        if toleration.field("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            causes.push(effect.invalid("effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
    }
}
