//! What a pod asks for that the node or its runtime does not do: one table, and one event from it. Pure.

use k8s_openapi::api::core::v1::{EphemeralContainer, PodSpec};
use serde_json::Value;

use crate::runtime::Features;

/// What a row depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unless {
    /// Nothing does it.
    Never,
    /// Pods that are not isolated have it in any case.
    Isolated,
    /// A runtime with this feature does it.
    Isolation,
    Limits,
    Users,
    Mounts,
}

/// Which values of a field ask for something.
#[derive(Clone, Copy, Debug)]
enum When {
    Any,
    Is(bool),
    Text(&'static str),
    Not(&'static str),
}

/// A field that is not honoured; `*` is every element of a list.
struct Row(&'static str, When, Unless);

const POD: &[Row] = &[
    Row("hostPID", When::Is(true), Unless::Isolated),
    Row("hostIPC", When::Is(true), Unless::Isolated),
    Row("hostUsers", When::Is(false), Unless::Never),
    Row("runtimeClassName", When::Any, Unless::Never),
    Row("resourceClaims", When::Any, Unless::Never),
    Row("resources", When::Any, Unless::Never),
    Row("securityContext.appArmorProfile", When::Any, Unless::Never),
    Row("securityContext.seccompProfile.localhostProfile", When::Any, Unless::Never),
    Row("securityContext.seccompProfile.type", When::Text("RuntimeDefault"), Unless::Isolation),
    Row("securityContext.seLinuxOptions", When::Any, Unless::Never),
    Row("securityContext.supplementalGroupsPolicy", When::Not("Merge"), Unless::Never),
    Row("securityContext.sysctls", When::Any, Unless::Never),
    Row("securityContext.fsGroup", When::Any, Unless::Users),
    Row("securityContext.runAsGroup", When::Any, Unless::Users),
    Row("securityContext.runAsUser", When::Any, Unless::Users),
    Row("securityContext.supplementalGroups", When::Any, Unless::Users),
    Row("dnsConfig", When::Any, Unless::Isolation),
    Row("hostAliases", When::Any, Unless::Isolation),
    Row("hostname", When::Any, Unless::Isolation),
    Row("shareProcessNamespace", When::Is(true), Unless::Isolated),
];

const CONTAINER: &[Row] = &[
    Row("lifecycle.stopSignal", When::Any, Unless::Never),
    Row("ports.*.hostPort", When::Any, Unless::Never),
    Row("resources.claims", When::Any, Unless::Never),
    Row("resources.limits.ephemeral-storage", When::Any, Unless::Never),
    Row("securityContext.appArmorProfile", When::Any, Unless::Never),
    Row("securityContext.procMount", When::Not("Default"), Unless::Never),
    Row("securityContext.seccompProfile.localhostProfile", When::Any, Unless::Never),
    Row("securityContext.seccompProfile.type", When::Text("RuntimeDefault"), Unless::Isolation),
    Row("securityContext.seLinuxOptions", When::Any, Unless::Never),
    Row("volumeDevices", When::Any, Unless::Never),
    Row("volumeMounts.*.mountPropagation", When::Not("None"), Unless::Never),
    Row("volumeMounts.*.recursiveReadOnly", When::Not("Disabled"), Unless::Never),
    Row("resources.limits.cpu", When::Any, Unless::Limits),
    Row("resources.limits.memory", When::Any, Unless::Limits),
    Row("securityContext.allowPrivilegeEscalation", When::Is(false), Unless::Isolation),
    Row("securityContext.capabilities", When::Any, Unless::Isolation),
    Row("securityContext.privileged", When::Is(true), Unless::Isolation),
    Row("securityContext.readOnlyRootFilesystem", When::Is(true), Unless::Isolation),
    Row("securityContext.runAsGroup", When::Any, Unless::Users),
    Row("securityContext.runAsUser", When::Any, Unless::Users),
    Row("terminationMessagePath", When::Not("/dev/termination-log"), Unless::Mounts),
    Row("volumeMounts", When::Any, Unless::Mounts),
    Row("targetContainerName", When::Any, Unless::Isolation),
];

/// The texts of the `NotHonoured` events for a pod: fields that nothing here does, and fields that this runtime does not do.
pub fn by_node(spec: &PodSpec, runtime: &str, features: Features) -> Vec<String> {
    let Ok(value) = serde_json::to_value(spec) else { return Vec::new() };
    let mut found = Found { on_host: spec.host_network == Some(true), features, ..Found::default() };
    found.look("spec.", &value, POD);
    for list in ["initContainers", "containers"] {
        for container in value.get(list).and_then(Value::as_array).into_iter().flatten() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            found.look(&format!("{list}[{name}]."), container, CONTAINER);
        }
    }
    found.texts(runtime)
}

/// The same for an ephemeral container, which comes when the pod is there.
pub fn by_ephemeral(container: &EphemeralContainer, runtime: &str, features: Features) -> Vec<String> {
    let Ok(value) = serde_json::to_value(container) else { return Vec::new() };
    let mut found = Found { features, ..Found::default() };
    found.look(&format!("ephemeralContainers[{}].", container.name), &value, CONTAINER);
    found.texts(runtime)
}

/// What was found so far.
struct Found {
    /// On the machine's own network a container's port is the machine's.
    on_host: bool,
    features: Features,
    never: Vec<String>,
    not_by_runtime: Vec<String>,
}

impl Default for Found {
    fn default() -> Self {
        let features = Features { isolation: false, limits: false, users: false, mounts: false };
        Self { on_host: false, features, never: Vec::new(), not_by_runtime: Vec::new() }
    }
}

impl Found {
    fn has(&self, unless: Unless) -> bool {
        match unless {
            Unless::Never => false,
            Unless::Isolated => !self.features.isolation,
            Unless::Isolation => self.features.isolation,
            Unless::Limits => self.features.limits,
            Unless::Users => self.features.users,
            Unless::Mounts => self.features.mounts,
        }
    }

    fn look(&mut self, at: &str, value: &Value, rows: &[Row]) {
        for Row(path, when, unless) in rows {
            let steps: Vec<&str> = path.split('.').collect();
            let moot = self.on_host && path.starts_with("ports");
            if !moot && !self.has(*unless) && asks(value, &steps, *when) {
                let list = if *unless == Unless::Never { &mut self.never } else { &mut self.not_by_runtime };
                list.push(format!("{at}{path}").replace(".*", "[*]"));
            }
        }
    }

    fn texts(self, runtime: &str) -> Vec<String> {
        let never = ("not honoured here".to_owned(), self.never);
        let not_by_runtime = (format!("the {runtime} runtime does not honour"), self.not_by_runtime);
        let texts = [never, not_by_runtime].into_iter().filter(|(_, fields)| !fields.is_empty());
        texts.map(|(who, fields)| format!("{who}: {}", fields.join(", "))).collect()
    }
}

fn asks(value: &Value, path: &[&str], when: When) -> bool {
    match path {
        [] => match when {
            When::Any => !value.is_null(),
            When::Is(wanted) => value.as_bool() == Some(wanted),
            When::Text(wanted) => value.as_str() == Some(wanted),
            When::Not(default) => value.as_str().is_some_and(|value| value != default),
        },
        ["*", rest @ ..] => value.as_array().into_iter().flatten().any(|element| asks(element, rest, when)),
        [field, rest @ ..] => value.get(field).is_some_and(|value| asks(value, rest, when)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_without_effect_is_named_once() {
        let spec = serde_json::from_value(json!({"hostPID": true, "hostIPC": false, "securityContext": {"runAsUser": 1},
            "containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 1}], "terminationMessagePath": "/dev/termination-log",
                "resources": {"limits": {"cpu": "1"}}, "volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "None"}]}]}))
        .unwrap();
        let features = |all| Features { isolation: all, limits: all, users: all, mounts: all };
        let never = "not honoured here: containers[a].ports[*].hostPort";
        let native = "the native runtime does not honour: spec.hostPID";
        assert_eq!(by_node(&spec, "native", features(true)), [never, native]);
        let loopback = "the loopback runtime does not honour: spec.securityContext.runAsUser, \
                        containers[a].resources.limits.cpu, containers[a].volumeMounts";
        assert_eq!(by_node(&spec, "loopback", features(false)), [never, loopback]);
    }
}
