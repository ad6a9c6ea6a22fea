//! The columns of Services and EndpointSlices.

use serde_json::Value;

use super::{AGE, Column, column, joined, labels, list, number, text, text_or, wide};

pub(super) const SERVICE: &[Column] = &[
    column("Type", |s, _| text(s, "/spec/type").into()),
    column("Cluster-IP", |s, _| text_or(s, "/spec/clusterIPs/0", "<none>").into()),
    column("External-IP", |s, _| external_ip(s).into()),
    column("Port(s)", |s, _| ports(s).into()),
    AGE,
    wide("Selector", |s, _| labels(s.pointer("/spec/selector")).into()),
];

fn external_ip(service: &Value) -> String {
    let given = || list(service, "/spec/externalIPs").filter_map(Value::as_str);
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let ingress = list(service, "/status/loadBalancer/ingress");
            let balanced = ingress.map(|ingress| text_or(ingress, "/ip", text(ingress, "/hostname")));
            joined(balanced.chain(given()), "<pending>")
        }
        _ => joined(given(), "<none>"),
    }
}

fn ports(service: &Value) -> String {
    let port = |port: &Value| {
        let (number, protocol) = (number(port, "/port"), text(port, "/protocol"));
        match port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) {
            0 => format!("{number}/{protocol}"),
            node => format!("{number}:{node}/{protocol}"),
        }
    };
    let all: Vec<String> = list(service, "/spec/ports").map(port).collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

pub(super) const ENDPOINT_SLICE: &[Column] = &[
    column("AddressType", |s, _| text(s, "/addressType").into()),
    column("Ports", |s, _| shortened(list(s, "/ports").map(port)).into()),
    column("Endpoints", |s, _| {
        let addresses = list(s, "/endpoints").flat_map(|endpoint| list(endpoint, "/addresses"));
        shortened(addresses.filter_map(Value::as_str).map(str::to_owned)).into()
    }),
    AGE,
];

pub(super) const ENDPOINTS: &[Column] = &[column("Endpoints", |e, _| addresses(e).into()), AGE];

/// Each ready address with each port.
fn addresses(endpoints: &Value) -> String {
    let of_subset = |subset: &Value| -> Vec<String> {
        let ports: Vec<String> = list(subset, "/ports").map(|port| format!(":{}", self::port(port))).collect();
        let ports = if ports.is_empty() { vec![String::new()] } else { ports };
        let address =
            |address: &Value| ports.iter().map(|port| format!("{}{port}", text(address, "/ip"))).collect::<Vec<_>>();
        list(subset, "/addresses").flat_map(address).collect()
    };
    match shortened(list(endpoints, "/subsets").flat_map(of_subset)).as_str() {
        "<unset>" => "<none>".to_owned(),
        all => all.to_owned(),
    }
}

/// A port's number; its name, or `*` for every port, where it has none.
fn port(port: &Value) -> String {
    match port.get("port").and_then(Value::as_i64) {
        Some(number) => number.to_string(),
        None => port.get("name").and_then(Value::as_str).unwrap_or("*").to_owned(),
    }
}

/// The first three, and how many more there are.
fn shortened(all: impl Iterator<Item = String>) -> String {
    const MOST: usize = 3;
    let all: Vec<String> = all.collect();
    match all.get(..MOST) {
        Some(first) if all.len() > MOST => format!("{} + {} more...", first.join(","), all.len() - MOST),
        _ if all.is_empty() => "<unset>".to_owned(),
        _ => all.join(","),
    }
}
