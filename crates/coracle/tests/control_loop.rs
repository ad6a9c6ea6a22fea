//! The gateway's control loop in front of an API that says when it tells what.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway::{
    control::{self, BindError, Options, Sink, Snapshot},
    table::{Table, Transport},
};
use http::{Request, Response};
use hyper::body::{Body, Frame};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// An API that has nothing at first. Each watch tells what is sent to it.
#[derive(Clone)]
struct Api {
    /// Where the watches of a kind are told something, by their path.
    watches: Arc<Mutex<HashMap<String, UnboundedSender<Bytes>>>>,
    idle: mpsc::Sender<Idle>,
}

/// A watch, by its path, whose client has taken in so many events and waits for more.
type Idle = (String, usize);

/// One answer: a whole text, or a watch.
enum Answer {
    Text(Option<Bytes>),
    Watch(Told),
}

struct Told {
    path: String,
    events: UnboundedReceiver<Bytes>,
    taken: usize,
    idle: mpsc::Sender<Idle>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let watch = match self.get_mut() {
            Self::Text(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Watch(watch) => watch,
        };
        let next = watch.events.poll_recv(task);
        match &next {
            // Whoever asks for more has dealt with what it had. Nobody listens any more at the end.
            Poll::Pending => _ = watch.idle.send((watch.path.clone(), watch.taken)),
            Poll::Ready(_) => watch.taken += 1,
        }
        next.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

impl Api {
    fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<_>| {
            let answer = api.answer(&request);
            async move { Ok::<_, Infallible>(Response::new(answer)) }
        });
        Client::new(service, "default")
    }

    fn answer<B>(&self, request: &Request<B>) -> Answer {
        let path = request.uri().path().to_owned();
        if !request.uri().query().unwrap_or_default().contains("watch=true") {
            let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": []});
            return Answer::Text(Some(list.to_string().into()));
        }
        let (sender, events) = unbounded_channel();
        self.watches.lock().unwrap().insert(path.clone(), sender);
        Answer::Watch(Told { path, events, taken: 0, idle: self.idle.clone() })
    }

    fn tell(&self, path: &str, object: &Value) {
        let line = json!({"type": "ADDED", "object": object}).to_string() + "\n";
        self.watches.lock().unwrap()[path].send(line.into()).unwrap();
    }
}

const SERVICES: &str = "/api/v1/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
/// What the loop watches here: everything but pods, and autoscalers.
const WATCHED: usize = 16;

/// What a sink knows of the API.
struct Known {
    api: Api,
    idle: Mutex<mpsc::Receiver<Idle>>,
}

impl Known {
    fn new() -> Self {
        let (told, idle) = mpsc::channel();
        Self { api: Api { watches: Arc::default(), idle: told }, idle: Mutex::new(idle) }
    }

    /// Waits until everything is watched, and all of it was taken in.
    fn wait(&self) {
        let (idle, mut waiting) = (self.idle.lock().unwrap(), BTreeSet::new());
        while waiting.len() < WATCHED {
            waiting.insert(idle.recv().unwrap().0);
        }
    }

    /// Tells of an object, and waits until that was taken in.
    fn tell(&self, path: &str, object: &Value) {
        self.api.tell(path, object);
        let idle = self.idle.lock().unwrap();
        while idle.recv().unwrap() != (path.to_owned(), 1) {}
    }
}

/// Runs the loop until its sink says something.
async fn run<T: Send + 'static>(client: Client, sink: impl Sink, said: mpsc::Receiver<T>) -> T {
    let mut options = Options::new(Vec::new(), [127, 0, 0, 1].into());
    options.services = false;
    let stop = CancellationToken::new();
    let control = tokio::spawn(control::run(client, options, sink, stop.clone()));
    let said = tokio::task::spawn_blocking(move || said.recv().unwrap()).await.unwrap();
    stop.cancel();
    control.await.unwrap();
    said
}

/// A sink that has a Service made right after the first look at what there is.
struct Late {
    known: Known,
    looked: AtomicBool,
    sees: AtomicBool,
    /// What was made of a look that saw the Service.
    made: mpsc::Sender<&'static str>,
}

impl Late {
    fn made(&self, what: &'static str) {
        if self.sees.load(Ordering::SeqCst) {
            // Only the first is waited for.
            _ = self.made.send(what);
        }
    }
}

impl Sink for Late {
    fn apply(&self, _: Arc<Table>) -> Vec<BindError> {
        self.made("a table");
        Vec::new()
    }

    fn endpoints_changed(&self) {
        self.made("endpoints");
    }

    fn objects(&self, snapshot: &Arc<Snapshot>) {
        self.sees.store(!snapshot.services.is_empty(), Ordering::SeqCst);
        if self.looked.swap(true, Ordering::SeqCst) {
            return;
        }
        let metadata = json!({"name": "late", "namespace": "shop", "resourceVersion": "2"});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata});
        tokio::task::block_in_place(|| {
            self.known.wait();
            self.known.tell(SERVICES, &service);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_the_last_change_is_being_looked_at_is_compiled_too() {
    let (made, first) = mpsc::channel();
    let known = Known::new();
    let client = known.api.client();
    let sink = Late { known, looked: AtomicBool::default(), sees: AtomicBool::default(), made };
    assert_eq!(run(client, sink, first).await, "a table", "the Service is not in the table");
}

/// A sink that cannot bind an address while endpoints change all the time.
struct Unbound {
    known: Known,
    looked: AtomicBool,
    applied: AtomicUsize,
    turns: AtomicUsize,
    /// Whether it was tried again.
    tried: mpsc::Sender<bool>,
}

/// The loop rests longer after so many turns than it waits at first before it tries again.
const TURNS: usize = 50;

impl Unbound {
    fn change_endpoints(&self) {
        let turn = self.turns.fetch_add(1, Ordering::SeqCst);
        if turn == TURNS {
            _ = self.tried.send(false);
        }
        let metadata = json!({"name": "web", "namespace": "shop", "resourceVersion": (turn + 2).to_string()});
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": []});
        self.known.api.tell(SLICES, &slice);
    }
}

impl Sink for Unbound {
    fn apply(&self, _: Arc<Table>) -> Vec<BindError> {
        match self.applied.fetch_add(1, Ordering::SeqCst) {
            0 => {}
            // What could not be bound is taken in.
            1 => self.change_endpoints(),
            _ => _ = self.tried.send(true),
        }
        let (address, transport) = (([127, 0, 0, 1], 80).into(), Transport::Tcp);
        vec![BindError { address, transport, message: "in use".to_owned(), denied: false }]
    }

    fn endpoints_changed(&self) {
        self.change_endpoints();
    }

    fn objects(&self, _: &Arc<Snapshot>) {
        if !self.looked.swap(true, Ordering::SeqCst) {
            tokio::task::block_in_place(|| self.known.wait());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_could_not_be_bound_is_tried_again_while_endpoints_change() {
    let (tried, first) = mpsc::channel();
    let known = Known::new();
    let client = known.api.client();
    let [applied, turns] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let sink = Unbound { known, looked: AtomicBool::default(), applied, turns, tried };
    assert!(run(client, sink, first).await, "endpoints changed {TURNS} times, and it was not tried again");
}
