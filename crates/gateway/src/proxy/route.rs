//! From a request's head to what is done with it.

use std::sync::Arc;

use http::{StatusCode, header::COOKIE};

use super::{
    answer::Answer,
    http1::{Body, request::Head},
    message::{self, Changes, Origin},
    pump::Pump,
    worker::Worker,
};
use crate::{
    balance::{HashOn, hash},
    observe::{Flag, Recording},
    table::{Action, Asked, Backend, Cluster, Hosts, Rule, weighted},
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
    /// The minor version the client speaks.
    pub version: u8,
    pub is_head: bool,
    /// Sending it twice does no more than sending it once.
    pub is_idempotent: bool,
    /// The client leaves its connection open.
    pub keeps_alive: bool,
    /// There is a body to come.
    pub has_body: bool,
    /// The client asks to change to another protocol.
    pub upgrade: bool,
}

impl Facts {
    pub fn new(head: &Head<'_, '_>) -> Self {
        Self {
            version: head.version,
            is_head: head.method == "HEAD",
            is_idempotent: head.is_idempotent(),
            keeps_alive: head.keeps_alive(),
            has_body: head.body != Body::None,
            upgrade: head.upgrade().is_some(),
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
    pub message: Pump,
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
        Changes::new(&self.rule.response_headers, self.backend().map(|backend| &backend.response_headers))
    }
}

/// Finds the rule for a request, and writes the head that its endpoint gets.
pub(super) fn decide(
    head: &Head<'_, '_>,
    hosts: &Hosts,
    origin: &Origin,
    worker: &Worker,
    record: &mut Recording,
) -> Decision {
    let Some(routes) = hosts.find(&head.host_name()) else {
        record.flag(Flag::NoRoute);
        return Decision::Answer(Answer::new(StatusCode::NOT_FOUND, "no route has this host"), None);
    };
    let Some(rule) = routes.find(head) else {
        record.flag(Flag::NoRoute);
        return Decision::Answer(Answer::new(StatusCode::NOT_FOUND, "no route matches this request"), None);
    };
    let fixed = |status, record: &mut Recording| {
        record.routed(&rule.name, None);
        record.flag(Flag::NoCluster);
        Decision::Answer(Answer::new(status, "the route's backend is not valid"), Some(rule.clone()))
    };
    let backends = match &rule.action {
        Action::Forward(backends) => backends,
        Action::Redirect(redirect) => {
            record.routed(&rule.name, None);
            return Decision::Answer(Answer::redirect(redirect, head, origin.scheme), Some(rule.clone()));
        }
        Action::Respond(status) => return fixed(*status, record),
    };
    let Some((index, backend)) =
        weighted(backends, |backend| backend.weight, |total| worker.random.borrow_mut().u64(..total))
    else {
        return fixed(StatusCode::INTERNAL_SERVER_ERROR, record);
    };
    let cluster = match &backend.target {
        Ok(cluster) => cluster,
        Err(status) => return fixed(*status, record),
    };
    record.routed(&rule.name, Some(&cluster.name));
    let key = cluster.policy().hash_on().and_then(|on| key(on, head, origin));
    let mut out = worker.buffers.borrow_mut().take_head();
    let changes = Changes::new(&rule.request_headers, Some(&backend.request_headers));
    let ids = message::request(&mut out, head, rule.rewrite.as_ref(), changes, origin, &mut worker.random.borrow_mut());
    record.identified(ids.request, ids.trace);
    let message = Pump::new(out, head.body, head.body == Body::Chunked);
    Decision::Forward(Request { rule: rule.clone(), backend: index, key, message })
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

/// The value of a cookie (RFC 6265, 4.2.1). Of HTTP/2, cookies may arrive in several fields, joined by commas here.
fn cookie<'c>(cookies: &'c [u8], name: &str) -> Option<&'c [u8]> {
    let mut pairs = cookies.split(|byte| matches!(byte, b';' | b',')).map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}
