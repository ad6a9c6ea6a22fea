//! Pods in simulated time: a worker between an API server in memory and a machine on which containers do as they are told.

mod api;
mod evict;
mod life;
mod machine;
mod probes;
mod resize;
mod stop;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{Message, Worker};
use crate::{
    Context,
    clock::Clock,
    events::Events,
    figures::{Figures, Pods},
    images::{HostImage, Images},
    resize::{Ledger, Room},
    sources::{Sources, tests::Given},
};
use api::Api;
use machine::{Handle, Machine, Program};

/// Lets simulated time pass, which takes none: everything that is due on the way happens in its order.
async fn passes(time: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + time).await;
}

/// One pod with its worker.
struct Bench {
    api: Arc<Api>,
    machine: Arc<Machine>,
    given: Given,
    context: Arc<Context>,
    worker: JoinHandle<()>,
    sender: mpsc::Sender<Message>,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Bench {
    /// The second at which every test begins.
    const START: i64 = 1_000_000_000;

    /// A pod that has just been bound here.
    async fn new(spec: Value, programs: &[(&str, Program)]) -> Self {
        Self::with_commands(spec, programs, |_, _| (0, 0)).await
    }

    /// As `new`, with what commands in its containers do.
    async fn with_commands(
        spec: Value,
        programs: &[(&str, Program)],
        commands: impl Fn(&str, u64) -> (u64, i32) + Send + Sync + 'static,
    ) -> Self {
        let clock = Clock::simulated(Timestamp::from_second(Self::START).unwrap());
        let machine = Machine::new(clock.clone(), programs, Box::new(commands));
        let api = Api::new(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}));
        let dir = tempfile::tempdir().unwrap();
        let (sources, given) = Sources::given();
        let (events, writer) = Events::new(api.client(), "node".to_owned(), clock.clone());
        tokio::spawn(writer.run(CancellationToken::new()));
        let mut images = Images::default();
        images.insert_builtin("hello", HostImage::program(PathBuf::from("/bin/true")));
        let runtime = Arc::new(Handle(machine.clone()));
        let pods = Pods::default();
        let figures =
            Figures::new(api.client(), "node".to_owned(), runtime.clone(), pods.clone(), Duration::from_secs(15));
        let context = Arc::new(Context {
            client: api.client(),
            name: "node".to_owned(),
            data_dir: dir.path().to_owned(),
            runtime,
            images,
            dns: None,
            internal_ip: [127, 0, 0, 1].into(),
            clock,
            sources,
            events,
            pods,
            figures,
            ledger: Ledger::new(Room { memory: 1 << 30, cpu: 4000 }),
            pressures: watch::channel(crate::eviction::Pressures::new()).1,
        });
        let stop = CancellationToken::new();
        let (worker, sender) = Self::work(&api, &context, &stop).await;
        let bench = Self { api, machine, given, context, worker, sender, stop, _dir: dir };
        bench.pass(0).await;
        bench
    }

    /// Starts a worker on what is there.
    async fn work(
        api: &Arc<Api>,
        context: &Arc<Context>,
        stop: &CancellationToken,
    ) -> (JoinHandle<()>, mpsc::Sender<Message>) {
        let found = context.runtime.recover().await.unwrap().pop();
        let mut source = api.pod();
        let pod = |value: &Option<Value>| -> Option<Arc<Pod>> {
            value.clone().map(|value| Arc::new(serde_json::from_value(value).unwrap()))
        };
        let first = pod(&source.borrow_and_update());
        let (pods, receiver) = watch::channel(first.clone());
        tokio::spawn(async move {
            while source.changed().await.is_ok() {
                let changed = pod(&source.borrow_and_update());
                pods.send_replace(changed);
            }
        });
        let (told, _) = watch::channel(None);
        let worker = Worker::new(context.clone(), first.unwrap(), found, told);
        let sender = worker.sender();
        (tokio::spawn(worker.run(receiver, stop.clone())), sender)
    }

    /// Coracle stops and starts again while the pod runs on.
    async fn restart(&mut self) {
        self.stop.cancel();
        (&mut self.worker).await.unwrap();
        self.stop = CancellationToken::new();
        (self.worker, self.sender) = Self::work(&self.api, &self.context, &self.stop).await;
        self.pass(0).await;
    }

    /// Lets so many seconds pass, and a moment for what is due just then.
    async fn pass(&self, seconds: u64) {
        passes(Duration::from_millis(seconds * 1000 + 1)).await;
    }

    /// `kubectl delete` with a grace period.
    fn delete(&self, grace: u64) {
        self.api.change(|pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2001-09-09T01:46:40Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        });
    }

    fn status(&self) -> Value {
        self.api.statuses().last().unwrap().1.clone()
    }

    /// The state of a container: its name (`running`, …) and reason.
    fn state(&self, container: usize) -> String {
        let state = self.status()["containerStatuses"][container]["state"].clone();
        let (name, value) = state.as_object().unwrap().iter().next().unwrap();
        format!("{name} {}", value["reason"].as_str().unwrap_or_default()).trim().to_owned()
    }

    fn condition(&self, type_: &str) -> String {
        let status = self.status();
        let conditions = status["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == type_).unwrap();
        found["status"].as_str().unwrap().to_owned()
    }

    /// What happened on the machine, without what is left out by name.
    fn happened(&self) -> Vec<String> {
        self.machine.happened()
    }

    /// The events with this reason.
    fn events(&self, reason: &str) -> Vec<String> {
        let wanted = format!(" {reason}: ");
        self.api.events().into_iter().filter(|event| event.contains(&wanted)).collect()
    }
}
