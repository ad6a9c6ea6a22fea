use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Action, plan};

fn deployment(replicas: i32, strategy: Value, image: &str) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "d", "generation": 1},
        "spec": {"replicas": replicas, "strategy": strategy, "selector": {"matchLabels": {"app": "web"}}, "revisionHistoryLimit": 2,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}},
    }))
    .unwrap()
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

/// A cluster in which pods become available whenever a step says so.
struct Cluster {
    deployment: Deployment,
    sets: BTreeMap<String, ReplicaSet>,
    seconds: i64,
}

impl Cluster {
    fn new(deployment: Deployment) -> Self {
        Self { deployment, sets: BTreeMap::new(), seconds: 0 }
    }

    fn change(&mut self, change: impl FnOnce(&mut Deployment)) {
        change(&mut self.deployment);
        self.deployment.metadata.generation = self.deployment.metadata.generation.map(|g| g + 1);
    }

    /// One look of the controller; whether it did anything.
    fn step(&mut self) -> bool {
        self.seconds += 1;
        let now = Timestamp::from_second(self.seconds).unwrap();
        let own: Vec<&ReplicaSet> = self.sets.values().collect();
        let has_pods = |set: &ReplicaSet| set.status.as_ref().is_some_and(|status| status.replicas > 0);
        let planned = plan(&self.deployment, &own, has_pods, now);
        let idle = planned.actions.is_empty() && planned.status.is_none();
        for action in planned.actions {
            match action {
                Action::Create(mut set) => {
                    let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now);
                    set.metadata.creation_timestamp = Some(time);
                    set.metadata.uid = Some(set.name_any());
                    set.metadata.generation = Some(0);
                    assert!(self.sets.insert(set.name_any(), *set).is_none(), "never the same set twice");
                }
                Action::Change { name, replicas, annotations, min_ready, .. } => {
                    let set = self.sets.get_mut(&name).unwrap();
                    let spec = set.spec.as_mut().unwrap();
                    spec.replicas = Some(replicas);
                    spec.min_ready_seconds = min_ready.or(spec.min_ready_seconds);
                    set.metadata.annotations.get_or_insert_default().extend(annotations);
                }
                Action::Delete(name) => drop(self.sets.remove(&name)),
                Action::Annotate(revision) => {
                    self.deployment
                        .metadata
                        .annotations
                        .get_or_insert_default()
                        .insert(super::sets::REVISION.into(), revision);
                }
            }
        }
        if let Some(status) = planned.status {
            self.deployment.status = Some(status);
        }
        !idle
    }

    /// The ReplicaSet controller and the node: pods follow the wanted size; of the new ones some become available.
    fn pods(&mut self, available: bool) {
        for set in self.sets.values_mut() {
            let wanted = set.spec.as_ref().unwrap().replicas.unwrap();
            let before = set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0);
            let now = if available { wanted } else { before.min(wanted) };
            set.status = Some(
                serde_json::from_value(json!({"replicas": wanted, "readyReplicas": now, "availableReplicas": now}))
                    .unwrap(),
            );
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            let acted = self.step();
            self.pods(true);
            if !acted && !self.step() {
                return;
            }
        }
        panic!("it never settles: {:?}", self.sizes());
    }

    fn sizes(&self) -> Vec<i32> {
        let mut sets: Vec<&ReplicaSet> = self.sets.values().collect();
        sets.sort_by_key(|set| set.creation_timestamp());
        sets.iter().map(|set| set.spec.as_ref().unwrap().replicas.unwrap()).collect()
    }

    fn total(&self) -> i32 {
        self.sizes().iter().sum()
    }

    fn available(&self) -> i32 {
        self.sets.values().filter_map(|set| set.status.as_ref()?.available_replicas).sum()
    }

    fn condition(&self, name: &str) -> (String, String) {
        let conditions = self.deployment.status.as_ref().unwrap().conditions.as_ref().unwrap();
        let found = conditions.iter().find(|c| c.type_ == name).unwrap();
        (found.status.clone(), found.reason.clone().unwrap_or_default())
    }

    fn roll_to(&mut self, image: &str) {
        self.change(|d| {
            d.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
        });
    }
}

#[test]
fn a_new_template_gets_a_set_of_its_own_and_the_old_one_is_kept_empty() {
    let mut cluster = Cluster::new(deployment(3, rolling(json!(1), json!(0)), "one"));
    cluster.settle();
    assert_eq!(cluster.sizes(), [3]);
    cluster.roll_to("two");
    cluster.settle();
    assert_eq!(cluster.sizes(), [0, 3]);
    assert_eq!(cluster.deployment.annotations()[super::sets::REVISION], "2");
    assert_eq!(cluster.condition("Progressing"), ("True".into(), "NewReplicaSetAvailable".into()));
}

#[test]
fn a_template_that_comes_back_gets_the_next_revision() {
    let mut cluster = Cluster::new(deployment(1, rolling(json!(1), json!(0)), "one"));
    cluster.settle();
    cluster.roll_to("two");
    cluster.settle();
    cluster.roll_to("one");
    cluster.settle();
    assert_eq!(cluster.sizes(), [1, 0]);
    assert_eq!(cluster.deployment.annotations()[super::sets::REVISION], "3");
}

#[test]
fn history_is_kept_up_to_its_limit() {
    let mut cluster = Cluster::new(deployment(1, rolling(json!(1), json!(0)), "zero"));
    for image in ["one", "two", "three", "four"] {
        cluster.settle();
        cluster.roll_to(image);
    }
    cluster.settle();
    assert_eq!(cluster.sets.len(), 3);
}

#[test]
fn recreate_waits_until_every_old_pod_is_gone() {
    let mut cluster = Cluster::new(deployment(2, json!({"type": "Recreate"}), "one"));
    cluster.settle();
    cluster.roll_to("two");
    cluster.step();
    assert_eq!(cluster.sizes(), [0]);
    cluster.step();
    assert_eq!(cluster.sets.len(), 1, "the old pods are still there");
    cluster.settle();
    assert_eq!(cluster.sizes(), [0, 2]);
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let mut cluster = Cluster::new(deployment(2, rolling(json!(1), json!(0)), "one"));
    cluster.settle();
    cluster.change(|d| d.spec.as_mut().unwrap().paused = Some(true));
    cluster.roll_to("two");
    cluster.change(|d| d.spec.as_mut().unwrap().replicas = Some(4));
    cluster.settle();
    assert_eq!(cluster.sizes(), [4]);
    cluster.change(|d| d.spec.as_mut().unwrap().paused = None);
    cluster.settle();
    assert_eq!(cluster.sizes(), [0, 4]);
}

#[test]
fn a_resize_in_the_middle_of_a_rollout_is_shared() {
    let mut cluster = Cluster::new(deployment(10, rolling(json!(3), json!(2)), "one"));
    cluster.settle();
    cluster.roll_to("two");
    for _ in 0..3 {
        cluster.step();
        cluster.pods(false);
    }
    assert_eq!(cluster.sizes(), [8, 5]);
    cluster.change(|d| d.spec.as_mut().unwrap().replicas = Some(15));
    cluster.step();
    assert_eq!(cluster.sizes(), [11, 7], "upstream's documented example");
}

#[test]
fn a_rollout_past_its_deadline_says_so_and_recovers() {
    let mut cluster = Cluster::new(deployment(1, rolling(json!(1), json!(0)), "one"));
    cluster.settle();
    cluster.roll_to("broken");
    for _ in 0..5 {
        cluster.step();
        cluster.pods(false);
    }
    cluster.seconds += 601;
    cluster.step();
    assert_eq!(cluster.condition("Progressing"), ("False".into(), "ProgressDeadlineExceeded".into()));
    assert_eq!(cluster.condition("Available").0, "True");
    cluster.change(|d| d.spec.as_mut().unwrap().paused = Some(true));
    cluster.step();
    assert_eq!(cluster.condition("Progressing").1, "ProgressDeadlineExceeded", "a pause does not hide it");
    cluster.change(|d| d.spec.as_mut().unwrap().paused = None);
    cluster.settle();
    assert_eq!(cluster.condition("Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn a_rollout_that_is_through_does_not_begin_again_when_pods_come_and_go() {
    let mut cluster = Cluster::new(deployment(3, rolling(json!(1), json!(0)), "one"));
    cluster.settle();
    let available = |cluster: &mut Cluster, count: i32| {
        let set = cluster.sets.values_mut().next().unwrap();
        set.status.as_mut().unwrap().available_replicas = Some(count);
        set.status.as_mut().unwrap().ready_replicas = Some(count);
    };
    for count in [0, 1, 2, 3] {
        available(&mut cluster, count);
        cluster.step();
        assert_eq!(cluster.condition("Progressing").1, "NewReplicaSetAvailable");
    }
}

#[test]
fn a_set_that_was_rolled_back_to_remembers_its_revisions_and_follows_min_ready_seconds() {
    let mut cluster = Cluster::new(deployment(1, rolling(json!(1), json!(0)), "one"));
    for image in ["two", "one", "two", "one"] {
        cluster.settle();
        cluster.roll_to(image);
    }
    cluster.settle();
    cluster.change(|d| d.spec.as_mut().unwrap().min_ready_seconds = Some(7));
    cluster.settle();
    let set = cluster.sets.values().find(|set| set.spec.as_ref().unwrap().replicas == Some(1)).unwrap();
    assert_eq!(set.annotations()[super::sets::REVISION], "5");
    assert_eq!(set.annotations()["deployment.kubernetes.io/revision-history"], "1,3");
    assert_eq!(set.spec.as_ref().unwrap().min_ready_seconds, Some(7));
}

#[test]
fn what_its_set_cannot_do_a_deployment_says_until_it_can() {
    let mut cluster = Cluster::new(deployment(1, rolling(json!(1), json!(0)), "one"));
    cluster.settle();
    let fails = |cluster: &mut Cluster, conditions: Value| {
        let set = cluster.sets.values_mut().next().unwrap();
        set.status.as_mut().unwrap().conditions = serde_json::from_value(conditions).unwrap();
        cluster.step();
    };
    let failure = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]);
    fails(&mut cluster, failure);
    assert_eq!(cluster.condition("ReplicaFailure"), ("True".into(), "FailedCreate".into()));
    fails(&mut cluster, json!([]));
    let status = cluster.deployment.status.as_ref().unwrap();
    assert!(status.conditions.iter().flatten().all(|condition| condition.type_ != "ReplicaFailure"));
    let refused = super::status::create_failed(&cluster.deployment, "web-x", &"no", Timestamp::UNIX_EPOCH);
    let progressing = refused.conditions.unwrap().into_iter().find(|c| c.type_ == "Progressing").unwrap();
    assert_eq!(progressing.message.unwrap(), "Failed to create new replica set \"web-x\": no");
}

#[test]
fn without_a_deadline_progress_is_not_judged() {
    let mut cluster = Cluster::new(deployment(1, rolling(json!(1), json!(0)), "one"));
    cluster.change(|d| d.spec.as_mut().unwrap().progress_deadline_seconds = Some(i32::MAX));
    cluster.settle();
    let status = cluster.deployment.status.as_ref().unwrap();
    assert!(status.conditions.iter().flatten().all(|condition| condition.type_ != "Progressing"));
}

#[test]
fn a_paused_deployment_still_forgets_old_history() {
    let mut cluster = Cluster::new(deployment(1, rolling(json!(1), json!(0)), "zero"));
    for image in ["one", "two", "three"] {
        cluster.settle();
        cluster.roll_to(image);
    }
    cluster.settle();
    cluster.change(|d| {
        let spec = d.spec.as_mut().unwrap();
        (spec.paused, spec.revision_history_limit) = (Some(true), Some(0));
    });
    cluster.settle();
    assert_eq!(cluster.sets.len(), 1);
}

proptest! {
    #[test]
    fn a_rollout_always_ends_and_never_leaves_its_bounds(
        replicas in 1..12i32, surge in 0..5i32, unavailable in 0..5i32, ready in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut cluster = Cluster::new(deployment(replicas, rolling(json!(surge), json!(unavailable)), "one"));
        cluster.settle();
        cluster.roll_to("two");
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        for ready in ready {
            cluster.step();
            prop_assert!(cluster.total() <= replicas + surge, "{:?}", cluster.sizes());
            cluster.pods(ready);
            prop_assert!(cluster.available() >= replicas - unavailable, "{:?}", cluster.sizes());
        }
        cluster.settle();
        prop_assert_eq!(cluster.sizes(), vec![0, replicas]);
    }
}
