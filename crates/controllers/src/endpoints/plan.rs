//! Endpoints from slices, and slices from Endpoints. Pure.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointPort as CorePort, EndpointSubset, Endpoints},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::ResourceExt;

use crate::cache::Key;

/// The label by which a slice names its Service.
pub(super) const SERVICE: &str = "kubernetes.io/service-name";
/// The label by which Endpoints say who made them, and who did.
const MADE_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
/// The same of slices.
const MIRRORED_BY: (&str, &str) =
    ("endpointslice.kubernetes.io/managed-by", "endpointslicemirroring-controller.k8s.io");
/// Endpoints with this label are not mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints by which components elect a leader are about no Service.
const ELECTION: &str = "control-plane.alpha.kubernetes.io/leader";
/// The most addresses in one subset, as upstream's controllers have it.
const MOST: usize = 1000;

/// The Endpoints of a Service with these labels and slices: a subset for each slice.
pub(super) fn endpoints(key: &Key, labels: BTreeMap<String, String>, slices: &[Arc<EndpointSlice>]) -> Endpoints {
    let mut labels = labels;
    labels.insert(MADE_BY.0.to_owned(), MADE_BY.1.to_owned());
    let mut sorted: Vec<&Arc<EndpointSlice>> = slices.iter().collect();
    sorted.sort_by_key(|slice| slice.name_any());
    let subsets: Vec<EndpointSubset> = sorted.into_iter().filter_map(|slice| subset(slice)).collect();
    Endpoints {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

/// What a slice is as a subset; `None` if it holds no address. A pod that is going is in no Endpoints, unless its Service publishes
/// whatever is there: Endpoints cannot tell it from one that is not ready yet.
fn subset(slice: &EndpointSlice) -> Option<EndpointSubset> {
    let (mut ready, mut not_ready) = (Vec::new(), Vec::new());
    for endpoint in &slice.endpoints {
        let conditions = endpoint.conditions.as_ref();
        // Unknown counts as ready.
        let is_ready = conditions.and_then(|c| c.ready).unwrap_or(true);
        if !is_ready && conditions.and_then(|c| c.terminating) == Some(true) {
            continue;
        }
        let list = if is_ready { &mut ready } else { &mut not_ready };
        list.extend(endpoint.addresses.iter().map(|ip| EndpointAddress {
            hostname: endpoint.hostname.clone(),
            ip: ip.clone(),
            node_name: endpoint.node_name.clone(),
            target_ref: endpoint.target_ref.clone(),
        }));
    }
    ready.truncate(MOST);
    not_ready.truncate(MOST.saturating_sub(ready.len()));
    if ready.is_empty() && not_ready.is_empty() {
        return None;
    }
    let port = |port: &EndpointPort| {
        let name = port.name.clone().filter(|name| !name.is_empty());
        Some(CorePort {
            app_protocol: port.app_protocol.clone(),
            name,
            port: port.port?,
            protocol: port.protocol.clone(),
        })
    };
    let ports: Vec<CorePort> = slice.ports.iter().flatten().filter_map(port).collect();
    Some(EndpointSubset {
        addresses: (!ready.is_empty()).then_some(ready),
        not_ready_addresses: (!not_ready.is_empty()).then_some(not_ready),
        ports: (!ports.is_empty()).then_some(ports),
    })
}

/// Whether nothing needs to be written.
pub(super) fn is_same(current: &Endpoints, wanted: &Endpoints) -> bool {
    current.subsets == wanted.subsets && current.metadata.labels == wanted.metadata.labels
}

/// Whether Endpoints were made by this controller.
pub(super) fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.labels().get(MADE_BY.0).is_some_and(|by| by == MADE_BY.1)
}

/// Whether Endpoints are somebody's own that are to become a slice.
pub(super) fn is_to_mirror(endpoints: &Endpoints) -> bool {
    let skipped = endpoints.labels().get(SKIP).is_some_and(|skip| skip == "true");
    !is_ours(endpoints)
        && !skipped
        && !endpoints.annotations().contains_key(ELECTION)
        && endpoints.metadata.deletion_timestamp.is_none()
}

/// Whether a slice mirrors the Endpoints of this name.
pub(super) fn is_mirror(slice: &EndpointSlice, name: &str) -> bool {
    let says = |label: &str, value: &str| slice.labels().get(label).is_some_and(|found| found == value);
    says(SERVICE, name) && says(MIRRORED_BY.0, MIRRORED_BY.1)
}

/// The slices of Endpoints that somebody wrote: one for each subset and family of addresses.
pub(super) fn mirrored(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
        for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
            let of = |list: &Option<Vec<EndpointAddress>>, ready: bool| -> Vec<Endpoint> {
                let fits =
                    |address: &&EndpointAddress| address.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == is_v4);
                list.iter().flatten().filter(fits).map(|address| endpoint(address, ready)).collect()
            };
            let mut all = of(&subset.addresses, true);
            all.extend(of(&subset.not_ready_addresses, false));
            all.truncate(MOST);
            if !all.is_empty() {
                let suffix = format!("{index}-{}", family.to_ascii_lowercase());
                slices.push(slice(endpoints, subset, &suffix, family, all));
            }
        }
    }
    slices
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn slice(
    endpoints: &Endpoints,
    subset: &EndpointSubset,
    suffix: &str,
    family: &str,
    all: Vec<Endpoint>,
) -> EndpointSlice {
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE.to_owned(), endpoints.name_any());
    labels.insert(MIRRORED_BY.0.to_owned(), MIRRORED_BY.1.to_owned());
    let port = |port: &CorePort| EndpointPort {
        app_protocol: port.app_protocol.clone(),
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
    };
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Endpoints".to_owned(),
        name: endpoints.name_any(),
        uid: endpoints.uid().unwrap_or_default(),
        block_owner_deletion: Some(true),
        controller: Some(true),
    };
    EndpointSlice {
        address_type: family.to_owned(),
        endpoints: all,
        metadata: ObjectMeta {
            name: Some(format!("{}-mirror-{suffix}", endpoints.name_any())),
            namespace: endpoints.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        ports: Some(subset.ports.iter().flatten().map(port).collect()),
    }
}

/// Whether nothing of a mirror needs to be written.
pub(super) fn is_same_slice(current: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    let ports = |slice: &EndpointSlice| slice.ports.clone().unwrap_or_default();
    current.endpoints == wanted.endpoints
        && ports(current) == ports(wanted)
        && current.metadata.labels == wanted.metadata.labels
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> Key {
        Key { namespace: "ns".into(), name: "web".into() }
    }

    #[test]
    fn slices_make_endpoints_of_what_is_ready_and_what_is_not() {
        let endpoint =
            |ip: &str, ready: bool| json!({"addresses": [ip], "conditions": {"ready": ready}, "nodeName": "n"});
        let slice: EndpointSlice = serde_json::from_value(json!({"metadata": {"name": "web-0"}, "addressType": "IPv4",
            "ports": [{"port": 80, "name": "", "protocol": "TCP"}], "endpoints": [endpoint("10.42.0.1", true), endpoint("10.42.0.2", false)]}))
        .unwrap();
        let made = endpoints(&key(), BTreeMap::new(), &[Arc::new(slice)]);
        assert!(is_ours(&made) && !is_to_mirror(&made));
        let expected = json!([{"addresses": [{"ip": "10.42.0.1", "nodeName": "n"}],
            "notReadyAddresses": [{"ip": "10.42.0.2", "nodeName": "n"}], "ports": [{"port": 80, "protocol": "TCP"}]}]);
        assert_eq!(serde_json::to_value(&made.subsets).unwrap(), expected);
        assert_eq!(endpoints(&key(), BTreeMap::new(), &[]).subsets, None);
    }

    #[test]
    fn a_pod_that_is_going_is_in_no_endpoints_unless_everything_is_published() {
        let slice = |ready: bool| -> EndpointSlice {
            let going = json!({"ready": ready, "serving": true, "terminating": true});
            serde_json::from_value(json!({"metadata": {"name": "web-0"}, "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.42.0.1"], "conditions": going}]}))
            .unwrap()
        };
        assert_eq!(endpoints(&key(), BTreeMap::new(), &[Arc::new(slice(false))]).subsets, None);
        let published = endpoints(&key(), BTreeMap::new(), &[Arc::new(slice(true))]).subsets.unwrap();
        assert_eq!(published[0].addresses.as_ref().unwrap()[0].ip, "10.42.0.1");
    }

    #[test]
    fn endpoints_that_somebody_wrote_become_a_slice_of_each_family() {
        let written: Endpoints =
            serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns", "uid": "u"},
            "subsets": [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "ports": [{"port": 5432}]}]}))
            .unwrap();
        assert!(is_to_mirror(&written));
        let slices = mirrored(&written);
        let found: Vec<(String, &str)> = slices.iter().map(|s| (s.name_any(), s.address_type.as_str())).collect();
        let expected = [("web-mirror-0-ipv4".to_owned(), "IPv4"), ("web-mirror-0-ipv6".to_owned(), "IPv6")];
        assert_eq!(found, expected);
        assert!(slices.iter().all(|slice| is_mirror(slice, "web") && is_same_slice(slice, slice)));
    }
}
