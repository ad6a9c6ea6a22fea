//! Eviction by the node: out of service, a short grace, failed for good.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Bench, Program};
use crate::{status::Failure, worker::Message};

const WHY: &str = "The node was low on resource: memory. ";

fn eviction() -> Message {
    let disrupts = Some(Timestamp::from_second(Bench::START).unwrap());
    Message::Fail(Failure { reason: "Evicted".to_owned(), message: WHY.to_owned(), grace: Some(1), disrupts })
}

fn slice(endpoints: Value) -> Value {
    json!({"metadata": {"name": "s", "namespace": "n"}, "addressType": "IPv4", "endpoints": endpoints})
}

#[tokio::test(start_paused = true)]
async fn an_evicted_pod_leaves_service_then_ends_quickly_and_has_failed() {
    let spec = json!({"containers": [{"name": "a", "image": "hello"}], "terminationGracePeriodSeconds": 60});
    let mut bench = Bench::new(spec, &[("a", Program::slow(None))]).await;
    let served =
        json!([{"addresses": ["127.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "uid": "u"}}]);
    bench.given.slice(slice(served));
    bench.sender.send(eviction()).await.unwrap();
    bench.pass(1).await;
    assert_eq!(bench.happened(), ["0 a started"], "it still gets requests");
    assert_eq!((bench.condition("Ready"), bench.status()["phase"].as_str()), ("False".to_owned(), Some("Running")));
    bench.given.slice(slice(json!([])));
    bench.pass(5).await;
    assert_eq!(bench.happened()[1..], ["1 a signal 15", "3 a ended 137", "3 sandbox removed"]);
    let status = bench.status();
    assert_eq!(
        (&status["phase"], &status["reason"], &status["message"]),
        (&json!("Failed"), &json!("Evicted"), &json!(WHY))
    );
    assert_eq!(bench.condition("DisruptionTarget"), "True");
    // It stays until somebody deletes it.
    bench.pass(1000).await;
    assert_eq!(bench.happened().len(), 4);
    bench.delete(0);
    bench.pass(1).await;
    assert!(bench.worker.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_eviction_that_had_begun_goes_on_after_a_restart() {
    let spec = json!({"containers": [{"name": "a", "image": "hello"}]});
    let mut bench = Bench::new(spec, &[("a", Program::slow(Some(10)))]).await;
    let served =
        json!([{"addresses": ["127.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "uid": "u"}}]);
    bench.given.slice(slice(served));
    bench.sender.send(eviction()).await.unwrap();
    bench.pass(1).await;
    bench.restart().await;
    bench.pass(5).await;
    let status = bench.status();
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("Evicted")));
    let targets = status["conditions"].as_array().unwrap().iter().filter(|c| c["type"] == "DisruptionTarget");
    assert_eq!(targets.count(), 1);
}
