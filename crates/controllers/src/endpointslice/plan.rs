//! The slices that a Service should have. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, Service, ServicePort},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt;
use objects::selector::Labels;

use crate::cache::is_sidecar;

/// The value of `endpointslice.kubernetes.io/managed-by` on the slices that this controller owns.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Endpoints in one slice, as upstream's default.
const SLICE: usize = 100;

/// The slices of a Service; none for a Service without a selector, whose slices are somebody else's.
pub fn desired(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSlice> {
    let spec = service.spec.clone().unwrap_or_default();
    let Some(selector) = spec.selector.filter(|selector| !selector.is_empty()) else { return Vec::new() };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let selector = Labels::from_map(&selector);
    let all = spec.publish_not_ready_addresses.unwrap_or(false);
    // Pods may resolve a named port to different numbers: each set of numbers has its own slices.
    let mut groups: BTreeMap<Vec<Option<i32>>, Vec<Endpoint>> = BTreeMap::new();
    let mut selected: Vec<&Arc<Pod>> = pods.iter().filter(|pod| selector.matches(pod.labels())).collect();
    selected.sort_by_key(|pod| pod.name_any());
    for pod in selected {
        if let Some(endpoint) = endpoint(pod, service, all) {
            let numbers = spec.ports.iter().flatten().map(|port| target(port, pod)).collect();
            groups.entry(numbers).or_default().push(endpoint);
        }
    }
    let ports: Vec<ServicePort> = spec.ports.unwrap_or_default();
    if groups.is_empty() {
        groups.insert(ports.iter().map(|_| None).collect(), Vec::new());
    }
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let chunks = groups.iter().flat_map(|(numbers, endpoints)| {
        let empty = endpoints.is_empty().then(|| (numbers, &endpoints[..]));
        empty.into_iter().chain(endpoints.chunks(SLICE).map(move |chunk| (numbers, chunk)))
    });
    let slice = |(index, (numbers, endpoints)): (usize, (&Vec<Option<i32>>, &[Endpoint]))| {
        slice(service, headless, index, &ports, numbers, endpoints)
    };
    chunks.enumerate().map(slice).collect()
}

/// Whether a slice says all that is wanted.
pub(super) fn is_same(existing: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    existing.endpoints == wanted.endpoints
        && existing.ports == wanted.ports
        && existing.metadata.labels == wanted.metadata.labels
}

fn slice(
    service: &Service,
    headless: bool,
    index: usize,
    ports: &[ServicePort],
    numbers: &[Option<i32>],
    endpoints: &[Endpoint],
) -> EndpointSlice {
    let mut labels = service.labels().clone();
    labels.insert("kubernetes.io/service-name".to_owned(), service.name_any());
    labels.insert("endpointslice.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
    if headless {
        labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
    }
    let port = |(port, number): (&ServicePort, &Option<i32>)| {
        number.map(|number| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(number),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    };
    EndpointSlice {
        metadata: ObjectMeta {
            // Numbered rather than random: a repeated try makes the same object, never a second one.
            name: Some(format!("{}-{index}", service.name_any())),
            namespace: service.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                name: service.name_any(),
                uid: service.uid().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        endpoints: endpoints.to_vec(),
        ports: Some(ports.iter().zip(numbers).filter_map(port).collect()),
    }
}

fn endpoint(pod: &Pod, service: &Service, all: bool) -> Option<Endpoint> {
    let status = pod.status.as_ref()?;
    let ip = status.pod_ip.clone().filter(|ip| !ip.is_empty())?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let spec = pod.spec.as_ref();
    // A host name counts only in the subdomain that is this Service.
    let hostname = spec.filter(|spec| spec.subdomain == service.metadata.name).and_then(|spec| spec.hostname.clone());
    Some(Endpoint {
        addresses: vec![ip],
        conditions: Some(EndpointConditions {
            ready: Some(all || (ready && !terminating)),
            serving: Some(ready),
            terminating: Some(terminating),
        }),
        hostname,
        node_name: spec.and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

/// The number that a Service's port has in a pod: in one of its containers, or else in one of its sidecars; `None` if the pod has no
/// port of that name.
fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match port.target_port.as_ref() {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let sidecars = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
            let sidecars = sidecars.filter(|container| is_sidecar(container));
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers).chain(sidecars);
            let ports = containers.flat_map(|container| container.ports.iter().flatten());
            let wanted = port.protocol.as_deref().unwrap_or("TCP");
            let fits = |p: &&k8s_openapi::api::core::v1::ContainerPort| {
                p.name.as_ref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == wanted
            };
            ports.filter(fits).map(|p| p.container_port).next()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "n", "uid": "s"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}))
        .unwrap()
    }

    fn pod(name: &str, ready: bool, port: i32) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
                "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": status}]}}))
            .unwrap(),
        )
    }

    fn ready(slice: &EndpointSlice) -> Vec<bool> {
        slice.endpoints.iter().filter_map(|e| e.conditions.as_ref()?.ready).collect()
    }

    #[test]
    fn ready_pods_are_ready_endpoints_with_the_port_their_name_stands_for() {
        let slices = desired(&service(), &[pod("a", true, 8000), pod("b", false, 8000)]);
        assert_eq!(slices.len(), 1);
        assert_eq!(ready(&slices[0]), [true, false]);
        assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8000));
    }

    #[test]
    fn a_name_may_be_that_of_a_sidecars_port_but_not_of_an_init_containers() {
        let named = |policy: &str, own: &str| -> Arc<Pod> {
            let mut pod = (*pod("a", true, 8000)).clone();
            let spec = pod.spec.as_mut().unwrap();
            spec.containers[0].ports.as_mut().unwrap()[0].name = Some(own.to_owned());
            let port = json!([{"name": "http", "containerPort": 9443}]);
            let sidecar = json!([{"name": "proxy", "restartPolicy": policy, "ports": port}]);
            spec.init_containers = serde_json::from_value(sidecar).unwrap();
            Arc::new(pod)
        };
        let number = |pod: Arc<Pod>| {
            let slices = desired(&service(), &[pod]);
            slices[0].ports.as_ref().unwrap().first().and_then(|port| port.port)
        };
        assert_eq!(number(named("Always", "other")), Some(9443));
        assert_eq!(number(named("Always", "http")), Some(8000), "the containers come first");
        assert_eq!(number(named("", "other")), None, "one that only runs before them serves nobody");
    }

    #[test]
    fn pods_with_different_numbers_for_a_name_are_in_different_slices() {
        assert_eq!(desired(&service(), &[pod("a", true, 1), pod("b", true, 2)]).len(), 2);
    }

    #[test]
    fn a_large_service_has_several_slices_and_an_empty_one_has_one() {
        let many: Vec<_> = (0..250).map(|i| pod(&format!("p{i:03}"), true, 1)).collect();
        let sizes: Vec<_> = desired(&service(), &many).iter().map(|slice| slice.endpoints.len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
        assert_eq!(desired(&service(), &[]).len(), 1);
    }

    #[test]
    fn a_pod_that_is_going_still_serves_but_is_not_ready() {
        let mut going = (*pod("a", true, 1)).clone();
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH);
        going.metadata.deletion_timestamp = Some(time);
        let slices = desired(&service(), &[Arc::new(going)]);
        let conditions = slices[0].endpoints[0].conditions.clone().unwrap();
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(false), Some(true), Some(true))
        );
    }

    #[test]
    fn a_service_that_publishes_what_is_not_ready_calls_all_ready_and_says_who_serves() {
        let mut service = service();
        service.spec.as_mut().unwrap().publish_not_ready_addresses = Some(true);
        let slices = desired(&service, &[pod("a", false, 1)]);
        let conditions = slices[0].endpoints[0].conditions.clone().unwrap();
        assert_eq!((conditions.ready, conditions.serving), (Some(true), Some(false)));
    }

    #[test]
    fn a_headless_service_is_marked_and_names_the_hosts_of_its_subdomain_even_without_ports() {
        let mut headless = service();
        let spec = headless.spec.as_mut().unwrap();
        (spec.cluster_ip, spec.ports) = (Some("None".to_owned()), None);
        let mut named = (*pod("a", true, 1)).clone();
        named.spec.as_mut().unwrap().hostname = Some("db-0".to_owned());
        named.spec.as_mut().unwrap().subdomain = Some("web".to_owned());
        let mut stranger = named.clone();
        stranger.metadata.name = Some("b".to_owned());
        stranger.spec.as_mut().unwrap().subdomain = Some("other".to_owned());
        let slices = desired(&headless, &[Arc::new(named), Arc::new(stranger)]);
        let hosts: Vec<_> = slices[0].endpoints.iter().map(|e| e.hostname.as_deref()).collect();
        assert_eq!(hosts, [Some("db-0"), None]);
        assert_eq!(slices[0].labels()["service.kubernetes.io/headless"], "");
        assert_eq!(slices[0].ports, Some(Vec::new()));
    }

    #[test]
    fn pods_that_ended_or_have_no_address_are_no_endpoints() {
        let mut ended = (*pod("a", true, 1)).clone();
        ended.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
        let mut waiting = (*pod("b", true, 1)).clone();
        waiting.status.as_mut().unwrap().pod_ip = None;
        assert!(desired(&service(), &[Arc::new(ended), Arc::new(waiting)])[0].endpoints.is_empty());
    }
}
