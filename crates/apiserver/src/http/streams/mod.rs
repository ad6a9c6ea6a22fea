//! `pods/exec`, `pods/attach` and `pods/portforward`: sessions with running programs. The client speaks WebSocket or SPDY
//! (`handshake`); whichever it is, a session is frames (`remote`) or bytes (`forward`) that are passed between it and the pod's
//! node, which has one protocol for all (`objects::session`).

mod forward;
mod forward_websocket;
mod handshake;
mod remote;
mod remote_spdy;
mod remote_websocket;
mod spdy;
mod websocket;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use http::{Method, request::Parts};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use objects::session::{Ask, Streams};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::handshake::Transport;
use super::{
    Answer, Handler,
    nodes::{Node, container},
};
use crate::{
    registry::{meta, parse},
    request::{Target, pairs},
    stall::Idle,
    status::Failure,
};

/// Sessions at a time; one more is refused.
const SESSIONS: usize = 512;

/// How long nothing may come or go in a session: the kubelet's default `streamingConnectionIdleTimeout`.
const IDLE: Duration = Duration::from_secs(4 * 60 * 60);

/// How many sessions there may be, and how many there are.
#[derive(Clone, Debug)]
pub struct Sessions {
    places: Arc<Semaphore>,
    open: Arc<[AtomicI64; KINDS.len()]>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(SESSIONS)), open: Arc::default() }
    }
}

impl Sessions {
    /// A place among them, held for as long as what it is for lasts.
    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let full =
            || Failure::unavailable(format!("there are {SESSIONS} sessions already: try again when one has ended"));
        self.places.clone().try_acquire_owned().map_err(|_| full())
    }

    fn place(&self, kind: Kind) -> Result<Place, Failure> {
        let permit = self.permit()?;
        let place = Place { kind, open: self.open.clone(), _permit: permit };
        place.add(1);
        Ok(place)
    }

    /// How many sessions of each sort are open, by their subresource.
    pub(super) fn open(&self) -> impl Iterator<Item = (&'static str, i64)> {
        KINDS.iter().map(|(_, name)| *name).zip(self.open.iter().map(|open| open.load(Ordering::Relaxed)))
    }
}

/// One session's place among all, until it is dropped.
struct Place {
    kind: Kind,
    open: Arc<[AtomicI64; KINDS.len()]>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn add(&self, count: i64) {
        for ((kind, _), open) in KINDS.iter().zip(self.open.iter()) {
            if *kind == self.kind {
                open.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.add(-1);
    }
}

/// A client's connection, once the handshake's answer is sent; it ends when nothing comes or goes for a long time.
type Upgrade = Idle<TokioIo<Upgraded>>;

async fn upgraded(upgrade: OnUpgrade) -> io::Result<Upgrade> {
    Ok(Idle::new(TokioIo::new(upgrade.await.map_err(io::Error::other)?), IDLE))
}

/// Entry points for fuzzing.
pub mod fuzzing {
    /// A SPDY connection's bytes, as a client sends them: reading them ends, in bounded memory, and does not depend on how they
    /// are cut.
    pub fn spdy(data: &[u8]) {
        super::spdy::fuzz(data);
    }
}

/// What kind of session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Exec,
    Attach,
    Forward,
}

/// The subresource of each kind of session.
const KINDS: [(Kind, &str); 3] = [(Kind::Exec, "exec"), (Kind::Attach, "attach"), (Kind::Forward, "portforward")];

impl Kind {
    /// The kind that a path is for.
    pub fn of(target: &Target) -> Option<Self> {
        let asked = target.subresource.as_deref().filter(|_| target.kind.is("", "Pod"))?;
        KINDS.iter().find(|(_, name)| *name == asked).map(|(kind, _)| *kind)
    }
}

/// A session that is about to begin.
struct Session {
    node: Node,
    /// The path at the node, with the query for `exec` and `attach`.
    path: String,
    upgrade: OnUpgrade,
    place: Place,
}

/// Answers with an upgrade.
///
/// # Errors
/// 404 for a pod that is not there, 400 for a container that it does not have, for a pod without a node and for a request that asks
/// for no upgrade.
pub(super) async fn answer(
    handler: &Handler,
    kind: Kind,
    target: &Target,
    parts: &mut Parts,
) -> Result<Answer, Failure> {
    let (namespace, name) = (&target.namespace, target.name.as_deref().unwrap_or_default());
    if !matches!(parts.method, Method::GET | Method::POST) || name.is_empty() {
        return Err(Failure::method_not_allowed());
    }
    let pod = parse(&handler.registry.get(&target.kind, namespace, name)?)?;
    let query = Pairs::of(parts.uri.query());
    let path = match kind {
        Kind::Forward => format!("/portForward/{namespace}/{name}"),
        Kind::Exec | Kind::Attach => {
            let container = container(&pod, name, query.first("container").filter(|name| !name.is_empty()))?;
            let what = if kind == Kind::Exec { "exec" } else { "attach" };
            format!("/{what}/{namespace}/{name}/{container}")
        }
    };
    let unbound = || Failure::bad_request(format!("pod {name} does not have a host assigned"));
    let node = Node::of(handler, &pod)?.ok_or_else(unbound)?;
    let no_upgrade = || Failure::bad_request("Upgrade request required");
    let transport = Transport::asked(&parts.headers).ok_or_else(no_upgrade)?;
    if !handshake::allows(transport, &parts.method) {
        return Err(Failure::method_not_allowed());
    }
    let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or_else(no_upgrade)?;
    let session = Session { node, path, upgrade, place: handler.sessions.place(kind)? };
    if kind == Kind::Forward {
        let pod = forward::Pod { name: name.to_owned(), uid: meta::text(&pod, "uid").to_owned() };
        return forward::open(session, pod, transport, &parts.headers, &query.ports());
    }
    let streams = query.streams();
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(Failure::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let argv: Vec<String> =
        if kind == Kind::Exec { query.all("command").map(str::to_owned).collect() } else { Vec::new() };
    if kind == Kind::Exec && argv.is_empty() {
        return Err(Failure::bad_request("you must specify at least one command for the container"));
    }
    let streams = Streams { tty: streams.tty && (kind == Kind::Exec || has_terminal(&pod, &session.path)), ..streams };
    let ask = Ask { streams, argv };
    let session = Session { path: format!("{}?{}", session.path, ask.query()), ..session };
    remote::open(session, ask.streams, transport, &parts.headers).await
}

/// Whether the container that a path ends with has a terminal: an attached session has one if and only if that is so.
fn has_terminal(pod: &Value, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let lists =
        ["containers", "initContainers", "ephemeralContainers"].map(|list| pod.pointer(&format!("/spec/{list}")));
    let mut all = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    let found = all.find(|container| container.get("name").and_then(Value::as_str) == Some(name));
    found.and_then(|container| container.get("tty")).and_then(Value::as_bool).unwrap_or(false)
}

/// A query's parameters, with those that are there several times.
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn of(query: Option<&str>) -> Self {
        Self(pairs(query).collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// As upstream reads booleans: everything but `false` and `0` is true.
    fn is_on(&self, name: &str) -> bool {
        self.first(name).is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    /// The streams that are asked for; both outputs where nothing is said.
    fn streams(&self) -> Streams {
        let names = ["stdin", "stdout", "stderr"];
        let nothing = names.iter().all(|name| self.first(name).is_none());
        let [stdin, stdout, stderr] = names.map(|name| self.is_on(name));
        let tty = self.is_on("tty");
        // What a terminal shows is one stream.
        Streams { stdin, stdout: stdout || nothing, stderr: (stderr || nothing) && !tty, tty }
    }

    /// The ports of a WebSocket's query, which may be lists; 0 is none.
    fn ports(&self) -> Vec<u16> {
        let all = self.all("ports").chain(self.all("port")).flat_map(|list| list.split(','));
        all.map(|port| port.trim().parse().unwrap_or(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_names_a_command_and_streams() {
        let query =
            Pairs::of(Some("command=sh&command=-c&command=echo+a%26b&stdin=True&stdout=true&stderr=false&tty=0"));
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c", "echo a&b"]);
        assert_eq!(query.streams(), Streams { stdin: true, stdout: true, ..Streams::default() });
        let silent = Pairs::of(Some("command=ls")).streams();
        assert_eq!(silent, Streams { stdout: true, stderr: true, ..Streams::default() });
        let terminal = Pairs::of(Some("stdout=1&stderr=1&tty=1")).streams();
        assert_eq!(terminal, Streams { stdout: true, tty: true, ..Streams::default() });
        assert_eq!(Pairs::of(Some("ports=80,81&ports=x")).ports(), [80, 81, 0]);
    }

    #[test]
    fn an_attached_session_has_the_terminal_that_the_container_has() {
        let pod = json!({"spec": {"containers": [{"name": "a", "tty": true}], "ephemeralContainers": [{"name": "b"}]}});
        assert!(has_terminal(&pod, "/attach/n/p/a") && !has_terminal(&pod, "/attach/n/p/b"));
    }
}
