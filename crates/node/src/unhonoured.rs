//! What a pod asks for that the node or its runtime does not do: one table, and one event from it. Pure.

use k8s_openapi::api::core::v1::{EphemeralContainer, PodSpec};
use objects::support::When::{self, Is, IsNot, Off, On, Set};
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

/// A field that is not honoured; `*` is every element of a list.
struct Row(&'static str, When, Unless);

const POD: &[Row] = &[
    Row("hostPID", On, Unless::Isolated),
    Row("hostIPC", On, Unless::Isolated),
    Row("hostUsers", Off, Unless::Never),
    Row("runtimeClassName", Set, Unless::Never),
    Row("resourceClaims", Set, Unless::Never),
    Row("resources", Set, Unless::Never),
    Row("securityContext.appArmorProfile", Set, Unless::Never),
    Row("securityContext.seccompProfile.localhostProfile", Set, Unless::Never),
    Row("securityContext.seccompProfile.type", Is("RuntimeDefault"), Unless::Isolation),
    Row("securityContext.seLinuxOptions", Set, Unless::Never),
    Row("securityContext.supplementalGroupsPolicy", IsNot("Merge"), Unless::Never),
    Row("securityContext.sysctls", Set, Unless::Never),
    Row("securityContext.fsGroup", Set, Unless::Users),
    Row("securityContext.runAsGroup", Set, Unless::Users),
    Row("securityContext.runAsUser", Set, Unless::Users),
    Row("securityContext.supplementalGroups", Set, Unless::Users),
    Row("dnsConfig", Set, Unless::Isolation),
    Row("hostAliases", Set, Unless::Isolation),
    Row("hostname", Set, Unless::Isolation),
    Row("shareProcessNamespace", On, Unless::Isolated),
];

const CONTAINER: &[Row] = &[
    Row("lifecycle.stopSignal", Set, Unless::Never),
    Row("ports.*.hostPort", Set, Unless::Never),
    Row("resources.claims", Set, Unless::Never),
    Row("resources.limits.ephemeral-storage", Set, Unless::Never),
    Row("securityContext.appArmorProfile", Set, Unless::Never),
    Row("securityContext.procMount", IsNot("Default"), Unless::Never),
    Row("securityContext.seccompProfile.localhostProfile", Set, Unless::Never),
    Row("securityContext.seccompProfile.type", Is("RuntimeDefault"), Unless::Isolation),
    Row("securityContext.seLinuxOptions", Set, Unless::Never),
    Row("volumeDevices", Set, Unless::Never),
    Row("volumeMounts.*.mountPropagation", IsNot("None"), Unless::Never),
    Row("volumeMounts.*.recursiveReadOnly", IsNot("Disabled"), Unless::Never),
    Row("resources.limits.cpu", Set, Unless::Limits),
    Row("resources.limits.memory", Set, Unless::Limits),
    Row("securityContext.allowPrivilegeEscalation", Off, Unless::Isolation),
    Row("securityContext.capabilities", Set, Unless::Isolation),
    Row("securityContext.privileged", On, Unless::Isolation),
    Row("securityContext.readOnlyRootFilesystem", On, Unless::Isolation),
    Row("securityContext.runAsGroup", Set, Unless::Users),
    Row("securityContext.runAsUser", Set, Unless::Users),
    Row("terminationMessagePath", IsNot("/dev/termination-log"), Unless::Mounts),
    Row("volumeMounts", Set, Unless::Mounts),
    Row("targetContainerName", Set, Unless::Isolation),
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
            if !moot && !self.has(*unless) && when.holds(value, &steps) {
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
