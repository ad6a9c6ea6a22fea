//! Deletion: grace, hooks, order.

use std::time::Duration;

use serde_json::json;

use super::{Bench, Program, passes};

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_gets_its_grace_then_is_killed_and_goes() {
    let bench =
        Bench::new(json!({"containers": [{"name": "a", "image": "hello"}]}), &[("a", Program::slow(None))]).await;
    bench.delete(20);
    bench.pass(30).await;
    assert_eq!(bench.happened(), ["0 a started", "0 a signal 15", "20 a ended 137", "20 sandbox removed"]);
    assert_eq!(bench.events("Killing"), ["0 Killing: Stopping container a"]);
    assert!(bench.worker.is_finished());
    let status = bench.status();
    assert_eq!(status["phase"], "Failed");
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 137);
    assert!(!bench.context.data_dir.join("volumes/u").exists());
}

#[tokio::test(start_paused = true)]
async fn a_pre_stop_hook_comes_before_the_signal_and_out_of_the_same_grace() {
    let spec = |command| {
        let lifecycle = json!({"preStop": {"exec": {"command": [command]}}});
        json!({"containers": [{"name": "a", "image": "hello", "lifecycle": lifecycle}]})
    };
    let command = |words: &str, _| (if words == "quick" { 5 } else { 100 }, 0);
    let quick = Bench::with_commands(spec("quick"), &[("a", Program::slow(None))], command).await;
    quick.delete(30);
    quick.pass(40).await;
    assert_eq!(quick.happened()[1..4], ["0 a runs quick", "5 a signal 15", "30 a ended 137"]);
    assert!(quick.events("FailedPreStopHook").is_empty());

    // A hook that uses all of it leaves two seconds to end in.
    let slow = Bench::with_commands(spec("slow"), &[("a", Program::slow(None))], command).await;
    slow.delete(30);
    slow.pass(40).await;
    assert_eq!(slow.happened()[1..4], ["0 a runs slow", "30 a signal 15", "32 a ended 137"]);
    assert_eq!(slow.events("FailedPreStopHook").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_deletion_can_shorten_the_grace_but_not_lengthen_it() {
    let bench =
        Bench::new(json!({"containers": [{"name": "a", "image": "hello"}]}), &[("a", Program::slow(None))]).await;
    bench.delete(60);
    bench.pass(10).await;
    bench.delete(5);
    bench.pass(1).await;
    bench.delete(100);
    bench.pass(10).await;
    assert_eq!(bench.happened()[2..], ["15 a ended 137", "15 sandbox removed"]);
}

#[tokio::test(start_paused = true)]
async fn sidecars_end_after_the_containers_last_first_within_the_pods_grace() {
    let side = |name: &str| {
        let lifecycle = json!({"preStop": {"exec": {"command": ["hook", name]}}});
        json!({"name": name, "image": "hello", "restartPolicy": "Always", "lifecycle": lifecycle})
    };
    let spec = json!({"initContainers": [side("s1"), side("s2")], "containers": [{"name": "a", "image": "hello"}]});
    let bench = Bench::new(spec.clone(), &[("a", Program::slow(Some(5))), ("s2", Program::slow(Some(2)))]).await;
    bench.delete(30);
    bench.pass(40).await;
    let mut hooks = bench.happened()[3..6].to_vec();
    hooks.sort();
    assert_eq!(hooks, ["0 a signal 15", "0 s1 runs hook s1", "0 s2 runs hook s2"]);
    assert_eq!(
        bench.happened()[6..],
        ["5 a ended 0", "5 s2 signal 15", "7 s2 ended 0", "7 s1 signal 15", "7 s1 ended 0", "7 sandbox removed"]
    );

    // When the grace is over nobody waits for a turn any more.
    let stuck = Bench::new(spec, &[("a", Program::slow(None)), ("s2", Program::slow(None))]).await;
    stuck.delete(10);
    stuck.pass(20).await;
    let mut happened = stuck.happened()[6..].to_vec();
    happened.sort();
    assert_eq!(
        happened,
        [
            "10 a ended 137",
            "10 s1 ended 0",
            "10 s1 signal 15",
            "10 s2 signal 15",
            "12 s2 ended 137",
            "12 sandbox removed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_deleted_before_it_began_goes_at_once() {
    let bench = Bench::new(json!({"containers": [{"name": "a", "image": "nowhere"}]}), &[]).await;
    bench.delete(30);
    bench.pass(0).await;
    assert!(bench.worker.is_finished());
    assert_eq!(bench.happened(), ["0 sandbox removed"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_deleted_by_force_is_told_to_end_and_gets_two_seconds() {
    let spec = json!({"containers": [{"name": "a", "image": "hello"}]});
    for (heeds, ends) in [(Some(1), vec!["1 a ended 0", "1 sandbox removed"]), (None, vec!["2 sandbox removed"])] {
        let bench = Bench::new(spec.clone(), &[("a", Program::slow(heeds))]).await;
        bench.api.remove();
        bench.pass(10).await;
        assert!(bench.worker.is_finished());
        assert_eq!(bench.happened(), [vec!["0 a started", "0 a signal 15"], ends].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_coracle_goes_on_with_a_deletion() {
    let bench =
        Bench::new(json!({"containers": [{"name": "a", "image": "hello"}]}), &[("a", Program::slow(None))]).await;
    let mut bench = bench;
    bench.delete(20);
    bench.pass(5).await;
    bench.restart().await;
    bench.pass(30).await;
    assert!(bench.worker.is_finished());
    assert_eq!(bench.happened().last().unwrap(), "25 sandbox removed");
}

#[tokio::test(start_paused = true)]
async fn liveness_no_longer_counts_while_readiness_still_does() {
    let probe = json!({"exec": {"command": ["probe"]}, "periodSeconds": 1, "failureThreshold": 1});
    let spec =
        json!({"containers": [{"name": "a", "image": "hello", "livenessProbe": probe, "readinessProbe": probe}]});
    let bench =
        Bench::with_commands(spec, &[("a", Program::slow(Some(10)))], |_, second| (0, i32::from(second > 5))).await;
    bench.pass(2).await;
    bench.delete(30);
    bench.pass(20).await;
    assert_eq!(bench.events("Killing"), ["2 Killing: Stopping container a"]);
    assert!(bench.api.events().iter().all(|event| !event.contains("Liveness")));
    assert_eq!(bench.happened()[1..3], ["2 a signal 15", "12 a ended 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_in_service_is_told_to_end_only_when_no_slice_names_it_any_more() {
    let slice = |ready: bool| {
        json!({"metadata": {"name": "s", "namespace": "n"}, "addressType": "IPv4", "endpoints": [
            {"addresses": ["127.0.0.1"], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "uid": "u"}}]})
    };
    let spec = json!({"containers": [{"name": "a", "image": "hello"}]});
    let mut bench = Bench::new(spec.clone(), &[]).await;
    bench.given.slice(slice(true));
    bench.delete(30);
    bench.pass(1).await;
    assert_eq!(bench.happened(), ["0 a started"]);
    assert_eq!(bench.condition("Ready"), "True");
    bench.given.slice(slice(false));
    bench.pass(1).await;
    assert_eq!(bench.happened()[1..], ["1 a signal 15", "1 a ended 0", "1 sandbox removed"]);

    // When the slices knew first, those who route by them get a moment.
    let mut quick = Bench::new(spec.clone(), &[]).await;
    quick.given.slice(slice(false));
    quick.delete(30);
    passes(Duration::from_millis(90)).await;
    assert_eq!(quick.happened().len(), 1);
    passes(Duration::from_millis(20)).await;
    assert_eq!(quick.happened()[1], "0 a signal 15");

    // Nobody waits for ever, and not at all where no grace is given.
    for (grace, second) in [(30, 2), (0, 0)] {
        let mut stuck = Bench::new(spec.clone(), &[]).await;
        stuck.given.slice(slice(true));
        stuck.delete(grace);
        stuck.pass(5).await;
        assert_eq!(stuck.happened()[1], format!("{second} a signal 15"));
    }
}
