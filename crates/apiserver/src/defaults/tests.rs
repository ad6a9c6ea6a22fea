//! Defaults, golden.

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
    let made = defaulted("apps", "Deployment", json!({"spec": {"template": {"spec": {"containers": [container]}}}}));
    assert_eq!(made["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    let container = &made["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["resources"].get("requests"), None, "that is a Pod's default, not a template's");
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
    assert_eq!((&made["data"]["a"], made.get("stringData"), &made["type"]), (&json!("Yg=="), None, &json!("Opaque")));
}

#[test]
fn a_pod_requests_what_it_is_limited_to_and_has_an_account() {
    let container = json!({"name": "a", "image": "b:1", "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "1", "memory": "2"}, "requests": {"cpu": "500m"}}});
    let made = defaulted("", "Pod", json!({"spec": {"hostNetwork": true, "containers": [container]}}));
    let container = &made["spec"]["containers"][0];
    assert_eq!(container["resources"]["requests"], json!({"cpu": "500m", "memory": "2"}));
    assert_eq!(container["ports"][0], json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}));
    assert_eq!(
        (&made["spec"]["serviceAccountName"], &made["spec"]["serviceAccount"]),
        (&json!("default"), &json!("default"))
    );
}

#[test]
fn an_autoscaler_watches_the_cpu_and_says_both_directions_or_none() {
    let made = defaulted("autoscaling", "HorizontalPodAutoscaler", json!({"spec": {}}));
    assert_eq!(made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    assert_eq!(made["spec"].get("behavior"), None);
    let behavior = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}});
    let made = defaulted("autoscaling", "HorizontalPodAutoscaler", json!({"spec": behavior}));
    assert_eq!(
        made["spec"]["behavior"]["scaleDown"]["policies"],
        json!([{"type": "Percent", "value": 100, "periodSeconds": 15}])
    );
    assert_eq!(made["spec"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"], 0);
}

#[test]
fn a_gateway_waits_for_its_controller() {
    let made = defaulted(
        "gateway.networking.k8s.io",
        "Gateway",
        json!({"spec": {"listeners": [{"tls": {"certificateRefs": [{"name": "s"}]}}]}}),
    );
    assert_eq!(made["status"]["conditions"][1]["type"], "Programmed");
    assert_eq!(made["spec"]["listeners"][0]["tls"]["certificateRefs"][0]["kind"], "Secret");
}

#[test]
fn the_configuration_of_an_affinity_comes_and_goes_with_it() {
    let config = json!({"clientIP": {"timeoutSeconds": 60}});
    let of = |affinity: &str, config: Value| {
        let spec = json!({"sessionAffinity": affinity, "sessionAffinityConfig": config});
        defaulted("", "Service", json!({"spec": spec}))["spec"].get("sessionAffinityConfig").cloned()
    };
    assert_eq!(of("ClientIP", config.clone()), Some(config.clone()));
    assert_eq!(of("None", config), None);
    for empty in [json!({}), json!({"clientIP": {}}), json!({"clientIP": {"timeoutSeconds": null}})] {
        assert_eq!(of("ClientIP", empty), Some(json!({"clientIP": {"timeoutSeconds": 10800}})));
    }
}
