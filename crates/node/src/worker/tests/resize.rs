//! Resizing in place: what is promised, what is given, and what the status says meanwhile.

use objects::resources::Amounts;
use serde_json::{Value, json};

use super::Bench;

fn size(cpu: &str, memory: &str) -> Value {
    json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}})
}

fn pod(policy: &Value) -> Value {
    let container =
        json!({"name": "a", "image": "hello", "resources": size("1", "1Mi"), "resizePolicy": policy.clone()});
    json!({"containers": [container]})
}

fn ask(bench: &Bench, cpu: &str, memory: &str) {
    bench.api.change(|pod| {
        pod["spec"]["containers"][0]["resources"] = size(cpu, memory);
        pod["metadata"]["generation"] = json!(2);
    });
}

/// The reason and message of a condition, if there is one.
fn told(bench: &Bench, type_: &str) -> Option<String> {
    let status = bench.status();
    let found = status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == type_)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some(format!("{} {}", text("reason"), text("message")).trim().to_owned())
}

fn limit(bench: &Bench) -> String {
    bench.status()["containerStatuses"][0]["resources"]["limits"]["cpu"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_container_gets_more_while_it_runs() {
    let bench = Bench::new(pod(&json!([])), &[]).await;
    assert_eq!(limit(&bench), "1");
    ask(&bench, "2", "2Mi");
    bench.pass(1).await;
    assert_eq!(bench.happened(), ["0 a started", "0 a resized to 2000m 2097152"]);
    assert_eq!(limit(&bench), "2");
    assert_eq!(bench.status()["containerStatuses"][0]["allocatedResources"]["memory"], "2Mi");
    assert_eq!(bench.status()["observedGeneration"], 2);
    assert_eq!((told(&bench, "PodResizePending"), told(&bench, "PodResizeInProgress")), (None, None));
    assert_eq!(bench.events("ResizeCompleted").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_whose_policy_says_so_is_started_again_with_its_new_size() {
    let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    let bench = Bench::new(pod(&policy), &[]).await;
    ask(&bench, "2", "1Mi");
    bench.pass(1).await;
    assert_eq!(bench.happened(), ["0 a started", "0 a signal 15", "0 a ended 0", "0 a started"]);
    assert_eq!(limit(&bench), "2");
    let said = bench.events("Killing");
    assert!(said[0].contains("Container a resize requires restart"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn what_no_node_has_is_infeasible_and_changes_nothing() {
    let bench = Bench::new(pod(&json!([])), &[]).await;
    ask(&bench, "5", "1Mi");
    bench.pass(1).await;
    let lack = "Infeasible Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000";
    assert_eq!(told(&bench, "PodResizePending").unwrap(), lack);
    assert_eq!((bench.happened().len(), limit(&bench)), (1, "1".to_owned()));
    ask(&bench, "1", "1Mi");
    bench.pass(1).await;
    assert_eq!(told(&bench, "PodResizePending"), None, "it asks for what it has again");
}

#[tokio::test(start_paused = true)]
async fn what_others_hold_is_deferred_until_they_go_also_over_a_restart() {
    let mut bench = Bench::new(pod(&json!([])), &[]).await;
    bench.context.ledger.note("other", Amounts::from([("cpu".to_owned(), "3".parse().unwrap())]));
    ask(&bench, "2", "1Mi");
    bench.pass(1).await;
    let lack = "Deferred Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000";
    assert_eq!(told(&bench, "PodResizePending").unwrap(), lack);
    bench.restart().await;
    bench.pass(1).await;
    assert_eq!((bench.happened().len(), limit(&bench)), (1, "1".to_owned()), "nobody made room");
    bench.context.ledger.release("other");
    bench.pass(1).await;
    assert_eq!((told(&bench, "PodResizePending"), limit(&bench)), (None, "2".to_owned()));
    assert_eq!(bench.happened().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_limit_below_what_is_in_use_is_refused_and_tried_again() {
    let bench = Bench::new(pod(&json!([])), &[]).await;
    ask(&bench, "1", "999");
    bench.pass(1).await;
    let why = "Error container a: set limits: that much is in use";
    assert_eq!(told(&bench, "PodResizeInProgress").unwrap(), why);
    assert_eq!(bench.events("ResizeError").len(), 1);
    bench.pass(60).await;
    assert_eq!(told(&bench, "PodResizeInProgress").unwrap(), why);
    ask(&bench, "1", "2000");
    bench.pass(1).await;
    assert_eq!(told(&bench, "PodResizeInProgress"), None);
    assert_eq!(bench.happened().last().unwrap(), "61 a resized to 1000m 2000");
}

#[tokio::test(start_paused = true)]
async fn a_crashed_container_comes_back_with_what_is_promised_not_with_what_is_asked_for() {
    let bench = Bench::new(pod(&json!([])), &[("a", super::Program::ends(5, 1))]).await;
    ask(&bench, "9", "1Mi");
    bench.pass(8).await;
    assert_eq!(bench.status()["containerStatuses"][0]["restartCount"], 1);
    assert_eq!(limit(&bench), "1");
}
