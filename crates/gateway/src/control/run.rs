//! The loop: watches, compiles, hands over the table, writes statuses.

use std::{
    fmt::Debug,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, reflector, reflector::Store, watcher},
};
use objects::gateway::{Gateway, GatewayClass, HTTPRoute};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{BindError, Memory, Options, Sink, Snapshot, StatusKind, StatusUpdate, compile, unbound::Unbound};

/// Changes closer together than this are compiled once.
const COALESCE: Duration = Duration::from_millis(10);
/// After an address could not be bound, at first and at most: it may be one that is just being closed here, or somebody may
/// have it for long.
const BIND_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// After a status could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// What wakes the loop.
#[derive(Default)]
struct Wake {
    notify: Notify,
    /// Something other than endpoints changed.
    objects: AtomicBool,
}

impl Wake {
    fn objects(&self) {
        self.objects.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

/// Runs until `stop`. The first table is handed over when every kind has been listed, so that a restart never serves less
/// than there is.
pub async fn run(client: Client, options: Options, sink: impl Sink, stop: CancellationToken) {
    let wake = Arc::new(Wake::default());
    let mut tasks = JoinSet::new();
    let watched = Watched::start(&client, &wake, &mut tasks);
    tokio::select! {
        () = stop.cancelled() => return,
        () = watched.ready() => {}
    }
    wake.objects();
    let (statuses, pending) = tokio::sync::watch::channel(Vec::new());
    let unbound = Unbound::new(client.clone());
    tasks.spawn(write_statuses(client, pending, wake.clone()));
    let (mut memory, mut bind_errors, mut again) = (Memory::default(), Vec::new(), BIND_AGAIN.0);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notify.notified() => {}
            () = tokio::time::sleep(again), if !bind_errors.is_empty() => {
                again = BIND_AGAIN.1.min(again * 2);
                wake.objects();
            }
        }
        let snapshot = watched.snapshot(&bind_errors);
        if wake.objects.swap(false, Ordering::AcqRel) {
            let compiled = compile(&snapshot, &options, &mut memory, Timestamp::now());
            let errors = sink.apply(Arc::new(compiled.table));
            statuses.send_replace(compiled.statuses);
            if errors != bind_errors {
                let new = errors.iter().filter(|error| !bind_errors.contains(error)).cloned().collect::<Vec<_>>();
                unbound.say(&snapshot, &new).await;
                (bind_errors, again) = (errors, BIND_AGAIN.0);
                wake.objects();
            }
        } else {
            memory.refresh(&snapshot);
            sink.endpoints_changed();
        }
        tokio::time::sleep(COALESCE).await;
    }
}

struct Watched {
    classes: Store<GatewayClass>,
    gateways: Store<Gateway>,
    routes: Store<HTTPRoute>,
    grants: Store<objects::gateway::ReferenceGrant>,
    services: Store<k8s_openapi::api::core::v1::Service>,
    secrets: Store<Secret>,
    slices: Store<k8s_openapi::api::discovery::v1::EndpointSlice>,
    namespaces: Store<k8s_openapi::api::core::v1::Namespace>,
}

impl Watched {
    fn start(client: &Client, wake: &Arc<Wake>, tasks: &mut JoinSet<()>) -> Self {
        Self {
            classes: watch(client, wake, tasks, true),
            gateways: watch(client, wake, tasks, true),
            routes: watch(client, wake, tasks, true),
            grants: watch(client, wake, tasks, true),
            services: watch(client, wake, tasks, true),
            secrets: watch_some(client, wake, tasks, true, "type=kubernetes.io/tls"),
            slices: watch(client, wake, tasks, false),
            namespaces: watch(client, wake, tasks, true),
        }
    }

    /// Waits until every kind has been listed once.
    async fn ready(&self) {
        // An error means that its task ended, which happens only when the loop is being torn down.
        _ = self.classes.wait_until_ready().await;
        _ = self.gateways.wait_until_ready().await;
        _ = self.routes.wait_until_ready().await;
        _ = self.grants.wait_until_ready().await;
        _ = self.services.wait_until_ready().await;
        _ = self.secrets.wait_until_ready().await;
        _ = self.slices.wait_until_ready().await;
        _ = self.namespaces.wait_until_ready().await;
    }

    fn snapshot(&self, bind_errors: &[BindError]) -> Snapshot {
        Snapshot {
            classes: self.classes.state(),
            gateways: self.gateways.state(),
            routes: self.routes.state(),
            grants: self.grants.state(),
            services: self.services.state(),
            secrets: self.secrets.state(),
            slices: self.slices.state(),
            namespaces: self.namespaces.state(),
            bind_errors: bind_errors.to_vec(),
        }
    }
}

fn watch<K>(client: &Client, wake: &Arc<Wake>, tasks: &mut JoinSet<()>, objects: bool) -> Store<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone + Send + Sync + Unpin,
{
    watch_some(client, wake, tasks, objects, "")
}

/// Watches what a field selector chooses.
fn watch_some<K>(client: &Client, wake: &Arc<Wake>, tasks: &mut JoinSet<()>, objects: bool, fields: &str) -> Store<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone + Send + Sync + Unpin,
{
    let (store, writer) = reflector::store();
    let config = watcher::Config {
        field_selector: Some(fields.to_owned()).filter(|fields| !fields.is_empty()),
        ..watcher::Config::default()
    };
    let stream = watcher(Api::<K>::all(client.clone()), config).default_backoff().reflect(writer);
    tasks.spawn(follow(stream, K::kind(&K::DynamicType::default()).into_owned(), wake.clone(), objects));
    store
}

async fn follow<K: Send>(
    stream: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send,
    kind: String,
    wake: Arc<Wake>,
    objects: bool,
) {
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Ok(_) if objects => wake.objects(),
            Ok(_) => wake.notify.notify_one(),
            Err(error) => tracing::warn!(kind, error = %error, "watch failed; trying again"),
        }
    }
}

/// Writes the newest statuses; what changed meanwhile conflicts and comes back with the next compilation.
async fn write_statuses(client: Client, mut pending: tokio::sync::watch::Receiver<Vec<StatusUpdate>>, wake: Arc<Wake>) {
    while pending.changed().await.is_ok() {
        let updates = pending.borrow_and_update().clone();
        let mut failed = false;
        for update in updates {
            match write(&client, &update).await {
                Ok(()) => {}
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => {
                    failed = true;
                    tracing::warn!(kind = ?update.kind, name = update.name, error = %error, "status not written; trying again");
                }
            }
        }
        if failed {
            tokio::time::sleep(RETRY).await;
            wake.objects();
        }
    }
}

async fn write(client: &Client, update: &StatusUpdate) -> Result<(), kube::Error> {
    let patch = json!({"metadata": {"resourceVersion": update.resource_version}, "status": update.status});
    let (patch, params) = (Patch::Merge(patch), PatchParams::default());
    let (name, namespace) = (update.name.as_str(), update.namespace.as_deref().unwrap_or_default());
    match update.kind {
        StatusKind::GatewayClass => {
            Api::<GatewayClass>::all(client.clone()).patch_status(name, &params, &patch).await.map(drop)
        }
        StatusKind::Gateway => {
            Api::<Gateway>::namespaced(client.clone(), namespace).patch_status(name, &params, &patch).await.map(drop)
        }
        StatusKind::HTTPRoute => {
            Api::<HTTPRoute>::namespaced(client.clone(), namespace).patch_status(name, &params, &patch).await.map(drop)
        }
    }
}
