//! The addresses that Gateways' statuses name.

use std::net::IpAddr;

use objects::gateway::GatewayAddress;

use super::{Options, Snapshot};

/// Where clients reach Gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reached {
    /// At the address that listeners are bound to.
    #[default]
    Bound,
    /// At these addresses or host names, whatever leads from there.
    At(Vec<String>),
    /// Where a Service in front is reached: its load balancer, else its own addresses.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Empty while a Service in front has not been given an address.
pub(super) fn addresses(options: &Options, snapshot: &Snapshot) -> Vec<GatewayAddress> {
    let values = match &options.reached {
        Reached::Bound => vec![options.bind.to_string()],
        Reached::At(values) => values.clone(),
        Reached::Service { namespace, name } => of_service(snapshot, namespace, name),
    };
    let address = |value: String| {
        let type_ = if value.parse::<IpAddr>().is_ok() { "IPAddress" } else { "Hostname" };
        GatewayAddress { type_: Some(type_.to_owned()), value: Some(value) }
    };
    values.into_iter().map(address).collect()
}

fn of_service(snapshot: &Snapshot, namespace: &str, name: &str) -> Vec<String> {
    let named = |meta: &kube::api::ObjectMeta| {
        meta.namespace.as_deref() == Some(namespace) && meta.name.as_deref() == Some(name)
    };
    let Some(service) = snapshot.services.iter().find(|service| named(&service.metadata)) else { return Vec::new() };
    let spec = service.spec.as_ref();
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let mut found: Vec<_> = ingress.filter_map(|one| one.ip.clone().or_else(|| one.hostname.clone())).collect();
    found.extend(spec.and_then(|spec| spec.external_ips.clone()).unwrap_or_default());
    let awaits_balancer = spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    if found.is_empty() && !awaits_balancer {
        found.extend(spec.and_then(|spec| spec.cluster_ip.clone()).filter(|ip| ip != "None" && !ip.is_empty()));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn found(reached: Reached, service: &Value) -> Vec<(String, String)> {
        let options = Options { reached, ..Options::new(Vec::new(), IpAddr::from([10, 0, 0, 9])) };
        let service = Arc::new(serde_json::from_value(service.clone()).unwrap());
        let snapshot = Snapshot { services: vec![service], ..Snapshot::default() };
        addresses(&options, &snapshot).into_iter().map(|a| (a.type_.unwrap(), a.value.unwrap())).collect()
    }

    fn in_front() -> Reached {
        Reached::Service { namespace: "edge".to_owned(), name: "front".to_owned() }
    }

    fn service(spec: &Value, ingress: &Value) -> Value {
        json!({"metadata": {"namespace": "edge", "name": "front"}, "spec": spec,
            "status": {"loadBalancer": {"ingress": ingress}}})
    }

    fn pair(type_: &str, value: &str) -> Vec<(String, String)> {
        vec![(type_.to_owned(), value.to_owned())]
    }

    #[test]
    fn a_load_balancers_address_is_waited_for() {
        let spec = json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"});
        assert_eq!(found(in_front(), &service(&spec, &json!([]))), []);
        assert_eq!(found(in_front(), &service(&spec, &json!([{"ip": "192.0.2.1"}]))), pair("IPAddress", "192.0.2.1"));
        let named = service(&spec, &json!([{"hostname": "lb.example.com"}]));
        assert_eq!(found(in_front(), &named), pair("Hostname", "lb.example.com"));
    }

    #[test]
    fn other_services_are_reached_at_their_own_addresses() {
        let inside = service(&json!({"clusterIP": "10.0.0.1"}), &json!([]));
        assert_eq!(found(in_front(), &inside), pair("IPAddress", "10.0.0.1"));
        assert_eq!(found(Reached::Bound, &inside), pair("IPAddress", "10.0.0.9"));
        assert_eq!(found(Reached::At(vec!["a.example".to_owned()]), &inside), pair("Hostname", "a.example"));
    }
}
