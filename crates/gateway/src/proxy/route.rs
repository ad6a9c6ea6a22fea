//! From a request's head to what is done with it.

use std::{net::SocketAddr, sync::Arc};

use http::{StatusCode, header::COOKIE};

use super::{
    answer::Answer,
    extras::{self, Extras, cookie},
    head::{Body, Request as Head, Version, is_grpc},
    message::{self, Changes, Origin},
    mirror,
    transfer::Transfer,
    worker::Worker,
};
use crate::{
    balance::{HashOn, hash},
    observe::{Flag, Recording},
    table::{Action, Asked, Backend, Cluster, Hosts, Listener, ListenerService, Rule, Secured, Upstream, weighted},
};

/// What is done with a request.
pub(super) enum Decision {
    /// It goes to an endpoint.
    Forward(Request),
    /// The proxy answers, with the changes of this rule's response headers.
    Answer(Answer, Option<Arc<Rule>>),
}

/// What must be known of a request after its head has left the buffer.
#[derive(Debug)]
pub(super) struct Facts {
    /// What the client speaks.
    pub version: Version,
    pub is_head: bool,
    /// Sending it twice does no more than sending it once.
    pub is_idempotent: bool,
    /// The client leaves its connection open.
    pub keeps_alive: bool,
    /// There is a body to come.
    pub has_body: bool,
    /// The client asks to change to another protocol.
    pub upgrade: bool,
    /// It is a call of gRPC, which is told of failures in its own way.
    pub is_grpc: bool,
}

impl Facts {
    pub fn new(head: &Head<'_, '_>) -> Self {
        Self {
            version: head.version,
            is_head: head.method == "HEAD",
            is_idempotent: head.is_idempotent(),
            keeps_alive: head.keeps_alive(),
            has_body: head.body != Body::None,
            upgrade: head.upgrade.is_some(),
            // Over HTTP/1 there is no gRPC.
            is_grpc: head.version == Version::Http2 && head.is_grpc(),
        }
    }

    /// Of a request of HTTP/2 whose head is refused.
    pub fn refused(parts: &http::request::Parts) -> Self {
        Self {
            version: Version::Http2,
            is_head: parts.method == http::Method::HEAD,
            is_idempotent: false,
            keeps_alive: true,
            has_body: false,
            upgrade: false,
            is_grpc: parts.headers.get(http::header::CONTENT_TYPE).is_some_and(|v| is_grpc(v.as_bytes())),
        }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Request {
    pub rule: Arc<Rule>,
    backend: usize,
    /// What consistent hashing goes by, if the backend wants it.
    pub key: Option<u64>,
    /// The message that the endpoint gets.
    pub message: Transfer,
    /// Its head, for an endpoint that speaks HTTP/2.
    pub head: Option<Box<http::Request<()>>>,
    /// What the rule's policies make of it.
    pub extras: Option<Box<Extras>>,
}

impl Request {
    fn backend(&self) -> Option<&Backend> {
        match &self.rule.action {
            Action::Forward(backends) => backends.get(self.backend),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }

    /// Whose endpoints may answer.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.backend()?.target.as_deref().ok()
    }

    /// Changes to the response.
    pub fn changes(&self) -> Changes<'_> {
        let changes =
            Changes::new(&self.rule.response_headers, self.backend().map(|backend| &backend.response_headers));
        changes.then(self.extras.as_ref().map(|extras| &extras.response))
    }

    /// Where the request's session wants it to go.
    pub fn wanted(&self) -> Option<SocketAddr> {
        self.extras.as_ref()?.wanted
    }

    /// Bytes of it that are in memory.
    pub fn kept(&self) -> usize {
        let fields = self.head.iter().flat_map(|head| head.headers());
        self.message.head_length() + fields.map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
    }

    /// Prepares for a response of this endpoint's.
    pub fn sent_to(&mut self, endpoint: SocketAddr) {
        if let Some(extras) = &mut self.extras {
            extras.sent_to(&self.rule, endpoint);
        }
    }

    /// Sends copies to those who watch, once, when all of the body is known.
    pub fn mirror(&mut self, worker: &Worker) {
        let Some(copies) = self.extras.as_mut().map(|extras| std::mem::take(&mut extras.copies)) else { return };
        match self.message.whole() {
            Some(body) => worker.mirrors.send(copies, body),
            None if copies.is_empty() => {}
            None => tracing::debug!(rule = %self.rule.name, "a request is not mirrored: its body is too long"),
        }
    }

    /// The response has begun, and may go on for long: what was held for another try is free for others.
    pub fn answered(&mut self) {
        let Some(extras) = &mut self.extras else { return };
        extras.retrying = None;
        extras.turn = None;
        if extras.copies.is_empty() {
            self.message.forget();
        }
    }

    /// Counts another try that takes nothing of what a backend's retries may be, unless the rule has said how many there are and
    /// none is left.
    pub fn count_retry(&mut self) -> bool {
        let Some(retry) = &self.rule.retry else { return true };
        let Some(extras) = self.extras.as_mut().filter(|extras| extras.retries < retry.attempts) else { return false };
        extras.retries += 1;
        true
    }

    /// Reserves another try, if the rule has one left, the backend takes it, and all of the request is still here.
    pub fn reserve_retry(&mut self) -> bool {
        let (Some(retry), true) = (&self.rule.retry, self.message.is_here()) else { return false };
        let left = self.extras.as_ref().is_some_and(|extras| extras.retries < retry.attempts);
        // Reserved once for however many tries: only one is under way at a time.
        let held = self.extras.as_ref().is_some_and(|extras| extras.retrying.is_some());
        let permit = if left && !held { self.cluster().and_then(Cluster::permit_retry) } else { None };
        let Some(extras) = self.extras.as_mut().filter(|_| left && (held || permit.is_some())) else { return false };
        extras.retries += 1;
        extras.retrying = extras.retrying.take().or(permit);
        true
    }
}

/// What is done with a request that came to a listener, to a server that the client called `server_name` in a TLS handshake;
/// `None` if something else has come to be served at its address since the connection was opened.
pub(super) fn route(
    head: &Head<'_, '_>,
    listener: &Listener,
    server_name: Option<&str>,
    origin: &Origin,
    worker: &Worker,
    record: &mut Recording,
) -> Option<Decision> {
    match (listener.service_for(origin.address), server_name) {
        (ListenerService::Http(hosts), None) => Some(decide(head, hosts, origin, worker, record)),
        (ListenerService::Tls(secured), Some(name)) if is_misdirected(secured, name, head) => {
            let text = "this connection is to another host: open a new one";
            Some(Decision::Answer(Answer::new(StatusCode::MISDIRECTED_REQUEST, text), None))
        }
        (ListenerService::Tls(secured), Some(_)) => Some(decide(head, &secured.hosts, origin, worker, record)),
        _ => None,
    }
}

/// Whether a request is for another listener than the one whose certificate the client was shown (RFC 9110, 7.4).
fn is_misdirected(secured: &Secured, server_name: &str, head: &Head<'_, '_>) -> bool {
    let listener = |name: &str| secured.find(name).map(|(number, _)| number);
    listener(&head.host_name()) != listener(server_name)
}

/// Finds the rule for a request, and writes the head that its endpoint gets.
fn decide(head: &Head<'_, '_>, hosts: &Hosts, origin: &Origin, worker: &Worker, record: &mut Recording) -> Decision {
    let Some(routes) = hosts.find(&head.host_name()) else {
        record.flag(Flag::NoRoute);
        return Decision::Answer(Answer::new(StatusCode::NOT_FOUND, "no route has this host"), None);
    };
    let Some(rule) = routes.find(head) else {
        record.flag(Flag::NoRoute);
        return Decision::Answer(Answer::new(StatusCode::NOT_FOUND, "no route matches this request"), None);
    };
    if let Some(answer) = rule.cors.as_ref().and_then(|cors| extras::preflight(cors, head)) {
        record.routed(&rule.name, None);
        return Decision::Answer(answer, None);
    }
    let mut extras = Extras::of(rule, head, origin.scheme == "https");
    let fixed = |status, extras: Option<Box<Extras>>, record: &mut Recording| {
        record.routed(&rule.name, None);
        record.flag(Flag::NoCluster);
        let answer = Answer::new(status, "the route's backend is not valid").with(Extras::fields(extras));
        Decision::Answer(answer, Some(rule.clone()))
    };
    let elsewhere = |redirect, extras: Option<Box<Extras>>, record: &mut Recording| {
        record.routed(&rule.name, None);
        let answer = Answer::redirect(redirect, head, origin.scheme).with(Extras::fields(extras));
        Decision::Answer(answer, Some(rule.clone()))
    };
    let backends = match &rule.action {
        Action::Forward(backends) => backends,
        Action::Redirect(redirect) => return elsewhere(redirect, extras, record),
        Action::Respond(status) => return fixed(*status, extras, record),
    };
    let chosen = choose(backends, extras.as_deref_mut(), worker);
    let Some((index, backend)) = chosen.and_then(|index| Some((index, backends.get(index)?))) else {
        return fixed(StatusCode::INTERNAL_SERVER_ERROR, extras, record);
    };
    if let Some(redirect) = &backend.redirect {
        return elsewhere(redirect, extras, record);
    }
    let cluster = match &backend.target {
        Ok(cluster) => cluster,
        Err(status) => return fixed(*status, extras, record),
    };
    record.routed(&rule.name, Some(&cluster.name));
    forward(head, Chosen { rule, index, backend, cluster, extras }, origin, worker, record)
}

/// A backend by its session, else by weight.
fn choose(backends: &[Backend], extras: Option<&mut Extras>, worker: &Worker) -> Option<usize> {
    if let Some(extras) = extras
        && let Some(endpoint) = extras.wanted
    {
        let has = |backend: &Backend| backend.target.as_ref().is_ok_and(|cluster| cluster.has(endpoint));
        // Even one of weight 0: it keeps the sessions that it has.
        if let Some(index) = backends.iter().position(has) {
            return Some(index);
        }
        extras.wanted = None;
    }
    let chosen = weighted(backends, |backend| backend.weight, |total| worker.random.borrow_mut().u64(..total));
    chosen.map(|(index, _)| index)
}

/// Where a request goes.
struct Chosen<'a> {
    rule: &'a Arc<Rule>,
    index: usize,
    backend: &'a Backend,
    cluster: &'a Cluster,
    extras: Option<Box<Extras>>,
}

/// Writes the head that the endpoint gets.
fn forward(
    head: &Head<'_, '_>,
    chosen: Chosen<'_>,
    origin: &Origin,
    worker: &Worker,
    record: &mut Recording,
) -> Decision {
    let Chosen { rule, index, backend, cluster, mut extras } = chosen;
    let changes = Changes::new(&rule.request_headers, Some(&backend.request_headers));
    let rewrite = backend.rewrite.as_ref().or(rule.rewrite.as_ref());
    let random = &mut worker.random.borrow_mut();
    if !rule.mirrors.is_empty() || !backend.mirrors.is_empty() {
        let mirrors = rule.mirrors.iter().chain(&backend.mirrors);
        let copies = mirror::copies(mirrors, head, (rewrite, changes), origin, random);
        extras.get_or_insert_default().copies = copies;
    }
    let key = cluster.policy().hash_on().and_then(|on| key(on, head, origin));
    let (rule, backend) = (rule.clone(), index);
    // Of a body that may have to be sent again, or to others, a copy is kept.
    let keeps = rule.retry.is_some() || extras.as_ref().is_some_and(|extras| !extras.copies.is_empty());
    let kept = if keeps && head.body != Body::None { worker.kept.keep(head.body) } else { None };
    if cluster.protocol == Upstream::Http1 {
        let mut out = worker.buffers.borrow_mut().take_head();
        let ids = message::http1_request(&mut out, head, rewrite, changes, origin, random);
        record.identified(ids.request, ids.trace);
        let (direct, chunked) = (head.version != Version::Http2 && kept.is_none(), head.body == Body::Chunked);
        let message = if direct {
            Transfer::new(true, out, head.body, chunked)
        } else {
            Transfer::keeping(out, head.body, chunked, kept)
        };
        return Decision::Forward(Request { rule, backend, key, message, head: None, extras });
    }
    if head.version == Version::Http2 && head.upgrade.is_some() {
        let text = "WebSockets are not carried to backends that speak HTTP/2";
        return Decision::Answer(Answer::new(StatusCode::NOT_IMPLEMENTED, text), Some(rule));
    }
    match message::http2_request(head, rewrite, changes, origin, cluster.scheme(), random) {
        Ok((request, ids)) => {
            record.identified(ids.request, ids.trace);
            let message = Transfer::keeping(Vec::new(), head.body, false, kept);
            Decision::Forward(Request { rule, backend, key, message, head: Some(Box::new(request)), extras })
        }
        Err(reason) => {
            record.flag(Flag::DownstreamProtocol);
            Decision::Answer(Answer::new(StatusCode::BAD_REQUEST, reason), Some(rule))
        }
    }
}

/// The hash of what a policy goes by, if the request has it.
fn key(on: &HashOn, request: &impl Asked, origin: &Origin) -> Option<u64> {
    match on {
        HashOn::SourceAddress => Some(origin.client_hash),
        HashOn::Header(name) => request.header(name).map(|value| hash(&value)),
        HashOn::Cookie(name) => {
            let cookies = request.header(&COOKIE)?;
            cookie(&cookies, name).map(hash)
        }
    }
}
