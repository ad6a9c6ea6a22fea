//! An API server of one pod, in memory: it keeps the status, the events and when they came.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use kube::{Client, client::Body};
use objects::{kinds::by_kind, patch::strategic_merge};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::Bench;

/// The server.
pub struct Api {
    begun: Instant,
    pod: watch::Sender<Option<Value>>,
    statuses: Mutex<Vec<(u64, Value)>>,
    events: Mutex<Vec<Value>>,
}

impl Api {
    /// A server that has this pod.
    pub fn new(pod: Value) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            pod: watch::Sender::new(Some(pod)),
            statuses: Mutex::default(),
            events: Mutex::default(),
        })
    }

    /// The pod, whenever it changes.
    pub fn pod(&self) -> watch::Receiver<Option<Value>> {
        self.pod.subscribe()
    }

    /// Changes the pod.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        self.pod.send_modify(|pod| change(pod.as_mut().unwrap()));
    }

    /// Changes the pod, which nobody is told of before the next change.
    pub fn change_quietly(&self, change: impl FnOnce(&mut Value)) {
        self.pod.send_if_modified(|pod| {
            change(pod.as_mut().unwrap());
            false
        });
    }

    /// Takes the pod away, whatever runs of it.
    pub fn remove(&self) {
        self.pod.send_replace(None);
    }

    /// The statuses that were written, with the second.
    pub fn statuses(&self) -> Vec<(u64, Value)> {
        self.statuses.lock().unwrap().clone()
    }

    /// The events as `SECOND REASON: MESSAGE (xCOUNT)`.
    pub fn events(&self) -> Vec<String> {
        let text = |event: &Value| {
            let at: jiff::Timestamp = event["firstTimestamp"].as_str().unwrap().parse().unwrap();
            let second = at.as_second() - Bench::START;
            let count = event["count"].as_i64().filter(|count| *count > 1).map(|count| format!(" (x{count})"));
            let [reason, message] = ["reason", "message"].map(|field| event[field].as_str().unwrap());
            format!("{second} {reason}: {message}{}", count.unwrap_or_default())
        };
        self.events.lock().unwrap().iter().map(text).collect()
    }

    /// A client of it.
    pub fn client(self: &Arc<Self>) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = api.answer(&head.method, head.uri.path(), body);
                let body = Full::new(Bytes::from(answer.to_string()));
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        let missing =
            json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "gone"});
        let name = path.rsplit('/').next().unwrap_or_default();
        if path.contains("/events") {
            let mut events = self.events.lock().unwrap();
            if *method == Method::POST {
                events.push(body.clone());
                return (201, body);
            }
            let Some(event) = events.iter_mut().find(|event| event["metadata"]["name"] == name) else {
                return (404, missing);
            };
            event["count"] = body["count"].clone();
            return (200, event.clone());
        }
        let Some(mut pod) = self.pod.borrow().clone() else { return (404, missing) };
        if *method == Method::DELETE {
            self.pod.send_replace(None);
            return (200, pod);
        }
        assert!(path.ends_with("/status"), "{method} {path}");
        let second = self.begun.elapsed().as_secs();
        strategic_merge(by_kind("", "v1", "Pod"), &mut pod, &json!({"status": body["status"]})).unwrap();
        self.statuses.lock().unwrap().push((second, pod["status"].clone()));
        self.pod.send_replace(Some(pod.clone()));
        (200, pod)
    }
}
