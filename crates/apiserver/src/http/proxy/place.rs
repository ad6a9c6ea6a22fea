//! Where what a proxy's path names is to be reached (the pod's and the service's `ResourceLocation`). Pure.

use std::net::IpAddr;

use serde_json::Value;

use crate::status::Failure;

/// `[scheme:]name[:port]`, as upstream splits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id<'a> {
    /// The scheme is `https`.
    pub tls: bool,
    pub name: &'a str,
    /// A number, or for a service a port's name; empty: the usual one.
    pub port: &'a str,
}

impl<'a> Id<'a> {
    /// Reads it; `None` if it is not one.
    pub fn read(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (tls, name, port) = match parts.as_slice() {
            [name] => (false, *name, ""),
            [name, port] => (false, *name, *port),
            [scheme @ ("http" | "https"), name, port] => (*scheme == "https", *name, *port),
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { tls, name, port })
    }

    /// The port of a scheme where nobody says another.
    fn usual(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }
}

/// A pod: the port that is asked for, or the first that one of its containers names.
pub(super) fn of_pod(pod: &Value, id: &Id<'_>) -> Result<(IpAddr, u16), Failure> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let ports = containers.filter_map(|container| container.get("ports")?.as_array()).flatten();
    let mut named = ports.filter_map(|port| u16::try_from(port.get("containerPort")?.as_u64()?).ok());
    let port = if id.port.is_empty() { named.next().unwrap_or_else(|| id.usual()) } else { number(id.port)? };
    Ok((address(pod)?, port))
}

/// A service: one of the pods behind its port. `turn` says which, and `pod` finds a pod by its name: an address that no pod has
/// is not gone to, whoever wrote it there.
pub(super) fn of_service(
    service: &Value,
    endpoints: &Value,
    id: &Id<'_>,
    turn: usize,
    pod: impl Fn(&str) -> Option<Value>,
) -> Result<(IpAddr, u16), Failure> {
    let name = port_name(service, id)?;
    let none = || Failure::unavailable(format!("no endpoints available for service {:?}", id.name));
    let subsets = endpoints.get("subsets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for subset in turned(subsets, turn) {
        let list = |field: &str| subset.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let is_it = |port: &&Value| port.get("name").and_then(Value::as_str).unwrap_or_default() == name;
        let port = list("ports").iter().find(is_it).and_then(|port| u16::try_from(port.get("port")?.as_u64()?).ok());
        let Some(port) = port else { continue };
        let of_pods = turned(list("addresses"), turn).filter_map(|address| {
            let reference = address.get("targetRef").filter(|of| of.get("kind").is_some_and(|kind| kind == "Pod"))?;
            let found = self::address(&pod(reference.get("name")?.as_str()?)?).ok()?;
            (address.get("ip")?.as_str()?.parse() == Ok(found)).then_some(found)
        });
        if let Some(address) = of_pods.into_iter().next() {
            return Ok((address, port));
        }
    }
    Err(none())
}

/// The name of a service's port that is asked for by name or number.
fn port_name<'a>(service: &'a Value, id: &Id<'a>) -> Result<&'a str, Failure> {
    let Ok(number) = id.port.parse::<u64>() else { return Ok(id.port) };
    let mut ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let found = ports.find(|port| port.get("port").and_then(Value::as_u64) == Some(number));
    let missing = || Failure::unavailable(format!("no service port {number} found for service {:?}", id.name));
    found.map(|port| port.get("name").and_then(Value::as_str).unwrap_or_default()).ok_or_else(missing)
}

/// The elements, beginning with another one each turn.
fn turned(list: &[Value], turn: usize) -> impl Iterator<Item = &Value> {
    list.iter().cycle().skip(turn.checked_rem(list.len()).unwrap_or(0)).take(list.len())
}

fn number(port: &str) -> Result<u16, Failure> {
    port.parse().map_err(|_| Failure::bad_request(format!("invalid port {port:?}")))
}

/// A pod's address. One that no pod can have is not gone to: it could be anybody's.
fn address(pod: &Value) -> Result<IpAddr, Failure> {
    let ip = pod.pointer("/status/podIPs/0/ip").or_else(|| pod.pointer("/status/podIP")).and_then(Value::as_str);
    let ip = ip.and_then(|ip| ip.parse::<IpAddr>().ok());
    let link_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    // Pods may have loopback addresses here: whoever may change a pod's status is its node.
    let allowed = ip.filter(|ip| !ip.is_unspecified() && !ip.is_multicast() && !link_local(ip));
    allowed.ok_or_else(|| Failure::bad_request("address not allowed"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(ip: &str) -> Value {
        let containers = json!([{"name": "a"}, {"name": "b", "ports": [{"containerPort": 8080}]}]);
        json!({"spec": {"containers": containers}, "status": {"podIPs": [{"ip": ip}]}})
    }

    fn id(text: &str) -> Id<'_> {
        Id::read(text).unwrap()
    }

    #[test]
    fn a_name_may_have_a_scheme_and_a_port() {
        assert_eq!(id("a"), Id { tls: false, name: "a", port: "" });
        assert_eq!(id("a:web"), Id { tls: false, name: "a", port: "web" });
        assert_eq!(id("https:a:"), Id { tls: true, name: "a", port: "" });
        for wrong in ["", ":80", "ftp:a:1", "http:a:1:2"] {
            assert_eq!(Id::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pod_is_reached_at_its_address_and_its_first_port() {
        let at = |text: &str| of_pod(&pod("10.0.0.1"), &id(text)).unwrap().1;
        assert_eq!((at("p"), at("p:9"), at("https:p:9")), (8080, 9, 9));
        let plain = json!({"status": {"podIP": "10.0.0.1"}});
        assert_eq!((of_pod(&plain, &id("p")).unwrap().1, of_pod(&plain, &id("https:p:")).unwrap().1), (80, 443));
        for ip in ["169.254.169.254", "0.0.0.0", "224.0.0.1", ""] {
            assert_eq!(of_pod(&pod(ip), &id("p")).unwrap_err().message, "address not allowed", "{ip}");
        }
        assert_eq!(of_pod(&pod("10.0.0.1"), &id("p:web")).unwrap_err().code, 400);
    }

    #[test]
    fn a_service_is_reached_at_its_pods_in_turn_and_never_elsewhere() {
        let service = json!({"spec": {"ports": [{"name": "web", "port": 80}, {"name": "admin", "port": 81}]}});
        let address = |ip: &str, pod: &str| json!({"ip": ip, "targetRef": {"kind": "Pod", "name": pod}});
        let addresses =
            json!([address("10.0.0.1", "a"), address("10.0.0.2", "b"), address("10.9.9.9", "a"), {"ip": "10.0.0.7"}]);
        let endpoints = json!({"subsets": [{"addresses": addresses, "ports": [{"name": "web", "port": 8080}]}]});
        let find = |name: &str| Some(pod(if name == "a" { "10.0.0.1" } else { "10.0.0.2" }));
        let at = |text: &str, turn: usize| {
            of_service(&service, &endpoints, &id(text), turn, find).map(|(ip, port)| format!("{ip}:{port}"))
        };
        assert_eq!(at("s:80", 0).unwrap(), "10.0.0.1:8080");
        assert_eq!(at("s:web", 1).unwrap(), "10.0.0.2:8080");
        assert_eq!(at("s:web", 2).unwrap(), "10.0.0.1:8080", "an address that is not that pod's is passed over");
        assert_eq!(at("s:82", 0).unwrap_err().message, "no service port 82 found for service \"s\"");
        for text in ["s", "s:admin"] {
            assert_eq!(at(text, 0).unwrap_err().message, "no endpoints available for service \"s\"", "{text}");
        }
    }
}
