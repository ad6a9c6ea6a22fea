//! ResourceQuotas: what objects use of what a quota counts, and which objects a quota is about (kubernetes/pkg/quota). The API server
//! refuses by it, and a controller shows by it what is used.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::Value;

use crate::{
    kinds::Kind,
    quantity::Quantity,
    resources::{self, Amounts, add},
};

/// Kinds whose objects are counted under the plain name of their resource too. Pods are, as long as they have not ended.
const COUNTED: &[&str] =
    &["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// Resources that each container must say something about if a quota counts them.
const REQUIRED: &[&str] = &["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// What ends the names of a storage class's resources.
const OF_A_CLASS: &str = ".storageclass.storage.k8s.io/";

/// What a quota allows.
pub fn hard(quota: &Value) -> Amounts {
    let hard = quota.pointer("/spec/hard").and_then(Value::as_object).into_iter().flatten();
    hard.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).collect()
}

/// The name under which all objects of a kind are counted, such as `count/deployments.apps`.
fn count_name(kind: &Kind) -> String {
    let dot = if kind.group.is_empty() { "" } else { "." };
    format!("count/{}{dot}{}", kind.plural, kind.group)
}

/// Whether objects of a kind can use something of this name.
pub fn is_used_by(name: &str, kind: &Kind) -> bool {
    if name == count_name(kind) {
        return true;
    }
    if !kind.group.is_empty() {
        return false;
    }
    let plain = COUNTED.contains(&kind.plural) && name == kind.plural;
    let own = match kind.kind {
        "Pod" => {
            let requests = name.strip_prefix("requests.").is_some_and(|of| of != "storage");
            let prefixed = requests || name.starts_with("limits.") || name.starts_with("hugepages-");
            prefixed || matches!(name, "pods" | "cpu" | "memory" | "ephemeral-storage")
        }
        "Service" => matches!(name, "services.nodeports" | "services.loadbalancers"),
        "PersistentVolumeClaim" => name == "requests.storage" || name.contains(OF_A_CLASS),
        _ => false,
    };
    plain || own
}

/// What one object uses.
pub fn usage(kind: &Kind, object: &Value, now: Timestamp) -> Amounts {
    let one = Quantity::from_millis(1000);
    let mut used = Amounts::from([(count_name(kind), one)]);
    if kind.group.is_empty() && COUNTED.contains(&kind.plural) {
        used.insert(kind.plural.to_owned(), one);
    }
    if kind.is("", "Pod") {
        if let Some(pod) = pod(object).filter(|pod| !has_ended(pod, now)) {
            add(&mut used, &of_pod(&pod));
        }
    } else if kind.is("", "Service") {
        add(&mut used, &of_service(object));
    } else if kind.is("", "PersistentVolumeClaim") {
        add(&mut used, &of_claim(object));
    }
    used
}

fn pod(object: &Value) -> Option<Pod> {
    serde_json::from_value(object.clone()).ok()
}

fn quantity(amount: &Value) -> Option<Quantity> {
    amount.as_str().map_or_else(|| amount.to_string(), str::to_owned).parse().ok()
}

/// Whether a pod uses nothing any more: it has ended, or its node has had twice the time that it may take to end.
fn has_ended(pod: &Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ends = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
    matches!(phase, Some("Succeeded" | "Failed"))
        || ends.is_some_and(|ends| ends.checked_add(grace).is_ok_and(|ends| ends < now))
}

fn of_pod(pod: &Pod) -> Amounts {
    let limits = pod.spec.as_ref().map(resources::limits).unwrap_or_default();
    let mut used = compute(&resources::held(pod), &limits);
    used.insert("pods".to_owned(), Quantity::from_millis(1000));
    used
}

/// Requests and limits under the names by which quotas count them.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for (name, amount) in requests {
        let plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        if plain {
            used.insert(name.clone(), *amount);
        }
        if plain || name.contains('/') {
            used.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in
        limits.iter().filter(|(name, _)| ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str()))
    {
        used.insert(format!("limits.{name}"), *amount);
    }
    used
}

fn of_service(service: &Value) -> Amounts {
    let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let with_node_port = ports.iter().filter(|port| port.get("nodePort").is_some_and(|port| *port != 0)).count();
    let (balancers, nodes) = match text("/spec/type") {
        "NodePort" => (0, ports.len()),
        "LoadBalancer" => {
            let all = service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
            (1, if all { ports.len() } else { with_node_port })
        }
        _ => (0, 0),
    };
    let count = |number: usize| Quantity::from_millis(i128::try_from(number).unwrap_or(i128::MAX).saturating_mul(1000));
    Amounts::from([
        ("services.nodeports".to_owned(), count(nodes)),
        ("services.loadbalancers".to_owned(), count(balancers)),
    ])
}

fn of_claim(claim: &Value) -> Amounts {
    let class = claim.pointer("/spec/storageClassName").and_then(Value::as_str).unwrap_or_default();
    let mut used = Amounts::new();
    let mut put = |name: &str, amount: Quantity| {
        if !class.is_empty() {
            used.insert(format!("{class}{OF_A_CLASS}{name}"), amount);
        }
        if name == "requests.storage" {
            used.insert(name.to_owned(), amount);
        }
    };
    put("persistentvolumeclaims", Quantity::from_millis(1000));
    if let Some(amount) = claim.pointer("/spec/resources/requests/storage").and_then(quantity) {
        put("requests.storage", amount);
    }
    used
}

/// Whether a quota's scopes pick an object. Without scopes it is about every object; with scopes it is about pods alone.
pub fn is_about(quota: &Value, kind: &Kind, object: &Value) -> bool {
    let list = |pointer: &str| quota.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (scopes, expressions) = (list("/spec/scopes"), list("/spec/scopeSelector/matchExpressions"));
    if scopes.is_empty() && expressions.is_empty() {
        return true;
    }
    let Some(spec) = Some(object).filter(|_| kind.is("", "Pod")).and_then(pod).and_then(|pod| pod.spec) else {
        return false;
    };
    let plain = scopes.iter().filter_map(Value::as_str).all(|scope| in_scope(scope, &spec));
    plain && expressions.iter().all(|expression| satisfies(expression, &spec))
}

fn in_scope(scope: &str, spec: &PodSpec) -> bool {
    let terminating = spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => is_best_effort(spec),
        "NotBestEffort" => !is_best_effort(spec),
        "PriorityClass" => spec.priority_class_name.as_ref().is_some_and(|name| !name.is_empty()),
        "CrossNamespacePodAffinity" => crosses_namespaces(spec),
        _ => false,
    }
}

/// A term of a quota's scope selector.
fn satisfies(expression: &Value, spec: &PodSpec) -> bool {
    let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
    let scope = text("scopeName");
    if scope != "PriorityClass" {
        return in_scope(scope, spec);
    }
    let class = spec.priority_class_name.as_deref().unwrap_or_default();
    let mut values = expression.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    match text("operator") {
        "In" => values.any(|value| value == class),
        "NotIn" => values.all(|value| value != class),
        "Exists" => !class.is_empty(),
        "DoesNotExist" => class.is_empty(),
        _ => false,
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}

/// Whether no container says anything about CPU or memory: the pod's quality-of-service class is BestEffort.
pub fn is_best_effort(spec: &PodSpec) -> bool {
    let says =
        |amounts: Amounts| ["cpu", "memory"].iter().any(|name| amounts.get(*name).is_some_and(|a| a.millis() > 0));
    !containers(spec).any(|of| says(resources::of_requests(of)) || says(resources::of_limits(of)))
}

fn crosses_namespaces(spec: &PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else { return false };
    let affinity = serde_json::to_value(affinity).unwrap_or_default();
    let mut terms = Vec::new();
    for which in ["podAffinity", "podAntiAffinity"] {
        let list = |field: &str| {
            affinity.pointer(&format!("/{which}/{field}")).and_then(Value::as_array).into_iter().flatten()
        };
        terms.extend(list("requiredDuringSchedulingIgnoredDuringExecution"));
        terms.extend(
            list("preferredDuringSchedulingIgnoredDuringExecution").filter_map(|term| term.get("podAffinityTerm")),
        );
    }
    let names = |term: &&Value| term.get("namespaces").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    terms.iter().any(|term| names(term) || term.get("namespaceSelector").is_some())
}

/// What a pod's containers must say because a quota counts it, and do not; `None` if nothing is missing.
pub fn missing(hard: &Amounts, kind: &Kind, object: &Value) -> Option<String> {
    let required: Vec<&str> = REQUIRED.iter().copied().filter(|name| hard.contains_key(*name)).collect();
    if required.is_empty() || !kind.is("", "Pod") {
        return None;
    }
    let spec = pod(object)?.spec?;
    let mut all = Vec::new();
    for name in required {
        let says = |of: &&Container| compute(&resources::of_requests(of), &resources::of_limits(of)).contains_key(name);
        let mut silent: Vec<&str> = containers(&spec).filter(|of| !says(of)).map(|of| of.name.as_str()).collect();
        silent.sort_unstable();
        silent.dedup();
        if !silent.is_empty() {
            all.push(format!("{name} for: {}", silent.join(",")));
        }
    }
    (!all.is_empty()).then(|| format!("must specify {}", all.join("; ")))
}

/// Why a quota does not allow `more` where `used` is used already; `None` if it does.
pub fn exceeded(hard: &Amounts, used: &Amounts, more: &Amounts) -> Option<String> {
    let zero = Quantity::from_millis(0);
    let of = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or(zero);
    let over: Vec<&String> = more
        .iter()
        .filter(|(name, amount)| {
            amount.millis() > 0 && hard.get(*name).is_some_and(|hard| of(used, name) + **amount > *hard)
        })
        .map(|(name, _)| name)
        .collect();
    let shown = |amounts: &Amounts| {
        over.iter().map(|name| format!("{name}={}", of(amounts, name))).collect::<Vec<_>>().join(",")
    };
    (!over.is_empty()).then(|| format!("requested: {}, used: {}, limited: {}", shown(more), shown(used), shown(hard)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::by_kind;

    fn core(kind: &str) -> &'static Kind {
        by_kind("", "v1", kind).unwrap()
    }

    fn shown(amounts: &Amounts) -> String {
        amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(" ")
    }

    fn used(kind: &str, object: &Value) -> String {
        shown(&usage(core(kind), object, Timestamp::UNIX_EPOCH))
    }

    fn pod(resources: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn a_pod_uses_what_it_requests_until_it_has_ended() {
        let resources =
            json!({"requests": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "2"}, "limits": {"cpu": "2"}});
        let running = pod(&resources);
        assert_eq!(
            used("Pod", &running),
            "count/pods=1 cpu=1 limits.cpu=2 memory=1Gi pods=1 requests.cpu=1 requests.example.com/gpu=2 requests.memory=1Gi"
        );
        let mut ended = running.clone();
        ended["status"] = json!({"phase": "Succeeded"});
        assert_eq!(used("Pod", &ended), "count/pods=1");
        let mut lost = running;
        lost["metadata"] = json!({"deletionTimestamp": "1969-12-31T23:59:00Z", "deletionGracePeriodSeconds": 30});
        assert_eq!(used("Pod", &lost), "count/pods=1");
    }

    #[test]
    fn services_claims_and_everything_else_are_counted() {
        let service = |kind: &str| json!({"spec": {"type": kind, "ports": [{"port": 1}, {"port": 2}]}});
        let counts = "count/services=1 services=1";
        assert_eq!(
            used("Service", &service("NodePort")),
            format!("{counts} services.loadbalancers=0 services.nodeports=2")
        );
        assert_eq!(
            used("Service", &service("LoadBalancer")),
            format!("{counts} services.loadbalancers=1 services.nodeports=2")
        );
        let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "5Gi"}}}});
        assert_eq!(
            used("PersistentVolumeClaim", &claim),
            "count/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
             gold.storageclass.storage.k8s.io/requests.storage=5Gi persistentvolumeclaims=1 requests.storage=5Gi"
        );
        let deployments = by_kind("apps", "v1", "Deployment").unwrap();
        assert_eq!(shown(&usage(deployments, &json!({}), Timestamp::UNIX_EPOCH)), "count/deployments.apps=1");
        assert!(is_used_by("count/deployments.apps", deployments) && !is_used_by("pods", deployments));
        assert!(
            is_used_by("requests.storage", core("PersistentVolumeClaim"))
                && !is_used_by("requests.storage", core("Pod"))
        );
    }

    #[test]
    fn scopes_pick_pods() {
        let about = |quota: &Value, pod: &Value| is_about(&json!({"spec": quota}), core("Pod"), pod);
        let (plain, sized) = (pod(&json!({})), pod(&json!({"limits": {"cpu": "1"}})));
        assert!(
            about(&json!({"scopes": ["BestEffort"]}), &plain) && !about(&json!({"scopes": ["BestEffort"]}), &sized)
        );
        assert!(about(&json!({"scopes": ["NotBestEffort", "NotTerminating"]}), &sized));
        let ends = json!({"spec": {"activeDeadlineSeconds": 5, "priorityClassName": "high", "containers": []}});
        assert!(about(&json!({"scopes": ["Terminating", "PriorityClass"]}), &ends));
        let by = |operator: &str| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]}});
        assert!(about(&by("In"), &ends) && !about(&by("NotIn"), &ends) && !about(&by("In"), &plain));
        let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k", "namespaces": ["n"]}]}});
        let crossing = json!({"spec": {"containers": [], "affinity": affinity}});
        assert!(about(&json!({"scopes": ["CrossNamespacePodAffinity"]}), &crossing));
        assert!(!is_about(&json!({"spec": {"scopes": ["BestEffort"]}}), core("Secret"), &json!({})));
    }

    #[test]
    fn what_is_too_much_and_what_is_not_said_is_refused_in_upstreams_words() {
        let quota = hard(&json!({"spec": {"hard": {"cpu": "1", "pods": "2", "limits.memory": "1Gi"}}}));
        let amounts = |cpu: &str, pods: i128| {
            Amounts::from([
                ("cpu".to_owned(), cpu.parse().unwrap()),
                ("pods".to_owned(), Quantity::from_millis(pods * 1000)),
            ])
        };
        assert_eq!(exceeded(&quota, &amounts("500m", 1), &amounts("500m", 1)), None);
        assert_eq!(
            exceeded(&quota, &amounts("500m", 2), &amounts("600m", 1)).unwrap(),
            "requested: cpu=600m,pods=1, used: cpu=500m,pods=2, limited: cpu=1,pods=2"
        );
        assert_eq!(
            missing(&quota, core("Pod"), &pod(&json!({"requests": {"cpu": "1"}}))).unwrap(),
            "must specify limits.memory for: c"
        );
        assert_eq!(
            missing(&quota, core("Pod"), &pod(&json!({"requests": {"cpu": "1"}, "limits": {"memory": "1"}}))),
            None
        );
    }
}
