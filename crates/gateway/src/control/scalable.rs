//! What autoscalers may take all pods of, and give the first one back.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ObjectReference, Service},
};
use kube::{
    Resource,
    api::{ApiResource, DynamicObject},
};
use objects::selector::Labels;
use serde_json::Value;

/// The target of a HorizontalPodAutoscaler with `minReplicas: 0`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalable {
    /// The autoscaler, for events.
    pub autoscaler: ObjectReference,
    /// Where both are.
    pub namespace: String,
    /// What the target is.
    pub resource: ApiResource,
    /// The target's name.
    pub name: String,
    /// The labels that its pods have.
    pub labels: BTreeMap<String, String>,
}

impl Scalable {
    /// Whether its pods are among those that a Service selects. A Service without a selector has none.
    pub(super) fn serves(&self, service: &Service) -> bool {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|s| !s.is_empty());
        service.metadata.namespace.as_deref() == Some(&self.namespace)
            && selector.is_some_and(|selector| Labels::from_map(selector).matches(&self.labels))
    }
}

/// The kind (`apiVersion`, `kind`) and the name of what an autoscaler may take to zero. With any other `minReplicas`, a target
/// without pods was turned off by somebody, and stays so.
pub(super) fn target(autoscaler: &HorizontalPodAutoscaler) -> Option<(Kind, &str)> {
    let spec = autoscaler.spec.as_ref().filter(|spec| spec.min_replicas == Some(0))?;
    let target = &spec.scale_target_ref;
    let kind = Kind { api_version: target.api_version.clone().unwrap_or_default(), kind: target.kind.clone() };
    Some((kind, &target.name))
}

/// A kind as a reference names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub api_version: String,
    pub kind: String,
}

/// The labels of the pods that an object makes, where it has a template for them.
pub(super) fn template_labels(object: &DynamicObject) -> Option<BTreeMap<String, String>> {
    let labels = object.data.pointer("/spec/template/metadata/labels")?.as_object()?;
    let texts = labels.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(texts.collect())
}

/// Drops what nobody looks at.
pub(super) fn keep_labels(object: &mut DynamicObject) {
    let labels = object.data.pointer_mut("/spec/template/metadata/labels").map(Value::take);
    object.data = labels
        .map_or(Value::Null, |labels| serde_json::json!({"spec": {"template": {"metadata": {"labels": labels}}}}));
    object.metadata.managed_fields = None;
    object.metadata.annotations = None;
}

/// The labels that a selector's text asks for exactly (`a=b,c=d`), as a scale has it in `status.selector`.
pub(super) fn exact_labels(selector: &str) -> BTreeMap<String, String> {
    let pairs = selector.split(',').filter_map(|part| part.split_once('='));
    let pairs = pairs.filter(|(key, _)| !key.ends_with('!') && !key.contains(['(', ')']));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim_start_matches('=').trim().to_owned())).collect()
}

/// An autoscaler's target, with the labels of its pods.
pub(super) fn scalable(
    autoscaler: &HorizontalPodAutoscaler,
    resource: &ApiResource,
    labels: BTreeMap<String, String>,
) -> Option<Arc<Scalable>> {
    let (_, name) = target(autoscaler)?;
    Some(Arc::new(Scalable {
        autoscaler: autoscaler.object_ref(&()),
        namespace: autoscaler.metadata.namespace.clone()?,
        resource: resource.clone(),
        name: name.to_owned(),
        labels,
    }))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    fn autoscaler(least: i32) -> HorizontalPodAutoscaler {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        let spec = json!({"minReplicas": least, "maxReplicas": 3, "scaleTargetRef": target});
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})).unwrap()
    }

    fn service(selector: Value) -> Service {
        let metadata = json!({"name": "web", "namespace": "shop"});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"selector": selector}})).unwrap()
    }

    /// A Deployment with pods of these labels, as its autoscaler has it.
    pub fn of(labels: &[(&str, &str)]) -> Arc<Scalable> {
        let kind = ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&());
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        scalable(&autoscaler(0), &kind, labels).unwrap()
    }

    #[test]
    fn only_an_autoscaler_whose_least_is_zero_gives_a_first_pod_back() {
        assert_eq!(target(&autoscaler(0)).unwrap().1, "web");
        assert!(target(&autoscaler(1)).is_none());
    }

    #[test]
    fn a_service_is_served_by_pods_that_have_all_labels_of_its_selector() {
        let scalable = of(&[("app", "web"), ("tier", "front")]);
        assert!(scalable.serves(&service(json!({"app": "web"}))));
        assert!(!scalable.serves(&service(json!({"app": "web", "tier": "back"}))));
        assert!(!scalable.serves(&service(json!({}))));
        let mut elsewhere = service(json!({"app": "web"}));
        elsewhere.metadata.namespace = Some("other".to_owned());
        assert!(!scalable.serves(&elsewhere));
    }

    #[test]
    fn labels_come_from_the_template_or_from_what_the_selector_asks_for_exactly() {
        let object = json!({"metadata": {"name": "web"}, "spec": {"template": {"metadata": {"labels": {"app": "web"}}}, "x": 1}});
        let mut object: DynamicObject = serde_json::from_value(object).unwrap();
        keep_labels(&mut object);
        assert_eq!(object.data.pointer("/spec/x"), None);
        assert_eq!(template_labels(&object).unwrap()["app"], "web");
        let labels = exact_labels("app=web,tier==front,zone!=a,size in (s,m),x");
        assert_eq!(
            labels.into_iter().collect::<Vec<_>>(),
            [("app".to_owned(), "web".to_owned()), ("tier".to_owned(), "front".to_owned())]
        );
    }
}
