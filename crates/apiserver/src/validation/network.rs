//! Services and EndpointSlices.

use std::{collections::HashSet, net::IpAddr};

use objects::names;
use serde_json::json;

use super::{
    at::{At, duplicates},
    metadata,
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
    for external in spec.each("externalIPs") {
        if external.text().parse::<IpAddr>().is_err() {
            causes.push(external.invalid(NOT_AN_ADDRESS));
        }
    }
    outside(spec, node_port, causes);
    causes.extend(spec.field("internalTrafficPolicy").one_of(&["Cluster", "Local"]));
}

/// What is said of how a Service is reached from outside the cluster.
fn outside(spec: &At<'_>, node_port: bool, causes: &mut Vec<Cause>) {
    let balanced = spec.field("type").text() == "LoadBalancer";
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"].map(|field| spec.field(field)) {
        if field.is_set() && !balanced {
            causes.push(field.forbidden("may only be used when `type` is 'LoadBalancer'"));
        }
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
    }
}
