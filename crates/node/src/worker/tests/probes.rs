//! Probes and postStart hooks.

use serde_json::{Value, json};

use super::{Bench, Program};

fn probe(name: &str, more: Value) -> Value {
    let mut probe = json!({"exec": {"command": ["probe", name]}, "periodSeconds": 5, "failureThreshold": 2});
    probe.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    probe
}

#[tokio::test(start_paused = true)]
async fn a_readiness_probe_takes_the_pod_in_and_out_of_service() {
    let readiness = probe("ready", json!({"initialDelaySeconds": 3, "successThreshold": 2}));
    let spec = json!({"containers": [{"name": "a", "image": "hello", "readinessProbe": readiness}]});
    let bench = Bench::with_commands(spec, &[], |_, second| (0, i32::from((20..40).contains(&second)))).await;
    assert_eq!((bench.status()["phase"].as_str(), bench.condition("Ready").as_str()), (Some("Running"), "False"));
    // Asked at 3 and 8: two successes.
    bench.pass(7).await;
    assert_eq!(bench.condition("Ready"), "False");
    bench.pass(1).await;
    assert_eq!(bench.condition("Ready"), "True");
    // It fails at 23 and 28.
    bench.pass(16).await;
    assert_eq!(bench.condition("Ready"), "True");
    bench.pass(5).await;
    assert_eq!(bench.condition("Ready"), "False");
    bench.pass(20).await;
    assert_eq!(bench.condition("Ready"), "True");
    assert_eq!(bench.events("Unhealthy"), ["23 Unhealthy: Readiness probe failed: output (x4)"]);
    assert_eq!(bench.happened(), ["0 a started"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_liveness_probe_restarts_the_container_with_the_probes_own_grace() {
    let liveness = probe("live", json!({"terminationGracePeriodSeconds": 4}));
    let spec = json!({"containers": [{"name": "a", "image": "hello", "livenessProbe": liveness}]});
    let bench =
        Bench::with_commands(spec, &[("a", Program::slow(None))], |_, second| (0, i32::from(second >= 10))).await;
    bench.pass(25).await;
    assert_eq!(bench.happened()[..4], ["0 a started", "15 a signal 15", "19 a ended 137", "19 a started"]);
    assert_eq!(bench.events("Killing"), ["15 Killing: Container a failed liveness probe, will be restarted"]);
}

#[tokio::test(start_paused = true)]
async fn the_other_probes_wait_for_the_startup_probe() {
    let startup = probe("start", json!({"failureThreshold": 10}));
    let spec = json!({"containers": [{"name": "a", "image": "hello", "startupProbe": startup,
        "livenessProbe": probe("live", json!({"failureThreshold": 1})), "readinessProbe": probe("ready", json!({}))}]});
    // Until it has started, liveness would fail.
    let bench = Bench::with_commands(spec, &[], |_, second| (0, i32::from(second < 30))).await;
    bench.pass(29).await;
    assert_eq!(bench.status()["containerStatuses"][0]["started"], false);
    bench.pass(2).await;
    assert_eq!(bench.status()["containerStatuses"][0]["started"], true);
    assert_eq!(bench.condition("Ready"), "True");
    assert_eq!(bench.happened(), ["0 a started"]);
}

#[tokio::test(start_paused = true)]
async fn a_startup_probe_that_never_passes_restarts_the_container() {
    let startup = probe("start", json!({"failureThreshold": 3}));
    let spec = json!({"containers": [{"name": "a", "image": "hello", "startupProbe": startup}]});
    let bench = Bench::with_commands(spec, &[], |_, _| (0, 1)).await;
    bench.pass(15).await;
    assert_eq!(bench.happened(), ["0 a started", "15 a signal 15", "15 a ended 0", "15 a started"]);
    assert_eq!(bench.events("Killing"), ["15 Killing: Container a failed startup probe, will be restarted"]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_takes_too_long_has_failed() {
    let liveness = probe("live", json!({"timeoutSeconds": 2, "failureThreshold": 1}));
    let spec = json!({"containers": [{"name": "a", "image": "hello", "livenessProbe": liveness}]});
    let bench = Bench::with_commands(spec, &[], |_, second| (if second < 5 { 0 } else { 100 }, 0)).await;
    bench.pass(7).await;
    assert_eq!(bench.happened()[..2], ["0 a started", "7 a signal 15"]);
    assert!(bench.events("Unhealthy")[0].contains("timed out after 2s"), "{:?}", bench.events("Unhealthy"));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_coracle_neither_forgets_readiness_nor_delays_probes_again() {
    let readiness = probe("ready", json!({"initialDelaySeconds": 60}));
    let spec = json!({"containers": [{"name": "a", "image": "hello", "readinessProbe": readiness}]});
    let mut bench = Bench::with_commands(spec, &[], |_, second| (0, i32::from(second >= 70))).await;
    bench.pass(61).await;
    assert_eq!(bench.condition("Ready"), "True");
    bench.restart().await;
    assert_eq!(bench.condition("Ready"), "True");
    bench.pass(20).await;
    assert_eq!(bench.condition("Ready"), "False");
}

#[tokio::test(start_paused = true)]
async fn a_post_start_hook_holds_the_next_container_and_a_failed_one_ends_its_own() {
    let hook = |command: &str| json!({"postStart": {"exec": {"command": [command]}}});
    let spec = |command| json!({"containers": [{"name": "a", "image": "hello", "lifecycle": hook(command)}, {"name": "b", "image": "hello"}]});
    let command = |words: &str, _| if words == "good" { (10, 0) } else { (5, 1) };
    let good = Bench::with_commands(spec("good"), &[], command).await;
    good.pass(5).await;
    assert_eq!(
        (good.state(0), good.status()["phase"].as_str()),
        ("waiting ContainerCreating".to_owned(), Some("Pending"))
    );
    good.pass(10).await;
    assert_eq!(good.happened(), ["0 a started", "0 a runs good", "10 b started"]);
    assert_eq!(good.state(0), "running");

    let bad = Bench::with_commands(spec("bad"), &[], command).await;
    bad.pass(5).await;
    assert_eq!(bad.happened()[2..4], ["5 a signal 15", "5 a ended 0"]);
    assert_eq!(bad.events("FailedPostStartHook"), ["5 FailedPostStartHook: PostStartHook failed: output"]);
    assert_eq!(bad.events("Killing"), ["5 Killing: FailedPostStartHook"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_comes_up_is_known_to_be_ready_long_before_the_next_period() {
    let readiness = probe("ready", json!({"periodSeconds": 60, "failureThreshold": 1}));
    let spec = json!({"containers": [{"name": "a", "image": "hello", "readinessProbe": readiness}]});
    let bench = Bench::with_commands(spec, &[], |_, second| (0, i32::from(second < 2))).await;
    bench.pass(4).await;
    assert_eq!(bench.condition("Ready"), "True");
    assert_eq!(bench.events("Unhealthy"), [""; 0]);

    // What is asked in between counts for nothing when it fails.
    let startup = probe("start", json!({"periodSeconds": 60, "failureThreshold": 2}));
    let spec = json!({"containers": [{"name": "a", "image": "hello", "startupProbe": startup}]});
    let slow = Bench::with_commands(spec, &[], |_, _| (0, 1)).await;
    slow.pass(119).await;
    assert_eq!(slow.happened(), ["0 a started"]);
    slow.pass(1).await;
    assert_eq!(slow.happened()[1], "120 a signal 15");
}
