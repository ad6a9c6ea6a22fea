//! Floods in simulated time, and the kubelet's order and words.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    plan::{Manager, Reading, Readings, refuses},
    rank::{Candidate, message, rank},
    settings::{Given, Options, Pressure, Signal},
};

const MIB: u64 = 1 << 20;

fn memory(available: u64) -> Readings {
    Readings::from([(Signal::Memory, Reading { available: available * MIB, capacity: 1000 * MIB })])
}

fn manager(soft: &str, grace: &str, reclaim: &str) -> Manager {
    let text = str::to_owned;
    let given =
        Given { soft: text(soft), soft_grace_period: text(grace), minimum_reclaim: text(reclaim), ..Given::default() };
    Manager::new(Options::read(&given).unwrap())
}

/// A pod that uses so much, in MiB, of each container's requests.
fn pod(name: &str, priority: i32, containers: &[(u64, u64)]) -> Candidate {
    let specs: Vec<Value> = containers
        .iter()
        .enumerate()
        .map(|(at, (request, _))| json!({"name": format!("c{at}"), "resources": {"requests": {"memory": format!("{request}Mi")}}}))
        .collect();
    let pod = json!({"metadata": {"name": name, "uid": name, "namespace": "n"}, "spec": {"priority": priority, "containers": specs}});
    let used: Vec<(String, u64)> =
        containers.iter().enumerate().map(|(at, (_, used))| (format!("c{at}"), used * MIB)).collect();
    Candidate {
        pod: Arc::new(serde_json::from_value(pod).unwrap()),
        used: used.iter().map(|(_, used)| used).sum(),
        containers: used,
    }
}

fn names(pods: Vec<Candidate>) -> Vec<String> {
    rank(pods, Signal::Memory).iter().map(|candidate| candidate.pod.name_any()).collect()
}

#[test]
fn a_hard_limit_holds_at_once_and_the_condition_stays_for_the_transition() {
    let (mut manager, start) = (manager("", "", ""), Instant::now());
    let mut judge = |second: u64, available: u64| {
        let verdict = manager.judge(&memory(available), start + Duration::from_secs(second));
        (!verdict.pressures.is_empty(), verdict.shortage.is_some())
    };
    assert_eq!(judge(0, 100), (false, false), "as much as is to be free");
    assert_eq!(judge(10, 99), (true, true));
    assert_eq!(judge(20, 500), (true, false));
    assert_eq!(judge(309, 500), (true, false));
    assert_eq!(judge(310, 500), (false, false));
}

#[test]
fn a_soft_limit_waits_for_its_grace_period_and_starts_again_when_it_was_kept() {
    let (mut manager, start) = (manager("memory.available<300Mi", "memory.available=1m", ""), Instant::now());
    let mut judge = |second: u64, available: u64| {
        let verdict = manager.judge(&memory(available), start + Duration::from_secs(second));
        (!verdict.pressures.is_empty(), verdict.shortage.map(|shortage| shortage.threshold.grace.is_some()))
    };
    assert_eq!(judge(0, 200), (true, None));
    assert_eq!(judge(50, 200), (true, None));
    assert_eq!(judge(55, 400), (true, None));
    assert_eq!(judge(60, 200), (true, None));
    assert_eq!(judge(120, 200), (true, Some(true)));
    // What may not wait goes before what may.
    assert_eq!(judge(130, 50), (true, Some(false)));
}

#[test]
fn eviction_goes_on_until_as_much_is_free_as_is_to_be_reclaimed() {
    let (mut manager, start) = (manager("", "", "memory.available=50Mi"), Instant::now());
    let mut short = |second: u64, available: u64| {
        manager.judge(&memory(available), start + Duration::from_secs(second)).shortage.is_some()
    };
    assert!(!short(0, 120));
    assert!(short(10, 90));
    assert!(short(20, 120), "not yet reclaimed");
    assert!(!short(30, 150));
    assert!(!short(40, 120));
}

#[test]
fn what_is_not_known_evicts_nobody() {
    let verdict = manager("", "", "").judge(&Readings::new(), Instant::now());
    assert_eq!((verdict.pressures, verdict.shortage), (BTreeSet::new(), None));
}

#[test]
fn memory_is_reclaimed_before_disk_space() {
    let mut readings = memory(10);
    readings.insert(Signal::Disk, Reading { available: 0, capacity: 1 << 40 });
    let verdict = manager("", "", "").judge(&readings, Instant::now());
    assert_eq!(verdict.shortage.unwrap().threshold.signal, Signal::Memory);
    assert_eq!(verdict.pressures, BTreeSet::from([Pressure::Memory, Pressure::Disk]));
}

#[test]
fn who_uses_more_than_was_asked_for_goes_first_then_the_least_important_then_the_furthest_above() {
    let pods = vec![
        pod("guaranteed", 0, &[(400, 390)]),
        pod("far-above", 5, &[(100, 390)]),
        pod("besteffort-small", 0, &[(0, 10)]),
        pod("besteffort-large", 0, &[(0, 50)]),
        pod("within-and-lowly", -5, &[(400, 10)]),
        pod("critical", 2_000_000_000, &[(0, 900)]),
    ];
    let expected = ["besteffort-large", "besteffort-small", "far-above", "within-and-lowly", "guaranteed"];
    assert_eq!(names(pods), expected);
}

#[test]
fn pods_that_are_ending_already_are_not_told_again() {
    let mut going = pod("going", 0, &[(0, 100)]);
    Arc::make_mut(&mut going.pod).metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(names(vec![going, pod("other", 0, &[(0, 1)])]), ["other"]);
}

#[test]
fn the_message_is_the_kubelets() {
    let shortage = manager("", "", "").judge(&memory(60), Instant::now()).shortage.unwrap();
    let said = message(&pod("p", 0, &[(0, 60), (100, 70), (10, 20)]), &shortage);
    assert_eq!(
        said,
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 60Mi. Container c0 was using 60Mi, request \
         is 0, has larger consumption of memory. Container c2 was using 20Mi, request is 10Mi, has larger consumption of memory. "
    );
}

#[test]
fn pods_that_promised_nothing_are_kept_out_while_memory_is_short() {
    let memory = BTreeSet::from([Pressure::Memory]);
    let both = BTreeSet::from([Pressure::Memory, Pressure::Disk]);
    assert_eq!(refuses(&memory, false, true, false).unwrap(), "The node had condition: [MemoryPressure]. ");
    assert_eq!(refuses(&memory, false, false, false), None);
    assert_eq!(refuses(&memory, false, true, true), None);
    assert_eq!(refuses(&both, true, true, false), None, "what the machine needs runs");
    let said = refuses(&both, false, false, true).unwrap();
    assert_eq!(said, "The node had condition: [MemoryPressure DiskPressure]. ");
    assert_eq!(refuses(&BTreeSet::new(), false, true, false), None);
}

/// Ten looks at a machine whose pods grow until somebody is told to go: in which order they go.
#[test]
fn a_flood_takes_the_pods_that_cause_it_and_leaves_the_others() {
    let mut manager = manager("", "", "");
    let start = Instant::now();
    let mut pods = vec![pod("database", 100, &[(300, 280)]), pod("web", 10, &[(100, 80)])];
    let mut evicted = Vec::new();
    for round in 0..40_u64 {
        // Somebody's batch job takes another 60 MiB every ten seconds.
        if round % 4 == 0 {
            pods.push(pod(&format!("batch{round}"), 0, &[(10, 60)]));
        }
        for candidate in pods.iter_mut().filter(|candidate| candidate.pod.name_any().starts_with("batch")) {
            candidate.used += 30 * MIB;
        }
        let used: u64 = pods.iter().map(|candidate| candidate.used / MIB).sum();
        let available = 1000_u64.saturating_sub(100).saturating_sub(used);
        let verdict = manager.judge(&memory(available), start + Duration::from_secs(10 * round));
        if verdict.shortage.is_some() {
            let first = rank(pods.clone(), Signal::Memory).first().unwrap().pod.name_any();
            pods.retain(|candidate| candidate.pod.name_any() != first);
            evicted.push(first);
        }
    }
    assert!(evicted.len() > 3, "{evicted:?}");
    assert!(evicted.iter().all(|name| name.starts_with("batch")), "{evicted:?}");
    assert!(pods.iter().any(|candidate| candidate.pod.name_any() == "database"));
}

proptest! {
    #[test]
    fn who_stays_within_requests_outlives_all_who_do_not(
        all in prop::collection::vec((-3..3_i32, 0..50_u64, 0..100_u64), 0..20),
    ) {
        let pods: Vec<Candidate> =
            all.iter().enumerate().map(|(at, (priority, request, used))| pod(&format!("p{at:02}"), *priority, &[(*request, *used)])).collect();
        let ranked = rank(pods.clone(), Signal::Memory);
        prop_assert_eq!(ranked.len(), pods.len());
        let above = |candidate: &Candidate| {
            let at: usize = candidate.pod.name_any()[1..].parse().unwrap();
            all[at].2 > all[at].1
        };
        prop_assert!(ranked.is_sorted_by_key(|candidate| !above(candidate)));
        let priority = |pod: &Pod| pod.spec.as_ref().unwrap().priority.unwrap();
        for pair in ranked.windows(2).filter(|pair| above(&pair[0]) == above(&pair[1])) {
            prop_assert!(priority(&pair[0].pod) <= priority(&pair[1].pod));
        }
        let again: Vec<Candidate> = pods.into_iter().rev().collect();
        prop_assert_eq!(names(again), ranked.iter().map(|candidate| candidate.pod.name_any()).collect::<Vec<_>>());
    }
}
