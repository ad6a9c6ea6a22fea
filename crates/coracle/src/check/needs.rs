//! What a cluster must have installed to run manifests as they are: from the kinds that they use, and from a few fields.

use std::collections::{BTreeMap, BTreeSet};

use objects::support::{
    self,
    When::{Is, Set, Zero},
};
use serde_json::Value;

use super::Subject;

/// When something is needed.
pub(super) enum When {
    /// For any object of these groups.
    Group(&'static [&'static str]),
    /// For objects of these kinds of a group.
    Kinds(&'static str, &'static [&'static str]),
    /// For objects of a kind of a group that have such a value at a path, where `*` is every element of a list.
    Field(&'static str, &'static str, &'static [&'static str], support::When),
}

/// Something to install.
pub(super) struct Need {
    pub(super) when: &'static [When],
    /// What it is.
    pub(super) what: &'static str,
    /// What it does there that Coracle does here.
    pub(super) role: &'static str,
}

use When::{Field, Group, Kinds};

/// Everything that is known to be needed by something.
pub(super) static NEEDS: &[Need] = &[
    Need {
        when: &[Group(&["gateway.networking.k8s.io"])],
        what: "Gateway API's CRDs, and a controller for the GatewayClass (Envoy Gateway, or Coracle's own gateway)",
        role: "routes requests into the cluster",
    },
    Need {
        when: &[Kinds("networking.k8s.io", &["Ingress", "IngressClass"])],
        what: "an ingress controller",
        role: "routes requests into the cluster",
    },
    Need {
        when: &[Group(&["gateway.envoyproxy.io"])],
        what: "Envoy Gateway",
        role: "applies its policies to Gateways and routes",
    },
    Need {
        when: &[
            Field("autoscaling", "HorizontalPodAutoscaler", &["spec", "metrics", "*", "type"], Is("Resource")),
            Field("autoscaling", "HorizontalPodAutoscaler", &["spec", "metrics", "*", "type"], Is("ContainerResource")),
            Field("autoscaling", "HorizontalPodAutoscaler", &["spec", "targetCPUUtilizationPercentage"], Set),
        ],
        what: "metrics-server",
        role: "measures what pods use, for autoscaling and kubectl top",
    },
    Need {
        when: &[
            Field("autoscaling", "HorizontalPodAutoscaler", &["spec", "metrics", "*", "type"], Is("Pods")),
            Field("autoscaling", "HorizontalPodAutoscaler", &["spec", "metrics", "*", "type"], Is("Object")),
            Field("autoscaling", "HorizontalPodAutoscaler", &["spec", "metrics", "*", "type"], Is("External")),
        ],
        what: "an adapter for custom metrics (prometheus-adapter or KEDA)",
        role: "gives the autoscaler metrics of its own",
    },
    Need {
        when: &[Field("autoscaling", "HorizontalPodAutoscaler", &["spec", "minReplicas"], Zero)],
        what: "the feature gate HPAScaleToZero, and an Object or External metric in the HorizontalPodAutoscaler",
        role: "takes the last pod away (no request waits there for the first one)",
    },
    Need {
        when: &[Kinds("autoscaling.k8s.io", &["VerticalPodAutoscaler", "VerticalPodAutoscalerCheckpoint"])],
        what: "the Vertical Pod Autoscaler and its CRDs",
        role: "sizes what pods request",
    },
    Need {
        when: &[Group(&["monitoring.coreos.com"])],
        what: "the Prometheus operator and its CRDs",
        role: "runs Prometheus and Alertmanager with these rules and targets",
    },
    Need {
        when: &[Kinds("argoproj.io", &["Application", "ApplicationSet", "AppProject"])],
        what: "Argo CD",
        role: "applies what is in Git",
    },
    Need {
        when: &[Kinds(
            "argoproj.io",
            &["Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun", "Experiment"],
        )],
        what: "Argo Rollouts",
        role: "rolls out step by step",
    },
    Need {
        when: &[Group(&["cert-manager.io", "acme.cert-manager.io"])],
        what: "cert-manager",
        role: "obtains and renews certificates",
    },
    Need {
        when: &[Group(&["external-secrets.io", "generators.external-secrets.io"])],
        what: "External Secrets Operator",
        role: "brings Secrets from where they are kept",
    },
    Need { when: &[Group(&["velero.io"])], what: "Velero, and where it stores backups", role: "backs up and restores" },
    Need {
        when: &[Group(&["policy.linkerd.io", "linkerd.io"])],
        what: "Linkerd",
        role: "applies its policies between services",
    },
    Need {
        when: &[Group(&["snapshot.storage.k8s.io"])],
        what: "the CSI snapshot controller and its CRDs, and a driver that can snapshot",
        role: "takes snapshots of volumes",
    },
    Need {
        when: &[
            Kinds("", &["PersistentVolumeClaim"]),
            Field("apps", "StatefulSet", &["spec", "volumeClaimTemplates", "*"], Set),
        ],
        what: "a storage provisioner with a StorageClass",
        role: "makes the volumes that are claimed",
    },
    Need {
        when: &[Field("", "Service", &["spec", "type"], Is("LoadBalancer"))],
        what: "an implementation of load balancers (the cloud's, or MetalLB)",
        role: "gives the Service an address from outside",
    },
    Need {
        when: &[Kinds("networking.k8s.io", &["NetworkPolicy"])],
        what: "a network plugin that enforces NetworkPolicies",
        role: "keeps pods from talking",
    },
];

/// What the objects seen so far need.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// By the index in [`NEEDS`].
    by: BTreeMap<usize, BTreeSet<Subject>>,
    /// Groups that no row knows, and whose kinds Kubernetes does not have.
    unknown: BTreeMap<String, BTreeSet<Subject>>,
    /// Kinds that the manifests define themselves: group and kind.
    defined: BTreeSet<(String, String)>,
}

/// Groups that every cluster serves.
fn is_kubernetes(group: &str) -> bool {
    const OWN: &[&str] = &["", "apps", "batch", "autoscaling", "policy", "extensions"];
    // Groups under this domain may also be of projects that are installed; those have rows.
    OWN.contains(&group) || group.ends_with(".k8s.io")
}

impl Needs {
    /// Looks at one object.
    pub(super) fn add(&mut self, object: &Value, subject: &Subject) {
        let group = subject.api_version.split_once('/').map_or("", |(group, _)| group);
        if subject.kind == "CustomResourceDefinition" {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            self.defined.insert((text("/spec/group"), text("/spec/names/kind")));
        }
        let mut known = false;
        for (index, need) in NEEDS.iter().enumerate() {
            known |= need.when.iter().any(|when| when.names(group));
            if need.when.iter().any(|when| when.holds(group, &subject.kind, object)) {
                self.by.entry(index).or_default().insert(subject.clone());
            }
        }
        if !known && !is_kubernetes(group) && group != "coracle.dev" {
            self.unknown.entry(group.to_owned()).or_default().insert(subject.clone());
        }
    }

    /// What is needed, what for, and by which objects.
    pub(super) fn all(&self) -> Vec<(String, String, Vec<&Subject>)> {
        let known = self.by.iter().filter_map(|(index, by)| {
            let need = NEEDS.get(*index)?;
            Some((need.what.to_owned(), need.role.to_owned(), by.iter().collect()))
        });
        let unknown = self.unknown.iter().map(|(group, by)| {
            let defined = by.iter().all(|one| self.defined.contains(&(group.clone(), one.kind.clone())));
            let what = if defined {
                format!("the controller of {group}")
            } else {
                format!("the CRDs and the controller of {group}")
            };
            (what, "acts on these objects".to_owned(), by.iter().collect())
        });
        known.chain(unknown).collect()
    }
}

impl When {
    fn names(&self, group: &str) -> bool {
        match self {
            Self::Group(groups) => groups.contains(&group),
            Self::Kinds(of, _) | Self::Field(of, ..) => *of == group,
        }
    }

    fn holds(&self, group: &str, kind: &str, object: &Value) -> bool {
        match self {
            Self::Group(groups) => groups.contains(&group),
            Self::Kinds(of, kinds) => *of == group && kinds.contains(&kind),
            Self::Field(of, named, path, when) => *of == group && *named == kind && when.holds(object, path),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn needed(objects: &[Value]) -> Vec<String> {
        let mut needs = Needs::default();
        objects.iter().for_each(|object| needs.add(object, &super::super::subject(object, true)));
        needs.all().into_iter().map(|(what, ..)| what).collect()
    }

    #[test]
    fn kinds_and_fields_say_what_is_needed() {
        let metric = |of: &str| json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"metrics": [{"type": of}]}});
        assert_eq!(needed(&[metric("Resource")]), ["metrics-server"]);
        let least = |count: i64| json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"minReplicas": count}});
        assert!(
            needed(&[least(0)])[0].starts_with("the feature gate HPAScaleToZero") && needed(&[least(1)]).is_empty()
        );
        assert_eq!(needed(&[metric("Pods")]), ["an adapter for custom metrics (prometheus-adapter or KEDA)"]);
        let monitor = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor"});
        assert_eq!(needed(&[monitor.clone(), monitor]), ["the Prometheus operator and its CRDs"]);
        assert!(needed(&[json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": "ClusterIP"}})]).is_empty());
        assert!(needed(&[json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {}})]).is_empty());
    }

    #[test]
    fn a_kind_that_nobody_knows_needs_its_controller_and_its_definition_unless_that_is_among_the_manifests() {
        let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing"});
        assert_eq!(needed(std::slice::from_ref(&thing)), ["the CRDs and the controller of example.com"]);
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"group": "example.com", "names": {"kind": "Thing"}}});
        assert_eq!(needed(&[thing, definition]), ["the controller of example.com"]);
    }
}
