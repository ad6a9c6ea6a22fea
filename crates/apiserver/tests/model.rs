//! Several clients change objects at random while others watch, disconnect, come back, and the server restarts: what each of them
//! has been told adds up to what there is, with no event lost, told twice, or out of order. They begin with a list, or with a watch
//! that first tells what there is; others list in pages meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{collections::BTreeMap, path::Path, pin::Pin};

use apiserver::{ApiServer, Options};
use futures::{AsyncBufRead, AsyncBufReadExt, TryStreamExt, io::Lines};
use http::{Request, StatusCode};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use proptest::{prelude::*, strategy::ValueTree};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What happens next. Objects and watchers are numbers.
#[derive(Clone, Debug)]
enum Step {
    Create(u8, bool),
    /// A merge patch: it never conflicts.
    Patch(u8, bool),
    /// An update made from the present version, or from one that is too old.
    Update(u8, bool),
    Delete(u8),
    Disconnect(usize),
    /// The watcher reads so many events.
    Read(usize, u8),
    Restart,
    /// A list in pages of so many objects, with a write after each.
    Pages(usize, Vec<Self>),
}

fn writes() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5u8, any::<bool>()).prop_map(|(name, inside)| Step::Create(name, inside)),
        8 => (0..5u8, any::<bool>()).prop_map(|(name, inside)| Step::Patch(name, inside)),
        4 => (0..5u8, any::<bool>()).prop_map(|(name, stale)| Step::Update(name, stale)),
        4 => (0..5u8).prop_map(Step::Delete),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        22 => writes(),
        3 => (0..4usize).prop_map(Step::Disconnect),
        8 => (0..4usize, 1..4u8).prop_map(|(watcher, count)| Step::Read(watcher, count)),
        1 => Just(Step::Restart),
        2 => (1..3usize, prop::collection::vec(writes(), 5)).prop_map(|(limit, writes)| Step::Pages(limit, writes)),
    ];
    prop::collection::vec(step, 1..60)
}

/// A server, and how it is reached: by its own client, or over TLS.
struct Server {
    dir: tempfile::TempDir,
    network: bool,
    running: Option<(ApiServer, Client, CancellationToken, Option<tokio::task::JoinHandle<()>>)>,
}

impl Server {
    async fn start(network: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let running = Some(open(dir.path(), network).await);
        Self { dir, network, running }
    }

    fn client(&self) -> &Client {
        &self.running.as_ref().unwrap().1
    }

    async fn restart(&mut self) {
        let (server, client, stop, serving) = self.running.take().unwrap();
        let closed = server.closed();
        stop.cancel();
        if let Some(serving) = serving {
            serving.await.unwrap();
        }
        drop((server, client));
        closed.await;
        self.running = Some(open(self.dir.path(), self.network).await);
    }

    async fn ask(&self, method: &str, path: &str, media: &str, body: Value) -> (StatusCode, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let answer = self.client().send(request.body(kube::client::Body::from(bytes)).unwrap()).await.unwrap();
        let status = answer.status();
        (status, serde_json::from_slice(&answer.into_body().collect_bytes().await.unwrap()).unwrap())
    }

    async fn list(&self, query: &str) -> (BTreeMap<String, u64>, u64) {
        let (_, list) = self.ask("GET", &format!("{MAPS}?{query}"), "", Value::Null).await;
        (items(&list).collect(), version(&list))
    }
}

fn items(list: &Value) -> impl Iterator<Item = (String, u64)> {
    list["items"].as_array().unwrap().iter().map(|item| (name(item), version(item)))
}

async fn open(
    dir: &Path,
    network: bool,
) -> (ApiServer, Client, CancellationToken, Option<tokio::task::JoinHandle<()>>) {
    let options = Options { data_dir: dir.to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    let server = ApiServer::open(options).await.unwrap();
    let stop = CancellationToken::new();
    if !network {
        let client = server.client("tester");
        return (server, client, stop, None);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig(&url).unwrap()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let serving = tokio::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        async move { server.serve(listener, stop).await.unwrap() }
    });
    (server, client, stop, Some(serving))
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

type Events = Lines<Pin<Box<dyn AsyncBufRead + Send>>>;

/// A client that keeps a copy of what it selects.
struct Watcher {
    query: &'static str,
    view: BTreeMap<String, u64>,
    /// What it has seen up to; `None` before its first list.
    seen: Option<u64>,
    events: Option<Events>,
    /// Whether it begins anew with a watch that tells what there is, or with a list.
    streams: bool,
    /// It is being told what there is.
    begins: bool,
}

/// Selectors, of which one sees everything and one a single object.
const QUERIES: [&str; 4] =
    ["", "labelSelector=in%3Dyes", "labelSelector=in%21%3Dyes", "fieldSelector=metadata.name%3Do1"];

impl Watcher {
    fn new(query: &'static str) -> Self {
        Self { query, view: BTreeMap::new(), seen: None, events: None, streams: false, begins: false }
    }

    fn disconnect(&mut self) {
        self.events = None;
        if std::mem::take(&mut self.begins) {
            // What it was told of what there is, is nothing to go on from.
            self.seen = None;
        }
    }

    async fn connect(&mut self, server: &Server) {
        if self.events.is_some() {
            return;
        }
        if self.seen.is_none() && self.streams {
            (self.view, self.seen, self.begins) = (BTreeMap::new(), Some(0), true);
        } else if self.seen.is_none() {
            let (view, seen) = server.list(self.query).await;
            (self.view, self.seen) = (view, Some(seen));
        }
        let from = match self.seen.filter(|_| !self.begins) {
            Some(seen) => format!("resourceVersion={seen}"),
            None => "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true".to_owned(),
        };
        let path = format!("{MAPS}?watch=true&{from}&{}", self.query);
        let request = Request::get(path).body(Vec::new()).unwrap();
        let body: Pin<Box<dyn AsyncBufRead + Send>> = Box::pin(server.client().request_stream(request).await.unwrap());
        self.events = Some(body.lines());
    }

    /// Reads one event, and checks that it fits what it has seen; or lists, where it has to begin anew.
    async fn read(&mut self, server: &Server) -> Result<(), TestCaseError> {
        let lists = self.seen.is_none() && !self.streams;
        self.connect(server).await;
        if lists {
            return Ok(());
        }
        let Some(line) = self.events.as_mut().unwrap().try_next().await.unwrap() else {
            self.events = None;
            return Ok(());
        };
        let event: Value = serde_json::from_str(&line).unwrap();
        let (sort, object) = (event["type"].as_str().unwrap(), &event["object"]);
        if sort == "ERROR" {
            prop_assert_eq!((&object["code"], &object["reason"]), (&json!(410), &json!("Expired")));
            (self.seen, self.events, self.streams) = (None, None, !self.streams);
            return Ok(());
        }
        if sort == "BOOKMARK" {
            let marks = &object["metadata"]["annotations"]["k8s.io/initial-events-end"];
            prop_assert_eq!((std::mem::take(&mut self.begins), marks), (true, &json!("true")));
            let newest = self.view.values().max().copied();
            prop_assert!(Some(version(object)) >= newest, "{} says less than {:?}", object, newest);
            self.seen = Some(version(object));
            return Ok(());
        }
        let (name, version) = (name(object), version(object));
        if self.begins {
            prop_assert_eq!(sort, "ADDED");
            prop_assert!(self.view.last_key_value().is_none_or(|(last, _)| *last < name), "{} is out of order", name);
            self.view.insert(name, version);
            return Ok(());
        }
        prop_assert!(Some(version) > self.seen, "{} comes again or late: {} after {:?}", name, version, self.seen);
        self.seen = Some(version);
        let had = self.view.contains_key(&name);
        prop_assert_eq!(had, sort != "ADDED", "{} {} and it was {}there", sort, name, if had { "" } else { "not " });
        match sort {
            "ADDED" | "MODIFIED" => drop(self.view.insert(name, version)),
            "DELETED" => drop(self.view.remove(&name)),
            other => panic!("{other}"),
        }
        Ok(())
    }

    /// Reads until it has seen what there is.
    async fn catch_up(&mut self, server: &Server) -> Result<(), TestCaseError> {
        let (wanted, _) = server.list(self.query).await;
        self.connect(server).await;
        while self.view != wanted {
            self.read(server).await?;
        }
        Ok(())
    }
}

async fn write(server: &Server, number: usize, step: &Step) -> Result<(), TestCaseError> {
    let label = |inside: bool| json!({"in": if inside { "yes" } else { "no" }});
    let path = |name: &u8| format!("{MAPS}/o{name}");
    match step {
        Step::Create(name, inside) => {
            let metadata = json!({"name": format!("o{name}"), "labels": label(*inside)});
            let (status, _) = server.ask("POST", MAPS, "application/json", json!({"metadata": metadata})).await;
            prop_assert!(matches!(status.as_u16(), 201 | 409));
        }
        Step::Patch(name, inside) => {
            let change = json!({"metadata": {"labels": label(*inside)}, "data": {"number": number.to_string()}});
            let (status, _) = server.ask("PATCH", &path(name), "application/merge-patch+json", change).await;
            prop_assert!(matches!(status.as_u16(), 200 | 404));
        }
        Step::Update(name, stale) => {
            let (status, mut object) = server.ask("GET", &path(name), "", Value::Null).await;
            if status == StatusCode::OK {
                object["data"] = json!({"updated": number.to_string()});
                if *stale {
                    object["metadata"]["resourceVersion"] = json!("1");
                }
                let (status, _) = server.ask("PUT", &path(name), "application/json", object).await;
                prop_assert_eq!(status.as_u16(), if *stale { 409 } else { 200 });
            }
        }
        Step::Delete(name) => {
            let (status, _) = server.ask("DELETE", &path(name), "", Value::Null).await;
            prop_assert!(matches!(status.as_u16(), 200 | 404));
        }
        other => panic!("{other:?} is no write"),
    }
    Ok(())
}

/// The list in pages is the list as it was at the first, whatever is written meanwhile.
async fn pages(server: &Server, number: usize, limit: usize, writes: &[Step]) -> Result<(), TestCaseError> {
    let (wanted, revision) = server.list("").await;
    let (mut found, mut go_on, mut writes) = (Vec::new(), String::new(), writes.iter());
    loop {
        let (status, page) = server.ask("GET", &format!("{MAPS}?limit={limit}{go_on}"), "", Value::Null).await;
        prop_assert_eq!((status.as_u16(), version(&page)), (200, revision));
        found.extend(items(&page));
        let left = (wanted.len() - found.len()) as u64;
        prop_assert_eq!(page["metadata"]["remainingItemCount"].as_u64().unwrap_or(0), left);
        let Some(token) = page["metadata"]["continue"].as_str() else { break };
        go_on = format!("&continue={token}");
        if let Some(step) = writes.next() {
            write(server, number, step).await?;
        }
    }
    prop_assert_eq!(found, wanted.into_iter().collect::<Vec<_>>());
    Ok(())
}

async fn step(server: &mut Server, watchers: &mut [Watcher], number: usize, step: &Step) -> Result<(), TestCaseError> {
    match step {
        Step::Disconnect(watcher) => watchers[*watcher].disconnect(),
        Step::Read(watcher, count) => {
            let watcher = &mut watchers[*watcher];
            let (wanted, _) = server.list(watcher.query).await;
            for _ in 0..*count {
                // Where there is nothing to read, reading would wait for ever.
                if watcher.view == wanted {
                    break;
                }
                watcher.read(server).await?;
            }
        }
        Step::Restart => {
            watchers.iter_mut().for_each(Watcher::disconnect);
            server.restart().await;
        }
        Step::Pages(limit, writes) => pages(server, number, *limit, writes).await?,
        one => write(server, number, one).await?,
    }
    Ok(())
}

async fn run(network: bool, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut server = Server::start(network).await;
    let mut watchers = QUERIES.map(Watcher::new);
    for watcher in watchers.iter_mut().step_by(2) {
        watcher.streams = true;
    }
    for (number, one) in steps.iter().enumerate() {
        step(&mut server, &mut watchers, number, one).await?;
    }
    for watcher in &mut watchers {
        watcher.catch_up(&server).await?;
    }
    // Nothing is left over: the next event of each is of the next change.
    server.ask("DELETE", &format!("{MAPS}/o1"), "", Value::Null).await;
    for watcher in &mut watchers {
        watcher.catch_up(&server).await?;
    }
    for inside in [true, false] {
        for last in [Step::Create(1, inside), Step::Patch(1, !inside), Step::Delete(1)] {
            step(&mut server, &mut watchers, 0, &last).await?;
            for watcher in &mut watchers {
                watcher.catch_up(&server).await?;
            }
        }
    }
    Ok(())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_clients_view_is_what_there_is(steps in steps()) {
        runtime().block_on(run(false, &steps))?;
    }
}

#[test]
fn every_clients_view_is_what_there_is_over_the_network() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..4 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        runtime().block_on(run(true, &steps)).unwrap();
    }
}

#[test]
fn a_client_goes_on_after_a_restart_where_a_bookmark_left_it() {
    runtime().block_on(async {
        let mut server = Server::start(false).await;
        let mut watcher = Watcher { streams: true, ..Watcher::new("labelSelector=in%3Dyes") };
        // What it does not select moves the revision on as well.
        write(&server, 0, &Step::Create(2, false)).await.unwrap();
        watcher.read(&server).await.unwrap();
        assert_eq!((watcher.begins, watcher.view.len()), (false, 0), "the bookmark is all there is to say");
        watcher.disconnect();
        server.restart().await;
        let seen = watcher.seen;
        write(&server, 0, &Step::Create(1, true)).await.unwrap();
        watcher.catch_up(&server).await.unwrap();
        assert_eq!(watcher.view.len(), 1);
        assert!(watcher.seen > seen, "it was told, and did not have to begin anew");
        // What happens before a restart is not remembered after it.
        watcher.disconnect();
        write(&server, 0, &Step::Delete(1)).await.unwrap();
        server.restart().await;
        watcher.read(&server).await.unwrap();
        assert_eq!(watcher.seen, None);
        watcher.catch_up(&server).await.unwrap();
        assert_eq!(watcher.view.len(), 0);
    });
}
