//! What a field is when the manifest does not say: upstream's defaulting functions, kind by kind.

use objects::kinds::Kind;
use serde_json::{Map, Value, json};

use crate::registry::meta::section;

/// Fills in the defaults of an object.
pub fn apply(kind: &Kind, object: &mut Value) {
    match kind.kind {
        "Pod" => pod_spec(section(object, "spec")),
        "Service" => service(section(object, "spec")),
        "Deployment" => {
            let spec = section(object, "spec");
            deployment(spec);
            template(spec);
        }
        "ReplicaSet" => {
            let spec = section(object, "spec");
            set(spec, "replicas", json!(1));
            template(spec);
        }
        "Secret" => {
            if let Some(map) = object.as_object_mut() {
                secret(map);
            }
        }
        "HorizontalPodAutoscaler" => set(section(object, "spec"), "minReplicas", json!(1)),
        "Gateway" => gateway(section(object, "spec")),
        "HTTPRoute" => http_route(section(object, "spec")),
        _ => {}
    }
}

fn set(map: &mut Map<String, Value>, field: &str, value: Value) {
    map.entry(field.to_owned()).or_insert(value);
}

/// The objects of a list field.
fn each<'a>(
    map: &'a mut Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> + use<'a> {
    map.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn child<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(field).and_then(Value::as_object_mut)
}

fn deployment(spec: &mut Map<String, Value>) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    set(spec, "strategy", json!({}));
    if let Some(strategy) = child(spec, "strategy") {
        set(strategy, "type", json!("RollingUpdate"));
        if strategy.get("type").is_some_and(|t| t == "RollingUpdate") {
            set(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = child(strategy, "rollingUpdate") {
                set(rolling, "maxSurge", json!("25%"));
                set(rolling, "maxUnavailable", json!("25%"));
            }
        }
    }
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(template) = child(spec, "template") {
        set(template, "metadata", json!({}));
        if let Some(spec) = child(template, "spec") {
            pod_spec(spec);
        }
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "securityContext", json!({}));
    for list in ["containers", "initContainers"] {
        each(spec, list).for_each(container);
    }
    for volume in each(spec, "volumes") {
        for (source, mode) in [
            ("configMap", "defaultMode"),
            ("secret", "defaultMode"),
            ("projected", "defaultMode"),
            ("downwardAPI", "defaultMode"),
        ] {
            if let Some(source) = child(volume, source) {
                set(source, mode, json!(0o644));
            }
        }
        if let Some(path) = child(volume, "hostPath") {
            set(path, "type", json!(""));
        }
        if volume.len() == 1 {
            set(volume, "emptyDir", json!({}));
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = !name.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    set(container, "imagePullPolicy", json!(if latest { "Always" } else { "IfNotPresent" }));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    set(container, "resources", json!({}));
    if let Some(resources) = child(container, "resources")
        && let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned()
    {
        // What is limited and not requested is requested up to its limit.
        set(resources, "requests", json!({}));
        if let Some(requests) = child(resources, "requests") {
            limits.into_iter().for_each(|(name, limit)| set(requests, &name, limit));
        }
    }
    each(container, "ports").for_each(|port| set(port, "protocol", json!("TCP")));
    for variable in each(container, "env") {
        let field = child(variable, "valueFrom").and_then(|from| child(from, "fieldRef"));
        if let Some(field) = field {
            set(field, "apiVersion", json!("v1"));
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = child(container, name) {
            for (field, value) in
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
            {
                set(probe, field, json!(value));
            }
            handler(probe);
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(hook) = child(lifecycle, name) {
                handler(hook);
            }
        }
    }
}

fn handler(handler: &mut Map<String, Value>) {
    if let Some(get) = child(handler, "httpGet") {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    }
    if let Some(grpc) = child(handler, "grpc") {
        set(grpc, "service", json!(""));
    }
}

fn service(spec: &mut Map<String, Value>) {
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    let alias = spec.get("type").is_some_and(|t| t == "ExternalName");
    if !alias {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
        set(spec, "ipFamilies", json!(["IPv4"]));
        set(spec, "ipFamilyPolicy", json!("SingleStack"));
        if let Some(ip) = spec.get("clusterIP").filter(|ip| **ip != json!("")).cloned() {
            set(spec, "clusterIPs", json!([ip]));
        }
    }
    for port in each(spec, "ports") {
        set(port, "protocol", json!("TCP"));
        if let Some(number) = port.get("port").cloned() {
            set(port, "targetPort", number);
        }
    }
}

/// `stringData` is written as `data`.
fn secret(object: &mut Map<String, Value>) {
    use base64::Engine;
    set(object, "type", json!("Opaque"));
    if let Some(Value::Object(plain)) = object.remove("stringData") {
        set(object, "data", json!({}));
        if let Some(data) = child(object, "data") {
            for (key, value) in plain {
                let text = value.as_str().unwrap_or_default();
                data.insert(key, base64::engine::general_purpose::STANDARD.encode(text).into());
            }
        }
    }
}

fn gateway(spec: &mut Map<String, Value>) {
    for listener in each(spec, "listeners") {
        set(listener, "allowedRoutes", json!({}));
        if let Some(allowed) = child(listener, "allowedRoutes") {
            set(allowed, "namespaces", json!({}));
            if let Some(namespaces) = child(allowed, "namespaces") {
                set(namespaces, "from", json!("Same"));
            }
        }
    }
}

fn http_route(spec: &mut Map<String, Value>) {
    for parent in each(spec, "parentRefs") {
        set(parent, "group", json!("gateway.networking.k8s.io"));
        set(parent, "kind", json!("Gateway"));
    }
    set(spec, "rules", json!([{}]));
    for rule in each(spec, "rules") {
        set(rule, "matches", json!([{}]));
        for condition in each(rule, "matches") {
            set(condition, "path", json!({}));
            if let Some(path) = child(condition, "path") {
                set(path, "type", json!("PathPrefix"));
                set(path, "value", json!("/"));
            }
            for list in ["headers", "queryParams"] {
                each(condition, list).for_each(|entry| set(entry, "type", json!("Exact")));
            }
        }
        for backend in each(rule, "backendRefs") {
            set(backend, "group", json!(""));
            set(backend, "kind", json!("Service"));
            set(backend, "weight", json!(1));
            each(backend, "filters").for_each(filter);
        }
        each(rule, "filters").for_each(filter);
    }
}

fn filter(filter: &mut Map<String, Value>) {
    if let Some(redirect) = child(filter, "requestRedirect") {
        set(redirect, "statusCode", json!(302));
    }
}

#[cfg(test)]
mod tests {
    use objects::kinds;

    use super::*;

    fn defaulted(group: &str, name: &str, mut object: Value) -> Value {
        apply(
            kinds::by_kind(group, if name == "HorizontalPodAutoscaler" { "v2" } else { "v1" }, name).unwrap(),
            &mut object,
        );
        object
    }

    #[test]
    fn a_deployment_rolls_by_a_quarter_and_its_pods_are_defaulted() {
        let container = json!({"name": "a", "image": "web", "resources": {"limits": {"cpu": "1"}}, "livenessProbe": {"httpGet": {"port": 80}}});
        let made =
            defaulted("apps", "Deployment", json!({"spec": {"template": {"spec": {"containers": [container]}}}}));
        assert_eq!(made["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
        let container = &made["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(container["resources"]["requests"]["cpu"], "1");
        assert_eq!(container["livenessProbe"]["httpGet"]["scheme"], "HTTP");
    }

    #[test]
    fn a_second_time_changes_nothing() {
        for (group, kind, object) in [
            ("", "Pod", json!({"spec": {"containers": [{"name": "a", "image": "b:1"}], "volumes": [{"name": "v"}]}})),
            ("", "Service", json!({"spec": {"ports": [{"port": 80}]}})),
            ("gateway.networking.k8s.io", "HTTPRoute", json!({"spec": {"parentRefs": [{"name": "g"}]}})),
        ] {
            let once = defaulted(group, kind, object);
            assert_eq!(defaulted(group, kind, once.clone()), once);
        }
    }

    #[test]
    fn a_secrets_plain_text_becomes_data() {
        let made = defaulted("", "Secret", json!({"stringData": {"a": "b"}}));
        assert_eq!(
            (&made["data"]["a"], made.get("stringData"), &made["type"]),
            (&json!("Yg=="), None, &json!("Opaque"))
        );
    }
}
