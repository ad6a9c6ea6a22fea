//! A pod's spec, in a Pod or in a workload's template.

use objects::names;

use super::{
    at::{At, duplicates},
    container::{self, Around},
    metadata, placement, resize, security, volume,
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
    let around = Around::of(spec, volumes);
    for (list, init) in [("containers", false), ("initContainers", true)] {
        for container in spec.each(list) {
            container::check(&container, &around, init, causes);
        }
    }
    host_ports(spec, causes);
    resize::policies(spec, causes);
    let all = spec.each("containers").chain(spec.each("initContainers"));
    causes.extend(duplicates(all.map(|container| container.field("name"))));
    causes.extend(spec.field("restartPolicy").one_of(&["Always", "OnFailure", "Never"]));
    causes.extend(spec.field("terminationGracePeriodSeconds").not_negative());
    let deadline = spec.field("activeDeadlineSeconds");
    if deadline.number().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        causes.push(deadline.invalid("must be between 1 and 2147483647, inclusive"));
    }
    dns(spec, causes);
    causes.extend(metadata::labels(&spec.field("nodeSelector")));
    for (field, check) in [
        ("nodeName", names::dns_subdomain as fn(&str) -> Vec<String>),
        ("serviceAccountName", names::dns_subdomain),
        ("hostname", names::dns_label),
        ("subdomain", names::dns_label),
        ("priorityClassName", names::dns_subdomain),
        ("runtimeClassName", names::dns_subdomain),
    ] {
        let field = spec.field(field);
        if !field.text().is_empty() {
            causes.extend(field.named(check));
        }
    }
    causes.extend(spec.field("preemptionPolicy").one_of(&["PreemptLowerPriority", "Never"]));
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
    security::of_pod(spec, causes);
    security::system(spec, causes);
    placement::check(spec, causes);
}

/// A port of the node is one container's. Init containers run one after the other, so that each is judged by itself.
fn host_ports(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let mut of = |ports: &mut dyn Iterator<Item = At<'_>>| {
        let mut seen = Vec::new();
        for port in ports {
            let host = port.field("hostPort");
            let Some(number) = host.number().filter(|number| *number != 0) else { continue };
            let (protocol, address) = (port.field("protocol"), port.field("hostIP"));
            let taken = format!("{}/{}/{number}", protocol.text(), address.text());
            if seen.contains(&taken) {
                causes.push(Cause::duplicate(&host.path, &taken.as_str().into()));
            }
            seen.push(taken);
        }
    };
    of(&mut spec.each("containers").flat_map(|container| container.each("ports")));
    for container in spec.each("initContainers") {
        of(&mut container.each("ports"));
    }
}

/// The most nameservers, domains that are searched, and characters of all those, with a space between them (resolv.conf).
const NAMESERVERS: usize = 3;
const SEARCHED: usize = 32;
const SEARCH_LIST: usize = 2048;

fn dns(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let (policy, config) = (spec.field("dnsPolicy"), spec.field("dnsConfig"));
    causes.extend(policy.one_of(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]));
    let (servers, searches) = (config.field("nameservers"), config.field("searches"));
    if policy.text() == "None" && !config.is_set() {
        causes.push(config.required("must provide `dnsConfig` when `dnsPolicy` is None"));
    } else if policy.text() == "None" && servers.len() == 0 {
        causes.push(servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None"));
        return;
    }
    if servers.len() > NAMESERVERS {
        causes.push(servers.invalid(&format!("must not have more than {NAMESERVERS} nameservers")));
    }
    for server in servers.elements() {
        if server.text().parse::<std::net::IpAddr>().is_err() {
            causes.push(server.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        }
    }
    if searches.len() > SEARCHED {
        causes.push(searches.invalid(&format!("must not have more than {SEARCHED} search paths")));
    }
    let whole: usize = searches.clone().elements().map(|search| search.len() + 1).sum();
    if whole > SEARCH_LIST + 1 {
        let why = format!("must not have more than {SEARCH_LIST} characters (including spaces) in the search list");
        causes.push(searches.invalid(&why));
    }
    // A lone dot searches the root, and `_` is in names of services.
    for search in searches.elements().filter(|search| search.text() != ".") {
        let plain = search.text().strip_suffix('.').unwrap_or(search.text());
        causes.extend(names::subdomain_with_underscores(plain).iter().map(|wrong| search.invalid(wrong)));
    }
    for option in config.each("options").filter(|option| option.field("name").text().is_empty()) {
        causes.push(option.required("must not be empty"));
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
            "" | "Equal" => {
                let wrong = names::label_value(value.text()).join(";");
                causes.extend((!wrong.is_empty()).then(|| Cause::invalid(&operator.path, value.value, &wrong)));
            }
            "Exists" if !value.text().is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                causes.push(Cause::invalid(&operator.path, value.value, why));
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
