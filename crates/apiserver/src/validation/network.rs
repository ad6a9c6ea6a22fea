//! Services and EndpointSlices.

use std::{collections::HashSet, net::IpAddr};

use objects::names;
use serde_json::json;

use super::{
    at::{At, duplicates},
    metadata, policy,
};
use crate::status::Cause;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const NOT_AN_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

pub(super) fn service(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let (of, address, ports) = (spec.field("type"), spec.field("clusterIP"), spec.field("ports"));
    let headless = address.text() == "None";
    causes.extend(of.must_be_one_of(TYPES));
    if ports.len() == 0 && !headless && of.text() != "ExternalName" {
        causes.push(ports.required(""));
    }
    let node_port = matches!(of.text(), "NodePort" | "LoadBalancer");
    if headless && node_port {
        let why = format!("may not be set to 'None' for {} services", of.text());
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!("None"), &why));
    }
    if of.text() == "ExternalName" {
        alias(spec, causes);
    }
    for port in spec.each("ports") {
        service_port(&port, ports.len() > 1, of.text() == "ClusterIP", causes);
    }
    causes.extend(duplicates(spec.each("ports").map(|port| port.field("name")).filter(|n| !n.text().is_empty())));
    let (mut seen, mut seen_nodes) = (HashSet::new(), HashSet::new());
    for port in spec.each("ports") {
        let (number, protocol) = (port.field("port").number(), port.field("protocol").text());
        let node = port.field("nodePort");
        if node.number().is_some_and(|number| number != 0) && !seen_nodes.insert((node.number(), protocol)) {
            causes.push(node.duplicate());
        }
        if !seen.insert((number, protocol)) {
            causes.push(Cause::duplicate(&port.path, &json!({"port": number, "protocol": protocol})));
        }
    }
    causes.extend(metadata::labels(&spec.field("selector")));
    causes.extend(spec.field("sessionAffinity").one_of(&["ClientIP", "None"]));
    let timeout = spec.field("sessionAffinityConfig").field("clientIP").field("timeoutSeconds");
    if timeout.number().is_some_and(|seconds| !(1..=86400).contains(&seconds)) {
        causes.push(timeout.invalid("must be greater than 0 and less than 86400"));
    }
    if of.text() != "ExternalName" {
        families(spec, causes);
    }
    for external in spec.each("externalIPs") {
        reachable(&external, causes);
    }
    outside(spec, node_port, causes);
    causes.extend(spec.field("trafficDistribution").one_of(&["PreferClose", "PreferSameNode", "PreferSameZone"]));
    causes.extend(spec.field("internalTrafficPolicy").one_of(&["Cluster", "Local"]));
}

/// An address that is somebody's: neither nobody's nor one's own.
fn reachable(at: &At<'_>, causes: &mut Vec<Cause>) {
    let Ok(parsed) = at.text().parse::<IpAddr>() else {
        causes.push(at.invalid(NOT_AN_ADDRESS));
        return;
    };
    let (link, multicast) = match parsed {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    for (is, why) in [
        (parsed.is_unspecified(), format!("may not be unspecified ({parsed})")),
        (parsed.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ] {
        causes.extend(is.then(|| at.invalid(&why)));
    }
}

/// Which families of addresses a Service has, and which addresses. There are only those of IPv4 here; a headless Service without a
/// selector may say that it has both, since whoever says its endpoints has them.
fn families(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let [address, addresses, families, policy] =
        ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"].map(|field| spec.field(field));
    let first = addresses.clone().elements().next();
    if address.text().is_empty() && addresses.len() > 0 {
        causes.push(addresses.invalid("must be empty when `clusterIP` is not specified"));
    } else if first.is_some_and(|first| first.text() != address.text()) {
        causes.push(addresses.invalid("first value must match `clusterIP`"));
    }
    if addresses.len() > 2 {
        causes.push(addresses.invalid("may only hold up to 2 values"));
    }
    causes.extend(families.clone().elements().filter_map(|family| family.one_of(&["IPv4", "IPv6"])));
    causes.extend(duplicates(families.clone().elements()));
    causes.extend(policy.one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"]));
    if address.text() == "None" && spec.field("selector").len() == 0 {
        return;
    }
    let foreign = families.elements().filter(|family| family.text() == "IPv6");
    causes.extend(foreign.map(|family| family.invalid("not configured on this cluster")));
    if policy.text() == "RequireDualStack" {
        causes.push(policy.invalid("this cluster is not configured for dual-stack services"));
    }
}

/// What is said of how a Service is reached from outside the cluster.
fn outside(spec: &At<'_>, node_port: bool, causes: &mut Vec<Cause>) {
    let balanced = spec.field("type").text() == "LoadBalancer";
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"].map(|field| spec.field(field)) {
        if field.is_set() && !balanced {
            causes.push(field.forbidden("may only be used when `type` is 'LoadBalancer'"));
        }
    }
    let class = spec.field("loadBalancerClass");
    if balanced && class.is_set() {
        causes.extend(class.named(names::qualified_name));
    }
    // Upstream names the field as its own language does.
    let ranges = At { path: "spec.LoadBalancerSourceRanges".to_owned(), ..spec.field("loadBalancerSourceRanges") };
    if ranges.len() > 0 && !balanced {
        causes.push(ranges.forbidden("may only be used when `type` is 'LoadBalancer'"));
    }
    for range in ranges.elements() {
        // They may be padded, as they might in the annotation that there was before.
        let wrong = policy::range(range.text().trim()).is_none();
        causes.extend(wrong.then(|| range.invalid(policy::NOT_A_RANGE)));
    }
    let policy = spec.field("externalTrafficPolicy");
    if node_port {
        causes.extend(policy.one_of(&["Cluster", "Local"]));
    } else if !policy.text().is_empty() && spec.field("externalIPs").len() == 0 {
        causes.push(policy.invalid("may only be set for externally-accessible services"));
    }
    let health = spec.field("healthCheckNodePort");
    if health.number().is_some_and(|number| number != 0) && !(balanced && policy.text() == "Local") {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        causes.push(health.invalid(why));
    }
}

fn alias(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let name = spec.field("externalName");
    // A trailing dot is part of a name that is complete.
    let plain = name.text().strip_suffix('.').unwrap_or(name.text());
    causes.extend(name.must_be_set());
    if !plain.is_empty() {
        causes.extend(names::dns_subdomain(plain).iter().map(|wrong| name.invalid(wrong)));
    }
    let address = spec.field("clusterIP");
    if !address.text().is_empty() {
        causes.push(Cause::forbidden("spec.clusterIPs[0]", "may not be set for ExternalName services"));
    }
}

fn service_port(port: &At<'_>, several: bool, inside: bool, causes: &mut Vec<Cause>) {
    let name = port.field("name");
    if !name.text().is_empty() {
        causes.extend(name.named(names::dns_label));
    } else if several {
        causes.push(name.required(""));
    }
    causes.extend(port.field("port").port_number());
    causes.extend(port.field("protocol").one_of(PROTOCOLS));
    let target = port.field("targetPort");
    if target.is_set() {
        causes.extend(target.port());
    }
    let application = port.field("appProtocol");
    if application.is_set() {
        causes.extend(application.named(names::qualified_name));
    }
    // Which numbers there are is said by who gives them.
    let node = port.field("nodePort");
    if inside && node.number().is_some_and(|number| number != 0) {
        causes.push(node.forbidden("may not be used when `type` is 'ClusterIP'"));
    }
}

pub(super) fn endpoint_slice(slice: &At<'_>, causes: &mut Vec<Cause>) {
    let of = slice.field("addressType");
    causes.extend(of.must_be_one_of(&["FQDN", "IPv4", "IPv6"]));
    let endpoints = slice.field("endpoints");
    if endpoints.len() > 1000 {
        causes.push(Cause::too_many(&endpoints.path, endpoints.len(), 1000));
    }
    for endpoint in endpoints.elements() {
        let addresses = endpoint.field("addresses");
        match addresses.len() {
            0 => causes.push(addresses.required("must contain at least 1 address")),
            1..=100 => {}
            many => causes.push(Cause::too_many(&addresses.path, many, 100)),
        }
        for address in addresses.elements() {
            let parsed = address.text().parse::<IpAddr>().ok();
            match of.text() {
                "IPv4" if !parsed.is_some_and(|ip| ip.is_ipv4()) => {
                    causes.push(address.invalid("must be an IPv4 address"));
                }
                "IPv6" if !parsed.is_some_and(|ip| ip.is_ipv6()) => {
                    causes.push(address.invalid("must be an IPv6 address"));
                }
                "FQDN" => causes.extend(address.named(names::dns_subdomain)),
                _ => {}
            }
        }
    }
    causes.extend(duplicates(slice.each("ports").map(|port| port.field("name"))));
    for port in slice.each("ports") {
        let name = port.field("name");
        if !name.text().is_empty() {
            causes.extend(name.named(names::dns_label));
        }
        causes.extend(port.field("protocol").one_of(PROTOCOLS));
        let application = port.field("appProtocol");
        if application.is_set() {
            causes.extend(application.named(names::qualified_name));
        }
    }
}
