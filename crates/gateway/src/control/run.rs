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
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Pod, PodSpec, PodStatus, Secret, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::{WatchStreamExt, reflector, reflector::Store, watcher},
};
use objects::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, ReferenceGrant, TCPRoute, TLSRoute,
    UDPRoute,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    BindError, Memory, Options, Sink, Snapshot, StatusKind, StatusUpdate, again::Again, autoscalers, compile,
    unbound::Unbound, wake,
};

/// Changes closer together than this are compiled once.
const COALESCE: Duration = Duration::from_millis(10);
/// After an address could not be bound, at first and at most: it may be one that is just being closed here, or somebody may
/// have it for long.
const BIND_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// For what autoscalers may take to zero to be known, before the first table: without it, requests that could wait for a pod would
/// be refused.
const AUTOSCALERS: Duration = Duration::from_secs(2);
/// After a status could not be written, at first and at most: it may be refused for good.
const WRITE_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

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

    /// Whether something other than endpoints changed since this was asked last. It is asked before everything is looked at: of what
    /// changes during the look nobody knows whether the look shows it, and it is looked at again.
    fn take(&self) -> bool {
        self.objects.swap(false, Ordering::AcqRel)
    }
}

/// The addresses that could not be bound, and when they are tried again.
struct Unbindable {
    errors: Vec<BindError>,
    again: Again,
}

impl Unbindable {
    fn new() -> Self {
        Self { errors: Vec::new(), again: Again::new(BIND_AGAIN) }
    }

    /// Takes in what could not be bound just now; gives what of it is new, or nothing if all is as it was.
    fn take(&mut self, errors: Vec<BindError>, now: Instant) -> Option<Vec<BindError>> {
        if errors == self.errors {
            if !errors.is_empty() {
                self.again.later(now);
            }
            return None;
        }
        let new = errors.iter().filter(|error| !self.errors.contains(error)).cloned().collect();
        if errors.is_empty() {
            self.again.never();
        } else {
            self.again.first(now);
        }
        self.errors = errors;
        Some(new)
    }
}

/// Runs until `stop`. The first table is handed over when every kind has been listed, so that a restart never serves less
/// than there is.
pub async fn run(client: Client, options: Options, sink: impl Sink, stop: CancellationToken) {
    let wake = Arc::new(Wake::default());
    let mut tasks = JoinSet::new();
    let watched = Watched::start(&client, &options, &wake, &mut tasks);
    tokio::select! {
        () = stop.cancelled() => return,
        () = watched.ready() => {}
    }
    let (found, scalables) = tokio::sync::watch::channel(None);
    tasks.spawn(autoscalers::run(client.clone(), found));
    _ = tokio::time::timeout(AUTOSCALERS, scalables.clone().wait_for(Option::is_some)).await;
    tasks.spawn(wake_by(scalables.clone(), wake.clone()));
    wake.objects();
    let (statuses, pending) = tokio::sync::watch::channel(Vec::new());
    let unbound = Unbound::new(client.clone());
    let mut memory = Memory::default();
    let (wakings, sleepers) = tokio::sync::watch::channel(Vec::new());
    tasks.spawn(wake::run(client.clone(), sleepers, memory.asked()));
    tasks.spawn(write_statuses(client, pending, wake.clone(), options.clone()));
    if let Some(leading) = options.leading.clone() {
        tasks.spawn(wake_leader(leading, wake.clone()));
    }
    let mut unbindable = Unbindable::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notify.notified() => {}
            () = unbindable.again.due() => {}
        }
        let objects = wake.take() || unbindable.again.is_due(Instant::now());
        let mut snapshot = watched.snapshot(&unbindable.errors);
        snapshot.scalables = scalables.borrow().clone().unwrap_or_default();
        let snapshot = Arc::new(snapshot);
        sink.objects(&snapshot);
        if objects {
            let compiled = compile(&snapshot, &options, &mut memory, Timestamp::now());
            let errors = sink.apply(Arc::new(compiled.table));
            statuses.send_replace(compiled.statuses);
            if let Some(new) = unbindable.take(errors, Instant::now()) {
                if options.leads() {
                    unbound.say(&snapshot, &new).await;
                }
                wake.objects();
            }
        } else {
            memory.refresh(&snapshot);
            sink.endpoints_changed();
        }
        let waking = memory.wakings();
        wakings.send_if_modified(|known| {
            let matters = !(known.is_empty() && waking.is_empty());
            *known = waking;
            matters
        });
        tokio::time::sleep(COALESCE).await;
    }
}

/// Rows: a field of [`Snapshot`], its kind, and what wakes the loop when it changes.
macro_rules! watched {
    ($($field:ident: $kind:ty = $watch:expr;)*) => {
        struct Watched {
            $($field: Store<$kind>,)*
        }

        impl Watched {
            fn start(client: &Client, options: &Options, wake: &Arc<Wake>, tasks: &mut JoinSet<()>) -> Self {
                Self { $($field: $watch.start(client, options, wake, tasks),)* }
            }

            /// Waits until every kind has been listed once.
            async fn ready(&self) {
                // An error means that its task ended, which happens only when the loop is being torn down.
                $(_ = self.$field.wait_until_ready().await;)*
            }

            fn snapshot(&self, bind_errors: &[BindError]) -> Snapshot {
                let bind_errors = bind_errors.to_vec();
                Snapshot { $($field: self.$field.state(),)* bind_errors, ..Snapshot::default() }
            }
        }
    };
}

watched! {
    classes: GatewayClass = Watch::OBJECTS;
    gateways: Gateway = Watch::OBJECTS;
    listener_sets: ListenerSet = Watch::OBJECTS;
    routes: HTTPRoute = Watch::OBJECTS;
    grpc_routes: GRPCRoute = Watch::OBJECTS;
    tls_routes: TLSRoute = Watch::OBJECTS;
    tcp_routes: TCPRoute = Watch::OBJECTS;
    udp_routes: UDPRoute = Watch::OBJECTS;
    backend_tls: BackendTLSPolicy = Watch::OBJECTS;
    grants: ReferenceGrant = Watch::OBJECTS;
    services: Service = Watch::OBJECTS;
    secrets: Secret = Watch { fields: "type=kubernetes.io/tls", ..Watch::OBJECTS };
    config_maps: ConfigMap = Watch { keep: only_authorities, ..Watch::OBJECTS };
    slices: EndpointSlice = Watch { objects: false, ..Watch::OBJECTS };
    pods: Pod = Watch { objects: false, inside: true, keep: only_whose_address, ..Watch::OBJECTS };
    namespaces: Namespace = Watch::OBJECTS;
}

/// How a kind is watched.
struct Watch<K> {
    /// A field selector.
    fields: &'static str,
    /// Whether a change needs compiling, rather than only new endpoints.
    objects: bool,
    /// Whether it is looked at only where Services' addresses are served.
    inside: bool,
    /// Drops what nobody needs to have in memory.
    keep: fn(&mut K),
}

impl<K> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone + Send + Sync + Unpin,
{
    const OBJECTS: Self = {
        let keep = |object: &mut K| object.meta_mut().managed_fields = None;
        Self { fields: "", objects: true, inside: false, keep }
    };

    fn start(self, client: &Client, options: &Options, wake: &Arc<Wake>, tasks: &mut JoinSet<()>) -> Store<K> {
        let (store, mut writer) = reflector::store();
        if self.inside && !options.services {
            [watcher::Event::Init, watcher::Event::InitDone].iter().for_each(|event| writer.apply_watcher_event(event));
            return store;
        }
        let config = watcher::Config {
            field_selector: Some(self.fields.to_owned()).filter(|fields| !fields.is_empty()),
            ..watcher::Config::default()
        };
        let stream = watcher(Api::<K>::all(client.clone()), config).default_backoff();
        let stream = stream.flat_map(absent_is_empty).modify(self.keep).reflect(writer);
        tasks.spawn(follow(stream, K::kind(&K::DynamicType::default()).into_owned(), wake.clone(), self.objects));
        store
    }
}

/// A kind that the API does not have, such as one of the experimental channel, is one without objects; it is asked for again
/// and again, ever more seldom.
pub(super) fn absent_is_empty<K>(
    event: Result<watcher::Event<K>, watcher::Error>,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> {
    use watcher::{Error::InitialListFailed, Event};
    let events = match event {
        Err(InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
            vec![Ok(Event::Init), Ok(Event::InitDone)]
        }
        other => vec![other],
    };
    futures::stream::iter(events)
}

fn only_authorities(map: &mut ConfigMap) {
    map.metadata.managed_fields = None;
    map.binary_data = None;
    if let Some(data) = &mut map.data {
        data.retain(|key, _| key == "ca.crt");
    }
}

fn only_whose_address(pod: &mut Pod) {
    let ObjectMeta { name, namespace, labels, resource_version, .. } = std::mem::take(&mut pod.metadata);
    pod.metadata = ObjectMeta { name, namespace, labels, resource_version, ..ObjectMeta::default() };
    let host_network = pod.spec.take().and_then(|spec| spec.host_network);
    pod.spec = host_network.map(|shared| PodSpec { host_network: Some(shared), ..PodSpec::default() });
    pod.status = pod.status.take().map(|PodStatus { phase, pod_ip, pod_ips, .. }| PodStatus {
        phase,
        pod_ip,
        pod_ips,
        ..PodStatus::default()
    });
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
async fn write_statuses(
    client: Client,
    mut pending: tokio::sync::watch::Receiver<Vec<StatusUpdate>>,
    wake: Arc<Wake>,
    options: Options,
) {
    let (mut again, mut unwritten) = (Again::new(WRITE_AGAIN), Vec::new());
    // Whether that compilation has been asked for and has not come.
    let mut asked = false;
    loop {
        tokio::select! {
            changed = pending.changed() => if changed.is_err() { return },
            // What is still to be written comes with the next compilation.
            () = again.due(), if !asked => {
                asked = true;
                wake.objects();
                continue;
            }
        }
        let updates = pending.borrow_and_update().clone();
        asked = false;
        if !options.leads() {
            again.never();
            continue;
        }
        let mut failed = Vec::new();
        for update in updates {
            match write(&client, &update).await {
                Ok(()) => {}
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => {
                    tracing::warn!(kind = ?update.kind, name = update.name, error = %error, "status not written; trying again");
                    failed.push((update.kind, update.namespace, update.name));
                }
            }
        }
        if failed.is_empty() {
            again.never();
        } else if failed == unwritten {
            again.later(Instant::now());
        } else {
            again.first(Instant::now());
        }
        unwritten = failed;
    }
}

/// What autoscalers may take to zero is taken in as changed endpoints are.
async fn wake_by(mut scalables: tokio::sync::watch::Receiver<autoscalers::Found>, wake: Arc<Wake>) {
    while scalables.changed().await.is_ok() {
        wake.notify.notify_one();
    }
}

/// What others have not written is compiled again when this process becomes the one that writes.
async fn wake_leader(mut leading: tokio::sync::watch::Receiver<bool>, wake: Arc<Wake>) {
    while leading.changed().await.is_ok() {
        if *leading.borrow_and_update() {
            wake.objects();
        }
    }
}

async fn write(client: &Client, update: &StatusUpdate) -> Result<(), kube::Error> {
    let patch = json!({"metadata": {"resourceVersion": update.resource_version}, "status": update.status});
    let (patch, params) = (Patch::Merge(patch), PatchParams::default());
    let resource = match update.kind {
        StatusKind::GatewayClass => ApiResource::erase::<GatewayClass>(&()),
        StatusKind::Gateway => ApiResource::erase::<Gateway>(&()),
        StatusKind::ListenerSet => ApiResource::erase::<ListenerSet>(&()),
        StatusKind::HTTPRoute => ApiResource::erase::<HTTPRoute>(&()),
        StatusKind::GRPCRoute => ApiResource::erase::<GRPCRoute>(&()),
        StatusKind::TLSRoute => ApiResource::erase::<TLSRoute>(&()),
        StatusKind::TCPRoute => ApiResource::erase::<TCPRoute>(&()),
        StatusKind::UDPRoute => ApiResource::erase::<UDPRoute>(&()),
        StatusKind::BackendTLSPolicy => ApiResource::erase::<BackendTLSPolicy>(&()),
    };
    let api: Api<DynamicObject> = match &update.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    api.patch_status(&update.name, &params, &patch).await.map(drop)
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::{client::Body, core::Status};
    use tokio::sync::mpsc;

    use super::*;

    fn failed(code: u16) -> Result<watcher::Event<Gateway>, watcher::Error> {
        let status = Status::failure("no", "Reason").with_code(code).boxed();
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
    }

    #[test]
    fn an_address_is_tried_again_ever_more_seldom_whatever_else_happens_meanwhile() {
        let error = |port| BindError {
            address: ([127, 0, 0, 1], port).into(),
            transport: crate::table::Transport::Tcp,
            message: "in use".to_owned(),
            denied: false,
        };
        let due_after = |unbindable: &Unbindable, pause: Duration, now| {
            let just_before = now + pause.saturating_sub(Duration::from_millis(1));
            assert!(!unbindable.again.is_due(just_before) && unbindable.again.is_due(now + pause));
        };
        let (mut unbindable, mut now) = (Unbindable::new(), Instant::now());
        assert_eq!(unbindable.take(Vec::new(), now), None);
        assert_eq!(unbindable.take(vec![error(1)], now), Some(vec![error(1)]));
        for turn in 0..10 {
            let pause = BIND_AGAIN.1.min(BIND_AGAIN.0 * (1 << turn));
            due_after(&unbindable, pause, now);
            // The table is made for another reason before that.
            assert_eq!(unbindable.take(vec![error(1)], now + pause / 2), None);
            due_after(&unbindable, pause, now);
            now += pause;
            assert_eq!(unbindable.take(vec![error(1)], now), None);
        }
        assert_eq!(unbindable.take(vec![error(1), error(2)], now), Some(vec![error(2)]));
        due_after(&unbindable, BIND_AGAIN.0, now);
        assert_eq!(unbindable.take(Vec::new(), now), Some(Vec::new()));
        assert!(!unbindable.again.is_due(now + BIND_AGAIN.1));
    }

    /// An API that refuses what is written, and says the name of each object of which it did.
    fn refusing() -> (Client, mpsc::UnboundedReceiver<String>) {
        let (say, said) = mpsc::unbounded_channel();
        let client = tower::service_fn(move |request: Request<Body>| {
            let name = request.uri().path().split('/').rev().nth(1).unwrap_or_default().to_owned();
            say.send(name).unwrap();
            let status = Status::failure("no", "Invalid").with_code(422);
            let answer = Response::builder().status(422).body(Body::from(serde_json::to_vec(&status).unwrap()));
            async move { answer }
        });
        (Client::new(client, "default"), said)
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_is_refused_for_good_is_tried_ever_more_seldom_and_another_one_soon() {
        let of = |name: &str| StatusUpdate {
            kind: StatusKind::Gateway,
            namespace: Some("n".to_owned()),
            name: name.to_owned(),
            resource_version: None,
            status: json!({}),
        };
        let (client, mut refused) = refusing();
        let (statuses, pending) = tokio::sync::watch::channel(Vec::new());
        let (wake, options) = (Arc::new(Wake::default()), Options::new(Vec::new(), [127, 0, 0, 1].into()));
        let writing = tokio::spawn(write_statuses(client, pending, wake.clone(), options));
        let (start, mut tries) = (Instant::now(), Vec::new());
        statuses.send_replace(vec![of("a")]);
        while start.elapsed() < Duration::from_secs(300) {
            tries.push((refused.recv().await.unwrap(), start.elapsed().as_secs()));
            wake.notify.notified().await;
            assert!(wake.take());
            statuses.send_replace(vec![of("a")]);
        }
        let times: Vec<u64> = tries.iter().map(|(_, at)| *at).collect();
        assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        assert_eq!(refused.recv().await.unwrap(), "a");
        let changed = Instant::now();
        statuses.send_replace(vec![of("a"), of("b")]);
        wake.notify.notified().await;
        assert_eq!(changed.elapsed(), WRITE_AGAIN.0);
        writing.abort();
    }

    #[tokio::test]
    async fn a_kind_that_is_not_installed_is_listed_as_empty_and_one_that_is_forbidden_is_not() {
        let absent: Vec<_> = absent_is_empty(failed(404)).collect().await;
        assert!(matches!(absent[..], [Ok(watcher::Event::Init), Ok(watcher::Event::InitDone)]));
        let forbidden: Vec<_> = absent_is_empty(failed(403)).collect().await;
        assert!(matches!(forbidden[..], [Err(_)]));
    }
}
