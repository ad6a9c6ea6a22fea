//! A container's environment: literals, references, service variables and `$(NAME)` expansion. Pure.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service};
use objects::quantity::Quantity;

/// The objects that pods refer to, as they are now.
pub trait Lookup: Send + Sync {
    /// A ConfigMap.
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>>;
    /// A Secret.
    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>>;
    /// Every Service of every namespace.
    fn services(&self) -> Vec<Arc<Service>>;
}

/// What fields of the pod can refer to besides the object.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The pod's address.
    pub pod_ip: IpAddr,
    /// The node's address.
    pub host_ip: IpAddr,
    /// The machine's memory in bytes and CPUs in thousandths: the limit where none is set.
    pub capacity: (i128, i128),
}

type Env = BTreeMap<String, String>;

/// Builds the environment.
///
/// # Errors
/// With upstream's words for a `CreateContainerConfigError`: what is referred to does not exist.
pub fn build(pod: &Pod, container: &Container, place: Place, lookup: &dyn Lookup) -> Result<Env, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let services = services(&lookup.services(), namespace, links);
    let mut env = Env::new();
    for source in container.env_from.as_deref().unwrap_or_default() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(from) = &source.config_map_ref {
            match lookup.config_map(namespace, &from.name) {
                Some(map) => env.extend(map.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), v.clone()))),
                None if from.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", from.name)),
            }
        }
        if let Some(from) = &source.secret_ref {
            match lookup.secret(namespace, &from.name) {
                Some(secret) => {
                    env.extend(secret.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), text(&v.0))));
                }
                None if from.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", from.name)),
            }
        }
    }
    for variable in container.env.as_deref().unwrap_or_default() {
        let value = match &variable.value_from {
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &|n| {
                env.get(n).or(services.get(n)).cloned()
            })),
            Some(source) => resolve(pod, container, source, place, lookup)?,
        };
        if let Some(value) = value {
            env.insert(variable.name.clone(), value);
        }
    }
    for (name, value) in services {
        env.entry(name).or_insert(value);
    }
    Ok(env)
}

fn resolve(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    place: Place,
    lookup: &dyn Lookup,
) -> Result<Option<String>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    if let Some(field) = &source.field_ref {
        return field_value(pod, &field.field_path, Some(place)).map(Some);
    }
    if let Some(r) = &source.resource_field_ref {
        let container = match &r.container_name {
            Some(name) => pod
                .spec
                .as_ref()
                .and_then(|s| crate::state::find(s, name))
                .ok_or(format!("container {name} not found"))?,
            None => container,
        };
        return resource_value(container, &r.resource, r.divisor.as_ref().map(|d| d.0.as_str()), place.capacity)
            .map(Some);
    }
    let (found, optional, kind, name, key) = if let Some(r) = &source.config_map_key_ref {
        let map = lookup.config_map(namespace, &r.name);
        (map.map(|m| m.data.as_ref().and_then(|d| d.get(&r.key)).cloned()), r.optional, "configmap", &r.name, &r.key)
    } else if let Some(r) = &source.secret_key_ref {
        let secret = lookup.secret(namespace, &r.name);
        let value = secret.map(|s| s.data.as_ref().and_then(|d| d.get(&r.key)).map(|v| text(&v.0)));
        (value, r.optional, "secret", &r.name, &r.key)
    } else {
        return Err("this source of an environment variable is not supported here".to_owned());
    };
    match found {
        Some(Some(value)) => Ok(Some(value)),
        _ if optional == Some(true) => Ok(None),
        None => Err(format!("{kind} {name:?} not found")),
        Some(None) => Err(format!("couldn't find key {key} in {kind} {namespace}/{name}")),
    }
}

/// The value of a downward API field.
///
/// # Errors
/// When there is no such field, or it is not known yet.
pub fn field_value(pod: &Pod, path: &str, place: Option<Place>) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => Some(pairs(meta.labels.as_ref())),
        "metadata.annotations" => Some(pairs(meta.annotations.as_ref())),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()),
        "spec.serviceAccountName" => Some(spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default()),
        "status.podIP" | "status.podIPs" => place.map(|p| p.pod_ip.to_string()),
        "status.hostIP" | "status.hostIPs" => place.map(|p| p.host_ip.to_string()),
        _ => match path.strip_suffix("']").and_then(|p| p.split_once("['")) {
            Some(("metadata.labels", key)) => {
                Some(meta.labels.as_ref().and_then(|l| l.get(key)).cloned().unwrap_or_default())
            }
            Some(("metadata.annotations", key)) => {
                Some(meta.annotations.as_ref().and_then(|l| l.get(key)).cloned().unwrap_or_default())
            }
            _ => None,
        },
    };
    value.ok_or_else(|| format!("unsupported fieldPath: {path}"))
}

fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(k, v)| format!("{k}={v:?}")).collect();
    lines.join("\n")
}

/// The value of a `resourceFieldRef`: in units of the divisor, rounded up.
///
/// # Errors
/// When there is no such resource.
pub fn resource_value(
    container: &Container,
    name: &str,
    divisor: Option<&str>,
    capacity: (i128, i128),
) -> Result<String, String> {
    let resources = container.resources.clone().unwrap_or_default();
    let (kind, resource) = name.split_once('.').ok_or_else(|| format!("unsupported resource {name}"))?;
    let set = if kind == "limits" { resources.limits.clone() } else { resources.requests.clone() };
    let set = set.and_then(|s| s.get(resource).cloned()).and_then(|q| q.0.parse::<Quantity>().ok());
    let default = match (kind, resource) {
        ("limits", "memory") => capacity.0.saturating_mul(1000),
        ("limits", "cpu") => capacity.1,
        _ => 0,
    };
    let amount = set.map_or(default, |q| q.millis());
    let divisor = divisor.and_then(|d| d.parse::<Quantity>().ok()).map_or(0, |q| q.millis());
    let divisor = if divisor <= 0 { 1000 } else { divisor };
    Ok((amount.saturating_add(divisor - 1) / divisor).to_string())
}

/// Replaces `$(NAME)`; `$$` is a dollar sign, and what is not known stays as it is.
pub fn expand(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|a| a.split_once(')')) {
            out.push_str(&value(name).unwrap_or_else(|| format!("$({name})")));
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

/// The variables of the namespace's services (and always of `kubernetes`), as Docker links named them.
fn services(all: &[Arc<Service>], namespace: &str, links: bool) -> Env {
    let mut env = Env::new();
    for service in all {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let home = service.metadata.namespace.as_deref().unwrap_or_default();
        let master = home == "default" && name == "kubernetes";
        let Some(spec) = &service.spec else { continue };
        let ip = spec.cluster_ip.as_deref().unwrap_or_default();
        if !(master || links && home == namespace) || ip.is_empty() || ip == "None" {
            continue;
        }
        let prefix = name.to_uppercase().replace('-', "_");
        let ports = spec.ports.as_deref().unwrap_or_default();
        env.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
        for (index, port) in ports.iter().enumerate() {
            let (number, protocol) = (port.port, port.protocol.as_deref().unwrap_or("TCP"));
            let url = format!("{}://{ip}:{number}", protocol.to_lowercase());
            if index == 0 {
                env.insert(format!("{prefix}_SERVICE_PORT"), number.to_string());
                env.insert(format!("{prefix}_PORT"), url.clone());
            }
            if let Some(name) = &port.name {
                env.insert(
                    format!("{prefix}_SERVICE_PORT_{}", name.to_uppercase().replace('-', "_")),
                    number.to_string(),
                );
            }
            let base = format!("{prefix}_PORT_{number}_{protocol}");
            env.insert(format!("{base}_PROTO"), protocol.to_lowercase());
            env.insert(format!("{base}_PORT"), number.to_string());
            env.insert(format!("{base}_ADDR"), ip.to_owned());
            env.insert(base, url);
        }
    }
    env
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    /// A ConfigMap `c` and a Service `my-db`.
    pub struct Objects;

    impl Lookup for Objects {
        fn config_map(&self, _: &str, name: &str) -> Option<Arc<ConfigMap>> {
            let map = json!({"data": {"k": "v"}});
            (name == "c").then(|| Arc::new(serde_json::from_value(map).unwrap()))
        }

        fn secret(&self, _: &str, _: &str) -> Option<Arc<Secret>> {
            None
        }

        fn services(&self) -> Vec<Arc<Service>> {
            let service = json!({"metadata": {"name": "my-db", "namespace": "n"},
                "spec": {"clusterIP": "10.43.0.9", "ports": [{"port": 5432}]}});
            vec![Arc::new(serde_json::from_value(service).unwrap())]
        }
    }

    fn env(container: serde_json::Value) -> Result<Env, String> {
        let pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}})).unwrap();
        let ip = IpAddr::from([127, 0, 0, 1]);
        let place = Place { pod_ip: ip, host_ip: ip, capacity: (1 << 30, 2000) };
        build(&pod, &serde_json::from_value(container).unwrap(), place, &Objects)
    }

    #[test]
    fn references_fields_resources_services_and_expansion_give_the_environment() {
        let env = env(json!({"name": "a", "resources": {"limits": {"cpu": "1500m"}},
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "x", "optional": true}}],
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "ALL", "value": "$(IP) $(P_k) $$(IP) $(NO) $"}]}))
        .unwrap();
        assert_eq!(env["ALL"], "127.0.0.1 v $(IP) $(NO) $");
        assert_eq!(env["CPU"], "2");
        assert_eq!(env["MY_DB_SERVICE_HOST"], "10.43.0.9");
        assert_eq!(env["MY_DB_PORT_5432_TCP"], "tcp://10.43.0.9:5432");
    }

    #[test]
    fn a_missing_reference_is_named() {
        let from =
            json!({"name": "a", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]});
        assert_eq!(env(from).unwrap_err(), "secret \"s\" not found");
    }

    #[test]
    fn whole_objects_come_with_a_prefix_optional_ones_may_be_missing_and_links_can_be_left_out() {
        let given = env(json!({"name": "a",
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "none", "optional": true}}],
            "env": [{"name": "P_k", "value": "own"},
                {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "no", "optional": true}}}]}))
        .unwrap();
        assert_eq!((given["P_k"].as_str(), given.get("X")), ("own", None));
        let key =
            json!({"name": "a", "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "no"}}}]});
        assert_eq!(env(key).unwrap_err(), "couldn't find key no in configmap n/c");
        assert_eq!(services(&Objects.services(), "n", false), Env::new());
        assert_eq!(services(&Objects.services(), "other", true), Env::new());
    }
}
