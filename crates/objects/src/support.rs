//! What of the API takes effect here: one table, from which warnings and documentation come. What is in no row works.

use serde_json::Value;

use crate::kinds::Kind;

/// A field that is stored and has no effect, or a whole kind (an empty path).
struct Row {
    kind: &'static str,
    /// Steps from the object's root; `*` is every element of a list.
    path: &'static [&'static str],
    /// Only this value has no effect; `None` means any.
    value: Option<&'static str>,
    because: &'static str,
}

const fn row(kind: &'static str, path: &'static [&'static str], because: &'static str) -> Row {
    Row { kind, path, value: None, because }
}

const ROWS: &[Row] = &[
    row("HorizontalPodAutoscaler", &[], "it is stored, but nothing scales by it yet"),
    Row {
        kind: "Service",
        path: &["spec", "type"],
        value: Some("LoadBalancer"),
        because: "no load balancer is made: use a Gateway to publish it; the cluster IP works",
    },
    Row {
        kind: "Service",
        path: &["spec", "type"],
        value: Some("NodePort"),
        because: "no port of the node is opened: use a Gateway to publish it; the cluster IP works",
    },
    row("Service", &["spec", "externalIPs"], "external addresses are not served"),
    Row {
        kind: "Service",
        path: &["spec", "ports", "*", "protocol"],
        value: Some("SCTP"),
        because: "the cluster IP serves TCP and UDP",
    },
    row("Gateway", &["spec", "listeners", "*", "tls", "options"], "no option of TLS is known"),
    row("Gateway", &["spec", "infrastructure", "labels"], "nothing is created for a Gateway"),
    row("Gateway", &["spec", "infrastructure", "annotations"], "nothing is created for a Gateway"),
    row("ListenerSet", &["spec", "listeners", "*", "tls", "options"], "no option of TLS is known"),
    row("BackendTLSPolicy", &["spec", "options"], "no option of TLS is known"),
    row("BackendTLSPolicy", &["spec", "options"], "no option of TLS is known"),
];

/// What an object says that has no effect here, as warnings for the person who applies it.
pub fn warnings(kind: &Kind, object: &Value) -> Vec<String> {
    let rows = ROWS.iter().filter(|row| row.kind == kind.kind);
    rows.filter_map(|row| {
        if row.path.is_empty() {
            return Some(format!("{} has no effect here: {}", kind.kind, row.because));
        }
        let set = says(object, row.path, row.value);
        let path = row.path.join(".").replace(".*", "[*]");
        let value = row.value.map(|value| format!(" {value}")).unwrap_or_default();
        set.then(|| format!("{path}{value} has no effect here: {}", row.because))
    })
    .collect()
}

fn says(value: &Value, path: &[&str], wanted: Option<&str>) -> bool {
    match path {
        [] => wanted.map_or(!value.is_null(), |wanted| value == wanted),
        ["*", rest @ ..] => value.as_array().into_iter().flatten().any(|element| says(element, rest, wanted)),
        [field, rest @ ..] => value.get(field).is_some_and(|value| says(value, rest, wanted)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds;

    #[test]
    fn a_warning_names_the_field_and_the_reason() {
        let services = kinds::by_kind("", "v1", "Service").unwrap();
        assert!(warnings(services, &json!({"spec": {"type": "ClusterIP"}})).is_empty());
        let found = warnings(services, &json!({"spec": {"type": "NodePort"}}));
        assert!(found[0].starts_with("spec.type NodePort has no effect here"), "{found:?}");
        let gateways = kinds::by_kind("gateway.networking.k8s.io", "v1", "Gateway").unwrap();
        assert_eq!(warnings(gateways, &json!({"spec": {"listeners": [{}, {"tls": {"options": {}}}]}})).len(), 1);
    }

    #[test]
    fn every_row_is_about_a_kind_that_is_served() {
        for row in ROWS {
            assert!(kinds::KINDS.iter().any(|kind| kind.kind == row.kind), "{}", row.kind);
        }
    }
}
