//! Rounds over small worlds: who is bound, who waits, who goes.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    plan::{Decision, Said, World, plan},
    unschedulable,
};

/// One node of four CPUs that takes six pods.
fn node() -> Node {
    let status = json!({"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "4", "pods": "6"}});
    serde_json::from_value(json!({"metadata": {"name": "node"}, "spec": {}, "status": status})).unwrap()
}

/// A pod of a priority that requests CPU in thousandths; it runs on the node, or waits.
fn pod(name: &str, priority: i32, cpu: u32, runs: bool) -> Pod {
    with(name, priority, cpu, runs, &json!({}))
}

fn with(name: &str, priority: i32, cpu: u32, runs: bool, extra: &Value) -> Pod {
    let containers = json!([{"name": "c", "resources": {"requests": {"cpu": format!("{cpu}m")}}}]);
    let mut value = json!({"metadata": {"name": name, "uid": name, "namespace": "n", "labels": {"app": name},
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"priority": priority, "containers": containers, "nodeName": runs.then_some("node")},
        "status": {"phase": if runs { "Running" } else { "Pending" }}});
    objects::patch::merge_patch(&mut value, extra);
    serde_json::from_value(value).unwrap()
}

fn budget(app: &str, allowed: i32) -> PodDisruptionBudget {
    serde_json::from_value(json!({"metadata": {"name": app, "namespace": "n"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}}))
    .unwrap()
}

/// What a round decides, a line for each pod that waits: `a binds`, or `a waits (on node) for x, y: why`.
fn round(pods: &[Pod], budgets: &[PodDisruptionBudget]) -> Vec<String> {
    let node = node();
    let world = World {
        nodes: vec![&node],
        pods: pods.iter().collect(),
        budgets: budgets.iter().collect(),
        bound: &HashMap::new(),
        said: &HashMap::new(),
        told: &HashSet::new(),
        now: Timestamp::UNIX_EPOCH,
    };
    plan(&world).iter().map(line).collect()
}

fn line(decision: &Decision<'_>) -> String {
    match decision {
        Decision::Bind(pod, _) => format!("{} binds", pod.name_any()),
        Decision::Wait { pod, said: Said { message, nominated }, victims } => {
            let victims: Vec<String> = victims.iter().map(|pod| pod.name_any()).collect();
            let place = nominated.as_ref().map(|node| format!(" on {node} for [{}]", victims.join(", ")));
            format!("{} waits{}: {message}", pod.name_any(), place.unwrap_or_default())
        }
    }
}

const NOBODY: &str = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
const FULL: &str = "0/1 nodes are available: 1 Insufficient cpu.";

#[test]
fn room_goes_to_the_most_important_pod_and_then_to_the_oldest() {
    let older = json!({"metadata": {"creationTimestamp": "2025-01-01T00:00:00Z"}});
    let pods = [
        pod("late", 0, 1500, false),
        with("early", 0, 1500, false, &older),
        pod("high", 9, 1500, false),
        pod("small", -1, 1000, false),
    ];
    let expected = ["high binds", "early binds", &format!("late waits: {FULL} {NOBODY}"), "small binds"];
    // The small one is less important than the one that waits, but takes nothing that it could have.
    assert_eq!(round(&pods, &[]), expected);
}

#[test]
fn a_pod_waits_since_it_began_to_whatever_for() {
    let said = |status: &str, since: Value| json!({"status": {"conditions": [{"type": "PodScheduled", "status": status, "lastTransitionTime": since}]}});
    let now = Timestamp::from_second(60).unwrap();
    let since = |extra: &Value| {
        let condition = unschedulable(&with("a", 0, 1, false, extra), FULL, now);
        assert_eq!((&condition["status"], &condition["message"]), (&json!("False"), &json!(FULL)));
        condition["lastTransitionTime"].clone()
    };
    let earlier = json!("1970-01-01T00:00:05Z");
    assert_eq!(since(&said("False", earlier.clone())), earlier);
    for another in [json!({}), said("True", earlier), said("False", Value::Null)] {
        assert_eq!(since(&another), "1970-01-01T00:01:00Z");
    }
}

#[test]
fn the_fewest_and_least_important_pods_go() {
    let pods = [pod("a", 1, 2000, true), pod("b", 2, 1000, true), pod("c", 5, 1000, true), pod("new", 5, 2000, false)];
    assert_eq!(round(&pods, &[]), [format!("new waits on node for [a]: {FULL}")]);
    // Equals stay, and so does whoever fits beside the new one.
    let pods = [pod("a", 1, 500, true), pod("b", 2, 1500, true), pod("c", 3, 2000, true), pod("new", 4, 1500, false)];
    assert_eq!(round(&pods, &[]), [format!("new waits on node for [b]: {FULL}")]);
}

#[test]
fn among_equals_the_youngest_go_first() {
    let since = |time: &str| json!({"status": {"startTime": time}});
    let pods = [
        with("old", 0, 2000, true, &since("1969-01-01T00:00:00Z")),
        with("young", 0, 2000, true, &since("1969-06-01T00:00:00Z")),
        pod("new", 1, 2000, false),
    ];
    assert_eq!(round(&pods, &[]), [format!("new waits on node for [young]: {FULL}")]);
}

#[test]
fn pods_that_a_budget_keeps_go_last() {
    let pods = [pod("a", 0, 2000, true), pod("b", 1, 2000, true), pod("new", 9, 2000, false)];
    assert_eq!(round(&pods, &[budget("a", 0)]), [format!("new waits on node for [b]: {FULL}")]);
    assert_eq!(round(&pods, &[budget("a", 1)]), [format!("new waits on node for [a]: {FULL}")]);
    // Where all are kept, priority decides again.
    assert_eq!(round(&pods, &[budget("a", 0), budget("b", 0)]), [format!("new waits on node for [a]: {FULL}")]);
}

#[test]
fn who_may_not_or_cannot_make_others_go_says_so() {
    let low = pod("low", 0, 4000, true);
    let meek = with("new", 9, 1000, false, &json!({"spec": {"preemptionPolicy": "Never"}}));
    let why = "preemption: not eligible due to preemptionPolicy=Never.";
    assert_eq!(round(&[low.clone(), meek], &[]), [format!("new waits: {FULL} {why}")]);
    // No node is large enough.
    let huge = pod("new", 9, 5000, false);
    let why = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    assert_eq!(round(&[low.clone(), huge], &[]), [format!("new waits: {FULL} {why}")]);
    // What would have to go is more important.
    let pods = [pod("top", 9, 3000, true), pod("low", 0, 500, true), pod("new", 5, 2000, false)];
    let why = "preemption: 0/1 nodes are available: 1 Insufficient cpu.";
    assert_eq!(round(&pods, &[]), [format!("new waits: {FULL} {why}")]);
}

#[test]
fn the_room_that_is_made_for_a_pod_is_not_given_to_a_lesser_one() {
    let ends = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"conditions":
        [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}});
    let expected = json!({"status": {"nominatedNodeName": "node"}});
    let waits = [
        with("victim", 0, 3000, true, &ends),
        with("high", 9, 3000, false, &expected),
        pod("low", 1, 1000, false),
        pod("middle", 5, 2000, false),
    ];
    let wait = "preemption: not eligible due to a terminating pod on the nominated node.";
    let no_room = "preemption: 0/1 nodes are available: 1 Insufficient cpu.";
    // The least important one is to have what is left beside it, once that is free.
    let expected = [
        format!("high waits on node for []: {FULL} {wait}"),
        format!("middle waits: {FULL} {no_room}"),
        format!("low waits on node for []: {FULL}"),
    ];
    assert_eq!(round(&waits, &[]), expected);
    let mut gone = waits.to_vec();
    gone.remove(0);
    let expected = ["high binds", &format!("middle waits: {FULL} {NOBODY}"), "low binds"];
    assert_eq!(round(&gone, &[]), expected);
}

#[test]
fn nobody_goes_for_room_that_comes_anyway() {
    let ends = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let pods = [with("ending", 3, 2000, true, &ends), pod("low", 0, 2000, true), pod("new", 9, 2000, false)];
    assert_eq!(round(&pods, &[]), [format!("new waits on node for []: {FULL}")]);
}

#[test]
fn two_that_need_room_do_not_count_on_the_same() {
    let pods =
        [pod("a", 0, 2000, true), pod("b", 1, 2000, true), pod("first", 9, 2000, false), pod("second", 8, 2000, false)];
    let expected = [format!("first waits on node for [a]: {FULL}"), format!("second waits on node for [b]: {FULL}")];
    assert_eq!(round(&pods, &[]), expected);
}

#[test]
fn what_was_decided_a_moment_ago_counts_before_it_is_seen() {
    let (node, pods) = (node(), [pod("a", 0, 3000, false), pod("b", 0, 3000, false), pod("c", 0, 3000, true)]);
    let bound = HashMap::from([("a".to_owned(), "node".to_owned())]);
    let told = HashSet::from(["c".to_owned()]);
    let mut world = World {
        nodes: vec![&node],
        pods: pods.iter().collect(),
        budgets: Vec::new(),
        bound: &bound,
        said: &HashMap::new(),
        told: &told,
        now: Timestamp::UNIX_EPOCH,
    };
    assert!(plan(&world).iter().map(line).all(|line| line.starts_with("b waits: ")));
    let high = pod("high", 9, 3000, false);
    let nothing = HashMap::new();
    (world.pods, world.bound) = (vec![&high, &pods[2]], &nothing);
    assert_eq!(plan(&world).iter().map(line).collect::<Vec<_>>(), [format!("high waits on node for []: {FULL}")]);
}

/// Whether pods fit on the node together.
fn together<'a>(pods: impl Iterator<Item = &'a Pod>) -> bool {
    let (mut count, mut millis) = (0, 0);
    for pod in pods {
        count += 1;
        millis += objects::resources::requests(pod.spec.as_ref().unwrap())["cpu"].millis();
    }
    count <= 6 && millis <= 4000
}

proptest! {
    #[test]
    fn only_lesser_pods_go_no_more_than_needed_and_always_the_same(
        running in prop::collection::vec((0..4_i32, 1..15_u32), 0..7),
        (priority, cpu) in (0..5_i32, 1..45_u32),
        kept in prop::collection::vec(any::<bool>(), 7),
    ) {
        let mut pods: Vec<Pod> = Vec::new();
        for (at, (priority, cpu)) in running.iter().enumerate() {
            let next = pod(&format!("p{at}"), *priority, cpu * 100, true);
            if together(pods.iter().chain([&next])) {
                pods.push(next);
            }
        }
        let budgets: Vec<PodDisruptionBudget> = kept.iter().enumerate().filter(|(_, kept)| **kept)
            .map(|(at, _)| budget(&format!("p{at}"), 0)).collect();
        let new = pod("new", priority, cpu * 100, false);
        let all: Vec<Pod> = pods.iter().cloned().chain([new.clone()]).collect();
        let node = node();
        let (nothing, unsaid, untold) = (HashMap::new(), HashMap::new(), HashSet::new());
        let decide = |all: Vec<&Pod>| {
            let world = World { nodes: vec![&node], pods: all, budgets: budgets.iter().collect(), bound: &nothing,
                said: &unsaid, told: &untold, now: Timestamp::UNIX_EPOCH };
            let decisions = plan(&world);
            match &decisions[..] {
                [Decision::Bind(..)] => None,
                [Decision::Wait { said, victims, .. }] => {
                    let names: BTreeSet<String> = victims.iter().map(|pod| pod.name_any()).collect();
                    Some((said.nominated.is_some(), names))
                }
                other => panic!("{other:?}"),
            }
        };
        let decided = decide(all.iter().collect());
        prop_assert_eq!(&decided, &decide(all.iter().rev().collect()), "the order of the pods says nothing");
        let fits_with = |gone: &BTreeSet<String>| {
            together(pods.iter().filter(|pod| !gone.contains(&pod.name_any())).chain([&new]))
        };
        match decided {
            None => prop_assert!(fits_with(&BTreeSet::new())),
            Some((false, victims)) => {
                prop_assert!(victims.is_empty());
                let lesser = |pod: &&Pod| pod.spec.as_ref().unwrap().priority.unwrap() < priority;
                let all_lesser: BTreeSet<String> = pods.iter().filter(lesser).map(|pod| pod.name_any()).collect();
                prop_assert!(!fits_with(&all_lesser), "there was a way");
            }
            Some((true, victims)) => {
                prop_assert!(!victims.is_empty() && fits_with(&victims));
                for name in &victims {
                    let victim = pods.iter().find(|pod| pod.name_any() == *name).unwrap();
                    prop_assert!(victim.spec.as_ref().unwrap().priority.unwrap() < priority);
                    let mut spared = victims.clone();
                    spared.remove(name);
                    prop_assert!(!fits_with(&spared), "{} need not have gone", name);
                }
            }
        }
    }
}
