//! Whether somebody wants something of a target that may have no pods: what the gateway says of the Services that lead to its
//! pods.

use autoscaling::decide::Demand;
use k8s_openapi::api::{
    autoscaling::v2::MetricIdentifier,
    core::v1::{Pod, Service},
};
use kube::ResourceExt;
use objects::selector::Labels;

use super::figures::Figures;

/// What is open, and what came lately. Requests that are held count as open.
const SIGNS: [[&str; 2]; 2] =
    [["http_requests_in_flight", "http_requests_per_second"], ["tcp_connections_open", "tcp_connections_per_second"]];

/// Looks at the Services of `namespace` that select one of these pods. Idle is only what was seen to be idle: a figure that is
/// missing says nothing.
pub(super) async fn demand(figures: &mut Figures<'_>, namespace: &str, pods: &[&Pod], services: &[&Service]) -> Demand {
    let leads = |service: &&&Service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let selector = selector.filter(|labels| !labels.is_empty()).map(Labels::from_map);
        selector.is_some_and(|selector| pods.iter().any(|pod| selector.matches(pod.labels())))
    };
    let names: Vec<String> = services.iter().filter(leads).map(|service| service.name_any()).collect();
    if names.is_empty() {
        return Demand::Unknown;
    }
    let mut idle = vec![false; names.len()];
    for [open, lately] in SIGNS {
        let (open, lately) =
            (values(figures, namespace, open, &names).await, values(figures, namespace, lately, &names).await);
        for ((open, lately), idle) in open.into_iter().zip(lately).zip(&mut idle) {
            match (open, lately) {
                (Some(1..), _) | (_, Some(1..)) => return Demand::Busy,
                (Some(0), Some(0)) => *idle = true,
                _ => {}
            }
        }
    }
    if idle.into_iter().all(|idle| idle) { Demand::Idle } else { Demand::Unknown }
}

/// A figure of each of these Services.
async fn values(figures: &mut Figures<'_>, namespace: &str, metric: &str, names: &[String]) -> Vec<Option<i64>> {
    let metric = MetricIdentifier { name: metric.to_owned(), selector: None };
    let all = figures.custom(namespace, "services", "*", &metric).await;
    let Ok(all) = all.as_ref() else { return vec![None; names.len()] };
    let of = |name: &String| all.iter().find(|value| value.of() == name)?.sample().map(|sample| sample.millis);
    names.iter().map(of).collect()
}
