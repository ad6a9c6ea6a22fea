//! Starting, restarting and ending by themselves.

use serde_json::{Value, json};

use super::{Bench, Program};

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_says_so() {
    let bench = Bench::new(json!({"containers": [{"name": "a", "image": "hello"}]}), &[]).await;
    assert_eq!(bench.happened(), ["0 a started"]);
    assert_eq!((bench.status()["phase"].as_str(), bench.condition("Ready").as_str()), (Some("Running"), "True"));
    assert_eq!(
        bench.api.events(),
        [
            "0 Pulled: Container image \"hello\" already present on machine",
            "0 Created: Created container: a",
            "0 Started: Started container a"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_backs_off_to_five_minutes_and_a_long_run_ends_it() {
    let bench =
        Bench::new(json!({"containers": [{"name": "a", "image": "hello"}]}), &[("a", Program::ends(1, 3))]).await;
    bench.pass(2000).await;
    let happened = bench.happened();
    let starts: Vec<&str> = happened.iter().filter_map(|line| line.strip_suffix(" a started")).collect();
    // Runs of a second, and pauses of 0, 10, 20, 40, 80, 160, 300, … seconds.
    assert_eq!(starts, ["0", "1", "12", "33", "74", "155", "316", "617", "918", "1219", "1520", "1821"]);
    assert_eq!(bench.state(0), "waiting CrashLoopBackOff");
    let container = bench.status()["containerStatuses"][0].clone();
    assert_eq!(container["restartCount"], 11);
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(container["lastState"]["terminated"]["reason"], "Error");
    let said = bench.events("BackOff");
    assert_eq!(said, ["2 BackOff: Back-off restarting failed container a in pod p_n(u) (x11)"]);

    let slow =
        Bench::new(json!({"containers": [{"name": "a", "image": "hello"}]}), &[("a", Program::ends(600, 1))]).await;
    slow.pass(1300).await;
    assert_eq!(slow.happened().len(), 5, "every run is long: {:?}", slow.happened());
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_in_order_and_again_until_they_succeed() {
    let spec = json!({"initContainers": [{"name": "one", "image": "hello"}, {"name": "two", "image": "hello"}],
        "containers": [{"name": "a", "image": "hello"}]});
    let bench = Bench::new(spec, &[("one", Program::ends(2, 0)), ("two", Program::ends(1, 1))]).await;
    bench.pass(4).await;
    assert_eq!(
        bench.happened(),
        ["0 one started", "2 one ended 0", "2 two started", "3 two ended 1", "3 two started", "4 two ended 1"]
    );
    assert_eq!(bench.status()["phase"], "Pending");
    assert_eq!(bench.state(0), "waiting PodInitializing");
    let inits = bench.status()["initContainerStatuses"].clone();
    assert_eq!(inits[0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(inits[1]["state"]["waiting"]["reason"], "CrashLoopBackOff");
}

#[tokio::test(start_paused = true)]
async fn a_job_with_a_sidecar_ends_when_its_containers_do() {
    let spec = json!({"restartPolicy": "OnFailure",
        "initContainers": [{"name": "side", "image": "hello", "restartPolicy": "Always"}],
        "containers": [{"name": "a", "image": "hello"}]});
    let bench = Bench::new(spec, &[("a", Program::ends(5, 0)), ("side", Program::slow(Some(3)))]).await;
    bench.pass(20).await;
    assert_eq!(
        bench.happened(),
        ["0 side started", "0 a started", "5 a ended 0", "5 side signal 15", "8 side ended 0", "8 sandbox removed"]
    );
    assert_eq!((bench.status()["phase"].as_str(), bench.condition("Ready").as_str()), (Some("Succeeded"), "False"));
    assert_eq!(bench.state(0), "terminated Completed");
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_crashes_is_restarted_while_the_pod_runs_on() {
    let spec = json!({"initContainers": [{"name": "side", "image": "hello", "restartPolicy": "Always"}],
        "containers": [{"name": "a", "image": "hello"}]});
    let bench = Bench::new(spec, &[("side", Program::ends(10, 1))]).await;
    bench.pass(25).await;
    assert_eq!(
        bench.happened(),
        ["0 side started", "0 a started", "10 side ended 1", "10 side started", "20 side ended 1"]
    );
    assert_eq!(
        (bench.status()["phase"].as_str(), bench.condition("ContainersReady").as_str()),
        (Some("Running"), "False")
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_past_its_deadline_fails_and_stays_failed() {
    let spec = json!({"activeDeadlineSeconds": 30, "containers": [{"name": "a", "image": "hello"}]});
    let mut bench = Bench::new(spec, &[]).await;
    bench.pass(40).await;
    assert_eq!(bench.happened(), ["0 a started", "30 a signal 15", "30 a ended 0", "30 sandbox removed"]);
    let status = bench.status();
    assert_eq!((status["phase"].as_str(), status["reason"].as_str()), (Some("Failed"), Some("DeadlineExceeded")));
    assert_eq!(bench.events("DeadlineExceeded").len(), 1);
    bench.restart().await;
    bench.pass(100).await;
    assert_eq!(bench.happened().len(), 4);
    assert_eq!(bench.status()["phase"], "Failed");

    let spec =
        json!({"activeDeadlineSeconds": 30, "restartPolicy": "Never", "containers": [{"name": "a", "image": "hello"}]});
    let done = Bench::new(spec, &[("a", Program::ends(10, 0))]).await;
    done.pass(100).await;
    assert_eq!(done.status()["phase"], "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_cannot_start_counts_as_a_run_that_failed() {
    let missing = Program { missing: true, ..Program::default() };
    let bench = Bench::new(json!({"containers": [{"name": "a", "image": "hello"}]}), &[("a", missing)]).await;
    bench.pass(5).await;
    assert_eq!(bench.state(0), "waiting CrashLoopBackOff");
    let last = bench.status()["containerStatuses"][0]["lastState"]["terminated"].clone();
    assert_eq!((last["reason"].as_str(), last["exitCode"].as_i64()), (Some("StartError"), Some(128)));
    assert!(bench.events("Failed")[0].contains("cannot start x"), "{:?}", bench.events("Failed"));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_nobody_knows_is_named_with_what_to_do() {
    let bench = Bench::new(json!({"containers": [{"name": "a", "image": "nginx"}]}), &[]).await;
    assert_eq!(bench.state(0), "waiting ErrImagePull");
    bench.pass(6).await;
    assert_eq!(bench.state(0), "waiting ImagePullBackOff");
    assert_eq!(bench.events("BackOff"), ["5 BackOff: Back-off pulling image \"nginx\""]);
    assert!(bench.events("Failed")[0].contains("--image nginx=PATH"));
    bench.pass(5).await;
    assert_eq!(bench.state(0), "waiting ErrImagePull");

    let spec = json!({"containers": [{"name": "a", "image": "nginx", "imagePullPolicy": "Never"}]});
    let never = Bench::new(spec, &[]).await;
    assert_eq!(never.state(0), "waiting ErrImageNeverPull");
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_waited_for_and_found_at_once_when_it_appears() {
    let env = json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    let mut bench = Bench::new(json!({"containers": [{"name": "a", "image": "hello", "env": env}]}), &[]).await;
    assert_eq!(bench.state(0), "waiting CreateContainerConfigError");
    assert_eq!(bench.events("Failed"), ["0 Failed: Error: secret \"s\" not found"]);
    bench.pass(3).await;
    bench.given.secret(json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"k": "dg=="}}));
    bench.pass(0).await;
    assert_eq!(bench.happened(), ["3 a started"]);
}

#[tokio::test(start_paused = true)]
async fn volumes_follow_their_sources_while_the_pod_runs() {
    let spec = json!({"containers": [{"name": "a", "image": "hello", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "c"}}]});
    let mut bench = Bench::new(spec, &[]).await;
    assert_eq!(
        bench.events("FailedMount"),
        ["0 FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"c\" not found"]
    );
    assert_eq!(bench.state(0), "waiting ContainerCreating");
    let map = |value: &str| json!({"metadata": {"name": "c", "namespace": "n"}, "data": {"k": value}});
    bench.given.config_map(map("old"));
    bench.pass(0).await;
    let file = bench.context.data_dir.join("volumes/u/v/k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    bench.given.config_map(map("new"));
    bench.pass(0).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(bench.happened(), ["0 a started"]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_coracle_takes_pods_back_and_restarts_only_what_ended_meanwhile() {
    let spec = json!({"initContainers": [{"name": "i", "image": "hello"}],
        "containers": [{"name": "a", "image": "hello"}, {"name": "b", "image": "hello"}]});
    let mut bench = Bench::new(spec, &[("i", Program::ends(1, 0)), ("b", Program::ends(10, 1))]).await;
    bench.pass(5).await;
    bench.restart().await;
    bench.pass(1).await;
    let before = ["0 i started", "1 i ended 0", "1 a started", "1 b started"];
    assert_eq!(bench.happened(), before);
    assert_eq!((bench.status()["phase"].as_str(), bench.condition("Ready").as_str()), (Some("Running"), "True"));
    // It ends while nobody looks.
    bench.stop.cancel();
    bench.pass(20).await;
    bench.restart().await;
    assert_eq!(bench.happened()[4..], ["11 b ended 1", "26 b started"]);
    assert_eq!(bench.status()["containerStatuses"][1]["restartCount"], 1);
    assert_eq!(bench.status()["containerStatuses"][1]["lastState"]["terminated"]["exitCode"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_changed_image_restarts_its_container() {
    let bench = Bench::new(json!({"containers": [{"name": "a", "image": "hello:1"}]}), &[]).await;
    bench.api.change(|pod| pod["spec"]["containers"][0]["image"] = json!("hello:2"));
    bench.pass(1).await;
    assert_eq!(bench.happened(), ["0 a started", "0 a signal 15", "0 a ended 0", "0 a started"]);
    assert_eq!(bench.events("Killing"), ["0 Killing: Container a definition changed, will be restarted"]);
    assert_eq!(bench.status()["containerStatuses"][0]["image"], "hello:2");
}

#[tokio::test(start_paused = true)]
async fn a_changed_label_shows_in_the_volumes_of_the_downward_api() {
    let items = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]);
    let spec = json!({"containers": [{"name": "a", "image": "hello"}], "volumes": [{"name": "v", "downwardAPI": {"items": items}}]});
    let bench = Bench::new(spec, &[]).await;
    let file = bench.context.data_dir.join("volumes/u/v/labels");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
    bench.api.change(|pod| pod["metadata"]["labels"] = json!({"tier": "web"}));
    bench.pass(0).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "tier=\"web\"");
    assert_eq!(bench.happened(), ["0 a started"]);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_is_gone_is_made_again_and_everything_begins_anew() {
    let spec =
        json!({"initContainers": [{"name": "i", "image": "hello"}], "containers": [{"name": "a", "image": "hello"}]});
    let mut bench = Bench::new(spec, &[("i", Program::ends(1, 0))]).await;
    bench.pass(5).await;
    // As after a restart of the machine.
    bench.stop.cancel();
    bench.pass(0).await;
    bench.context.runtime.remove_sandbox("u").await.unwrap();
    bench.restart().await;
    bench.pass(2).await;
    let happened = bench.happened();
    assert_eq!(happened[happened.len() - 3..], ["5 i started", "6 i ended 0", "6 a started"]);
    assert_eq!(bench.events("SandboxChanged").len(), 1);
    let container = bench.status()["containerStatuses"][0].clone();
    assert_eq!((container["restartCount"].as_u64(), container["ready"].as_bool()), (Some(1), Some(true)));
    assert_eq!(container["lastState"]["terminated"]["reason"], "ContainerStatusUnknown");
}

#[tokio::test(start_paused = true)]
async fn what_others_say_of_a_pod_just_before_its_status_is_written_stays() {
    let gate = json!({"conditionType": "example.com/gate"});
    let spec = json!({"containers": [{"name": "a", "image": "hello"}], "readinessGates": [gate]});
    let bench = Bench::new(spec, &[("a", Program::ends(5, 1))]).await;
    let condition = json!({"type": "example.com/gate", "status": "True"});
    bench.api.change_quietly(|pod| pod["status"]["conditions"].as_array_mut().unwrap().push(condition));
    bench.pass(5).await;
    assert_eq!(bench.condition("example.com/gate"), "True");
    // Of its own nothing stays that it says no more.
    bench.pass(1).await;
    let ready = |status: &Value| {
        let conditions = status["conditions"].as_array().unwrap();
        conditions.iter().find(|condition| condition["type"] == "Ready").unwrap().clone()
    };
    let status = bench.status();
    assert_eq!((&ready(&status)["status"], ready(&status).get("reason")), (&json!("True"), None), "{status}");
    assert_eq!(status["podIPs"], json!([{"ip": "127.0.0.1"}]));
}
