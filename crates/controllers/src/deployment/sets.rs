//! A Deployment's ReplicaSets: which one is the template's, what the others are, and what annotations they carry.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::claim::reference;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH_LABEL: &str = "pod-template-hash";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The longest list of revisions that is kept, in bytes.
const HISTORY_BYTES: usize = 2000;
/// Annotations of a Deployment that are not its ReplicaSets'.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
];

/// A ReplicaSet, as far as planning needs it; the plan changes it as it goes.
#[derive(Clone, Debug)]
pub(super) struct Set<'a> {
    pub object: &'a ReplicaSet,
    /// `spec.replicas`.
    pub replicas: i32,
    pub available: i32,
}

impl<'a> Set<'a> {
    pub fn new(object: &'a ReplicaSet) -> Self {
        let status = object.status.as_ref();
        Self {
            object,
            replicas: object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            available: status.and_then(|status| status.available_replicas).unwrap_or(0),
        }
    }

    pub fn revision(&self) -> i64 {
        self.number(REVISION).unwrap_or(0)
    }

    pub fn number(&self, annotation: &str) -> Option<i64> {
        self.object.annotations().get(annotation)?.parse().ok()
    }
}

/// The set of the current template, and the others, oldest first.
pub(super) fn split<'a>(deployment: &Deployment, sets: &[&'a ReplicaSet]) -> (Option<Set<'a>>, Vec<Set<'a>>) {
    let mut ordered: Vec<&ReplicaSet> = sets.to_vec();
    ordered.sort_by_key(|set| (set.creation_timestamp(), set.name_any()));
    let wanted = deployment.spec.as_ref().map(|spec| without_hash(&spec.template));
    // The oldest that fits, should there be two: then everybody picks the same one.
    let is_new = |set: &&ReplicaSet| -> bool {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        template.map(without_hash) == wanted
    };
    let new = ordered.iter().position(is_new).map(|at| ordered.remove(at));
    (new.map(Set::new), ordered.into_iter().map(Set::new).collect())
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    template
}

/// Ten letters and digits that stand for a template.
pub(super) fn template_hash(deployment: &Deployment) -> String {
    // Letters that cannot spell words, as upstream encodes its hashes.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let text = serde_json::to_string(&(template, collisions)).unwrap_or_default();
    let letter = |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len()).copied().map_or('x', char::from);
    Sha256::digest(text.as_bytes()).iter().take(10).map(letter).collect()
}

/// The ReplicaSet for the current template.
pub(super) fn make(deployment: &Deployment, replicas: i32, annotations: BTreeMap<String, String>) -> ReplicaSet {
    let hash = template_hash(deployment);
    let spec = deployment.spec.clone().unwrap_or_default();
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut exact = spec.selector.match_labels.unwrap_or_default();
    exact.insert(HASH_LABEL.to_owned(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector { match_labels: Some(exact), ..spec.selector },
            template: Some(template),
        }),
        status: None,
    }
}

/// The annotations of the current template's set: the Deployment's own, its revision, and the sizes that a later change of size is
/// told from.
pub(super) fn annotations(deployment: &Deployment, revision: i64, desired: i32, max: i32) -> BTreeMap<String, String> {
    let own = deployment.annotations().iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()));
    let mut all: BTreeMap<String, String> = own.map(|(k, v)| (k.clone(), v.clone())).collect();
    all.insert(REVISION.to_owned(), revision.to_string());
    all.extend(sizes(desired, max));
    all
}

/// The revisions that a set had before, when it gets another one: it was rolled back to. The oldest are forgotten when the list
/// grows too long.
pub(super) fn history(set: &Set<'_>, revision: i64) -> Option<(String, String)> {
    let before = set.number(REVISION).filter(|before| *before < revision)?.to_string();
    let list = set.object.annotations().get(HISTORY).map(String::as_str).unwrap_or_default();
    let mut all: Vec<&str> = list.split(',').filter(|revision| !revision.is_empty()).collect();
    all.push(&before);
    while all.len() > 1 && all.iter().map(|revision| revision.len() + 1).sum::<usize>() > HISTORY_BYTES {
        all.remove(0);
    }
    Some((HISTORY.to_owned(), all.join(",")))
}

/// The annotations that say for which size a set was scaled.
pub(super) fn sizes(desired: i32, max: i32) -> BTreeMap<String, String> {
    BTreeMap::from([(DESIRED.to_owned(), desired.to_string()), (MAX.to_owned(), max.to_string())])
}
