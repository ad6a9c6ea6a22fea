//! The API over HTTP: one handler that reads the path; no route per kind.

mod accounts;
mod apply;
mod body;
mod certificates;
mod check;
mod delegated;
mod discovery;
mod eviction;
pub mod fairness;
mod fields;
mod health;
mod impersonation;
mod list;
mod logs;
mod made;
pub mod metrics;
mod nodes;
mod openapi;
mod options;
mod patches;
mod pretty;
mod proxy;
mod respond;
mod reviews;
mod selection;
mod snapshot;
mod streams;
mod subresources;
mod verbs;
mod watch;
mod writers;

use std::{
    borrow::Cow,
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use ::http::{Method, Request, Response, StatusCode, request::Parts};
use bytes::Bytes;
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tokio_util::sync::CancellationToken;

use crate::{
    api_services, crd,
    openapi::Documents,
    registry::Registry,
    request::{Query, Target, Verb},
    status::Failure,
    tokens::Tokens,
};
use fairness::{Connection, Gate};
use metrics::{Metrics, Sort};

pub(crate) use self::delegated::Delegates;
pub use self::{
    delegated::Delegate,
    streams::{Sessions, fuzzing},
};

/// An answer ended before it was whole, and its client must not take it for all.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct BrokenOff(pub String);

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, BrokenOff>;
/// An answer.
pub type Answer = Response<Body>;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, such as `system:admin`.
    pub user: String,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What tells this user from an earlier one of the same name; empty where nothing does.
    pub uid: String,
    /// What else is known of the user, such as the pod that a token is bound to.
    pub extra: std::collections::BTreeMap<String, Vec<String>>,
}

/// Everything a request needs.
pub struct Handler {
    /// The objects.
    pub registry: Arc<Registry>,
    /// TLS towards the nodes' endpoints, with the certificate by which they know the API server.
    pub node_tls: Arc<rustls::ClientConfig>,
    /// The tokens of service accounts.
    pub tokens: Arc<Tokens>,
    /// The OpenAPI documents made so far.
    pub(crate) documents: Arc<Documents>,
    /// The sessions with running programs that there may be.
    pub(crate) sessions: Sessions,
    /// The groups that others serve.
    pub(crate) delegates: Delegates,
    /// Lets requests in.
    pub gate: Gate,
    /// What has been counted.
    pub metrics: Arc<Metrics>,
    /// How those who watch from outside are told of changes.
    rounds: watch::Rounds,
    /// Cancelled when the server stops: what has no end of its own ends then.
    pub ending: CancellationToken,
}

/// By which way a request came: a mark on requests that came over the network.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The connection.
    pub connection: Connection,
    /// Cancelled when its server stops.
    pub stop: CancellationToken,
}

pub use check::{Refusal, Verdict, check};
pub(crate) use discovery::subresources;

/// The reviews that are answered: group, kind and resource; their version is `v1`.
pub(crate) fn review_kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    reviews::REVIEWS.iter().map(|review| (review.group, review.kind, review.plural))
}

impl Handler {
    /// Over these objects.
    pub fn new(registry: Arc<Registry>, node_tls: Arc<rustls::ClientConfig>, tokens: Arc<Tokens>) -> Self {
        let documents = Arc::default();
        Self {
            registry,
            node_tls,
            tokens,
            documents,
            sessions: Sessions::default(),
            delegates: Delegates::default(),
            gate: Gate::default(),
            metrics: Arc::default(),
            rounds: watch::Rounds::default(),
            ending: CancellationToken::new(),
        }
    }

    /// Answers one request; failures are answers too. `identity` is `None` for somebody unknown.
    pub async fn handle<B>(self: Arc<Self>, request: Request<B>, identity: Option<Identity>) -> Answer
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let is_pretty = pretty::is_wanted(&request);
        let answer = match self.answer(request, identity).await {
            Ok(answer) => answer,
            Err(failure) => respond::failure(&failure),
        };
        if is_pretty { pretty::indented(answer) } else { answer }
    }

    async fn answer<B>(&self, request: Request<B>, identity: Option<Identity>) -> Result<Answer, Failure>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let (mut parts, incoming) = request.into_parts();
        let path = parts.uri.path();
        if let Some(health) = health::answer(self, path, parts.uri.query()).await {
            return Ok(health);
        }
        if path.trim_end_matches('/') == "/version" {
            return Ok(respond::json(StatusCode::OK, &discovery::version()));
        }
        let bearer = || accounts::bearer(&self.registry, &self.tokens, &parts.headers);
        let identity = identity.map_or_else(bearer, Ok)?;
        let identity = impersonation::acting(identity, &mut parts.headers)?;
        if let Some(keys) = accounts::discovery(&self.tokens, path) {
            return Ok(keys);
        }
        if let Some(delegate) = self.delegates.at(path) {
            return self.hand_on(&delegate, parts, incoming, &identity).await;
        }
        if let Some(document) = self.document(&parts).await? {
            return Ok(document);
        }
        if let Some(review) = reviews::Review::at(path) {
            let bytes = body::read(incoming).await?;
            let asked = reviews::Asked { handler: self, identity: &identity, headers: &parts.headers };
            return review.answer(&parts.method, &bytes, &asked);
        }
        if path == snapshot::PATH {
            return snapshot::answer(&self.registry, &parts.method, &identity);
        }
        let path = path.to_owned();
        if let Some(asked) = proxy::Asked::at(&path) {
            return proxy::answer(self, &asked, &mut parts, incoming).await;
        }
        let absent = || api_services::absent(&self.registry, &path);
        let target = Target::parse(&path, &self.registry.kinds()).ok_or_else(absent)?;
        let query = Query::parse(parts.uri.query());
        let started = Instant::now();
        if let Some(kind) = streams::Kind::of(&target) {
            let answer = streams::answer(self, kind, &target, &mut parts).await;
            self.count(sort(&target, &query, "CONNECT"), &answer, started);
            return answer;
        }
        let verb = Verb::of(&parts.method, &target, &query).ok_or_else(Failure::method_not_allowed)?;
        let origin = parts.extensions.get::<Origin>().cloned();
        let is_socket = verb == Verb::Watch && watch::socket::is_asked(&parts.headers);
        let upgrade = is_socket.then(|| parts.extensions.remove());
        let sort = sort(&target, &query, name(verb));
        let answer = async {
            let lasts = verb == Verb::Watch || target.subresource.as_deref().is_some_and(is_stream);
            let changes = !matches!(verb, Verb::Get | Verb::List | Verb::Watch);
            // What lasts has no place: it would take it from those who only ask. What is in this process waits for nobody.
            let _place = match &origin {
                Some(_) if !lasts => Some(self.gate.enter(changes)?),
                _ => None,
            };
            let _counted = (!lasts).then(|| Counted::new(&self.metrics, changes));
            let body = body::read(incoming).await?;
            let headers = &parts.headers;
            let identity = &identity;
            let call = verbs::Call { handler: self, identity, target, query, verb, headers, body, origin, upgrade };
            let defines = changes && crd::is_definition(&call.target.kind);
            let answer = call.run().await?;
            if defines {
                // Whoever has made a definition may use its kind as soon as that is answered.
                crd::sync(&self.registry).await?;
            }
            Ok::<_, Failure>(answer)
        };
        let answer = answer.await;
        self.count(sort, &answer, started);
        answer
    }

    fn count(&self, sort: Sort, answer: &Result<Answer, Failure>, started: Instant) {
        let code = answer.as_ref().map_or_else(|failure| failure.code, |answer| answer.status());
        self.metrics.note(sort, code.as_u16(), started.elapsed());
    }
}

impl Handler {
    /// A document that says what there is, or how the server does.
    async fn document(&self, parts: &Parts) -> Result<Option<Answer>, Failure> {
        if parts.uri.path() == "/metrics" {
            return Ok(Some(metrics::answer(self)));
        }
        if let Some(document) = discovery::document(parts, &self.registry.kinds(), &self.delegates).await? {
            return Ok(Some(document));
        }
        openapi::answer(&self.documents, crate::openapi::Source::new(self.registry.kinds()), parts).await
    }

    /// A request of a group that somebody else serves.
    async fn hand_on<B>(
        &self,
        delegate: &Delegate,
        parts: Parts,
        incoming: B,
        identity: &Identity,
    ) -> Result<Answer, Failure>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let started = Instant::now();
        let changes = !matches!(parts.method, Method::GET | Method::HEAD);
        let answer = async {
            let _place = match parts.extensions.get::<Origin>() {
                Some(_) => Some(self.gate.enter(changes)?),
                None => None,
            };
            let _counted = Counted::new(&self.metrics, changes);
            let body = body::read(incoming).await?;
            delegate.ask((&parts.method, &parts.uri, &parts.headers), identity, body).await
        };
        let answer = answer.await;
        let code = answer.as_ref().map_or_else(|failure| failure.code, |answer| answer.status());
        let sort = delegate.sort((&parts.method, &parts.uri), code != StatusCode::NOT_FOUND);
        self.metrics.note(sort, code.as_u16(), started.elapsed());
        answer
    }
}

/// Subresources of pods whose answers last.
fn is_stream(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward")
}

/// One request among those that are being served.
struct Counted<'a>(&'a std::sync::atomic::AtomicI64);

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics, changes: bool) -> Self {
        let [reads, writes] = &metrics.inflight;
        let count = if changes { writes } else { reads };
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the figures call a verb.
fn name(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
    }
}

/// What the figures say of a request.
fn sort(target: &Target, query: &Query, verb: &'static str) -> Sort {
    let scope = match (&target.name, target.namespace.is_empty()) {
        (Some(_), _) => "resource",
        (None, true) => "cluster",
        (None, false) => "namespace",
    };
    Sort {
        verb,
        group: target.kind.group.into(),
        version: target.kind.version.into(),
        resource: target.kind.plural.into(),
        // Whatever else a path says is no label: there is no end to what paths say.
        subresource: KNOWN
            .iter()
            .find(|name| target.subresource.as_deref() == Some(**name))
            .map_or_else(Cow::default, |name| Cow::Borrowed(*name)),
        scope,
        dry_run: query.get("dryRun").is_some(),
    }
}

/// Subresources that figures are kept of.
const KNOWN: &[&str] = &[
    "status",
    "scale",
    "finalize",
    "binding",
    "eviction",
    "log",
    "exec",
    "attach",
    "portforward",
    "proxy",
    "token",
    "ephemeralcontainers",
    "approval",
    "resize",
];

fn full(bytes: impl Into<Bytes>) -> Body {
    whole(Full::new(bytes.into()))
}

/// A body that cannot break off.
pub(crate) fn whole<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes, Error = Infallible> + Send + 'static,
{
    body.map_err(|never| match never {}).boxed_unsync()
}

/// What `crate::fuzzing` needs of the private modules.
pub(crate) mod fuzz {
    use ::http::HeaderValue;

    use super::{
        body,
        options::{ListOptions, WatchOptions},
        selection::Selection,
    };
    use crate::request::{Query, Target};

    pub(crate) fn body(media: &HeaderValue, bytes: &[u8]) {
        let _ = decoded(media, bytes);
    }

    pub(crate) fn decoded(media: &HeaderValue, bytes: &[u8]) -> Option<serde_json::Value> {
        body::decode(Some(media), bytes).ok().map(|strict| strict.value)
    }

    pub(crate) fn options(target: Option<&Target>, query: &Query) {
        let _ = (ListOptions::read(query), WatchOptions::read(query));
        if let Some(target) = target {
            let _ = Selection::of(target, query);
        }
    }
}
