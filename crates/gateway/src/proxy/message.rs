//! The heads that are sent on: what a proxy must take out, put in and keep (RFC 9110, 7.6), and the routes' own changes.

use std::{borrow::Cow, io::Write, net::IpAddr};

use fastrand::Rng;
use http::{HeaderName, HeaderValue};
use httparse::Header;

use super::http1::{
    Body,
    fields::{Known, named_by_connection},
    request, response,
};
use crate::{
    balance::hash,
    table::{HeaderChange, PathChange, Rewrite},
};

/// Where a request comes from.
#[derive(Debug)]
pub(super) struct Origin {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The client's address, as text.
    pub client: Box<str>,
    /// A hash of the client's address, for consistent hashing.
    pub client_hash: u64,
    /// See [`crate::table::Listener::edge`].
    pub edge: bool,
}

impl Origin {
    pub fn new(scheme: &'static str, client: IpAddr, edge: bool) -> Self {
        let client: Box<str> = client.to_canonical().to_string().into();
        let client_hash = hash(client.as_bytes());
        Self { scheme, client, client_hash, edge }
    }
}

/// The changes of a rule and then of its backend, as one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes<'a> {
    rule: &'a HeaderChange,
    backend: Option<&'a HeaderChange>,
}

impl<'a> Changes<'a> {
    pub fn new(rule: &'a HeaderChange, backend: Option<&'a HeaderChange>) -> Self {
        Self { rule, backend }
    }

    /// Whether a field that is there already stays.
    pub fn keep(&self, name: &str) -> bool {
        keeps(self.rule, name) && self.backend.is_none_or(|change| keeps(change, name))
    }

    /// Writes what is set and added.
    pub fn write(&self, out: &mut Vec<u8>) {
        let added = |change: &'a HeaderChange| change.set.iter().chain(&change.add);
        let here = |change: &HeaderChange, name: &HeaderName| !change.remove.contains(name);
        for (name, value) in added(self.rule).filter(|(name, _)| here(self.rule, name)) {
            if self.backend.is_none_or(|change| keeps(change, name.as_str())) {
                field(out, name.as_str(), value.as_bytes());
            }
        }
        let Some(backend) = self.backend else { return };
        for (name, value) in added(backend).filter(|(name, _)| here(backend, name)) {
            field(out, name.as_str(), value.as_bytes());
        }
    }
}

fn keeps(change: &HeaderChange, name: &str) -> bool {
    let is = |other: &HeaderName| other.as_str().eq_ignore_ascii_case(name);
    !change.set.iter().any(|(set, _)| is(set)) && !change.remove.iter().any(is)
}

/// Writes one field.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// What a request is known by from here on.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// The request's id, where it is the proxy that gave it.
    pub request: Option<[u8; 36]>,
    /// The trace's id (W3C Trace Context, 3.2.2.3).
    pub trace: Option<u128>,
}

/// Writes the head that the endpoint gets.
pub(super) fn request(
    out: &mut Vec<u8>,
    head: &request::Head<'_, '_>,
    rewrite: Option<&Rewrite>,
    changes: Changes<'_>,
    origin: &Origin,
    random: &mut Rng,
) -> Ids {
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    let path = rewrite.and_then(|rewrite| rewrite.path.as_ref());
    out.extend_from_slice(
        path.map_or(Cow::Borrowed(&*head.path), |change| changed_path(&head.path, change)).as_bytes(),
    );
    if let Some(query) = head.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = rewrite.and_then(|rewrite| rewrite.hostname.as_ref()).map(HeaderValue::as_bytes);
    field(out, "host", host.unwrap_or(head.authority.as_bytes()));
    let mut found = Found::default();
    for (header, known) in head.headers.iter().zip(head.known) {
        if found.passes(header, *known, head, origin) && changes.keep(header.name) {
            field(out, header.name, header.value);
        }
    }
    let ids = found.write_generated(out, head, changes, origin, random);
    if let Some(protocol) = head.upgrade() {
        field(out, "connection", b"upgrade");
        field(out, "upgrade", protocol);
    }
    if head.body == Body::Chunked {
        field(out, "transfer-encoding", b"chunked");
    }
    changes.write(out);
    out.extend_from_slice(b"\r\n");
    ids
}

/// What of the fields that the proxy may have to write was there already.
#[derive(Debug, Default)]
struct Found {
    forwarded_proto: bool,
    request_id: bool,
    /// The trace's id, if there is a valid field.
    traceparent: Option<u128>,
    tracestate: bool,
}

impl Found {
    /// Whether a field of the request is sent on as it is.
    fn passes(&mut self, header: &Header<'_>, known: Known, head: &request::Head<'_, '_>, origin: &Origin) -> bool {
        match known {
            Known::Other => !head.connection.others || !named_by_connection(head.headers, head.known, header.name),
            Known::ContentLength | Known::Date | Known::Expect => true,
            // On a Service's address a proxy's words are as good as any other header: Kubernetes would not touch them.
            Known::ForwardedFor => !origin.edge,
            Known::ForwardedProto => {
                self.forwarded_proto = !origin.edge;
                !origin.edge
            }
            Known::RequestId => {
                self.request_id = !origin.edge;
                !origin.edge
            }
            Known::Traceparent => {
                let first = self.traceparent.is_none() && is_traceparent(header.value);
                if first {
                    self.traceparent = trace_id(header.value);
                }
                first
            }
            // Written later: without a valid traceparent it means nothing (W3C Trace Context, 3.3).
            Known::Tracestate => {
                self.tracestate = true;
                false
            }
            Known::Connection | Known::Hop | Known::Host | Known::Te | Known::TransferEncoding | Known::Upgrade => {
                false
            }
        }
    }

    fn write_generated(
        &self,
        out: &mut Vec<u8>,
        head: &request::Head<'_, '_>,
        changes: Changes<'_>,
        origin: &Origin,
        random: &mut Rng,
    ) -> Ids {
        let mut ids = Ids { request: None, trace: self.traceparent };
        if origin.edge && changes.keep("x-forwarded-for") {
            out.extend_from_slice(b"x-forwarded-for: ");
            for before in head.values(Known::ForwardedFor).filter(|value| !value.is_empty()) {
                out.extend_from_slice(before);
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(origin.client.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if origin.edge && changes.keep("x-forwarded-proto") {
            field(out, "x-forwarded-proto", origin.scheme.as_bytes());
        }
        if !self.request_id && changes.keep("x-request-id") {
            let id = uuid::Builder::from_random_bytes(random.u128(..).to_ne_bytes()).into_uuid();
            let mut text = [0; 36];
            field(out, "x-request-id", id.hyphenated().encode_lower(&mut text).as_bytes());
            ids.request = Some(text);
        }
        if self.traceparent.is_some() {
            let states = head.values(Known::Tracestate).filter(|_| self.tracestate && changes.keep("tracestate"));
            states.for_each(|state| field(out, "tracestate", state));
        } else if changes.keep("traceparent") {
            // The lowest bit keeps either id from being all zeroes, which would be invalid. Sampled: without a proxy the
            // application would decide for itself, and an unsampled parent would keep it from recording anything.
            let (trace, span) = (random.u128(..) | 1, random.u64(..) | 1);
            // Writing to a vector cannot fail.
            _ = write!(out, "traceparent: 00-{trace:032x}-{span:016x}-01\r\n");
            ids.trace = Some(trace);
        }
        ids
    }
}

/// The trace's id of a valid traceparent.
fn trace_id(traceparent: &[u8]) -> Option<u128> {
    u128::from_str_radix(std::str::from_utf8(traceparent.get(3..35)?).ok()?, 16).ok()
}

/// `version-traceid-parentid-flags` (W3C Trace Context, 3.2).
fn is_traceparent(value: &[u8]) -> bool {
    let hex = |from: usize, to: usize| {
        value.get(from..to).filter(|digits| digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')))
    };
    let dash = |at: usize| value.get(at) == Some(&b'-');
    let not_zero = |digits: Option<&[u8]>| digits.is_some_and(|digits| digits.iter().any(|d| *d != b'0'));
    let version = hex(0, 2);
    // Later versions may be longer.
    let long_enough = value.len() == 55 || (value.len() > 55 && version != Some(b"00".as_slice()) && dash(55));
    version.is_some_and(|version| version != b"ff")
        && [2, 35, 52].into_iter().all(dash)
        && not_zero(hex(3, 35))
        && not_zero(hex(36, 52))
        && hex(53, 55).is_some()
        && long_enough
}

/// The path after a route's change.
pub(super) fn changed_path<'a>(path: &'a str, change: &'a PathChange) -> Cow<'a, str> {
    match change {
        PathChange::Full(full) => full.as_str().into(),
        PathChange::Prefix { matched, replacement } => {
            let rest = path.strip_prefix(matched.as_str()).unwrap_or(path);
            match (rest, replacement.trim_end_matches('/')) {
                ("", "") => "/".into(),
                ("", _) => replacement.as_str().into(),
                (rest, "") => rest.into(),
                (rest, replacement) => format!("{replacement}{rest}").into(),
            }
        }
    }
}

/// What is said of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    /// Nothing: it stays open, as HTTP/1.1 has it.
    Unsaid,
    /// It stays open, to a client that speaks HTTP/1.0.
    KeepAlive,
    /// It is closed after this response.
    Close,
    /// It changes to another protocol.
    Upgrade,
}

impl Connection {
    /// What to say to a client of a minor `version`.
    pub fn after(keeps_alive: bool, version: u8) -> Self {
        match (keeps_alive, version) {
            (false, _) => Self::Close,
            (true, 0) => Self::KeepAlive,
            (true, _) => Self::Unsaid,
        }
    }

    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Unsaid => {}
            Self::KeepAlive => field(out, "connection", b"keep-alive"),
            Self::Close => field(out, "connection", b"close"),
            Self::Upgrade => field(out, "connection", b"upgrade"),
        }
    }
}

/// Writes the head that the client gets; `chunked` says how the body follows it.
pub(super) fn response(
    out: &mut Vec<u8>,
    head: &response::Head<'_, '_>,
    changes: Changes<'_>,
    connection: Connection,
    chunked: bool,
    date: &[u8],
) {
    // Writing to a vector cannot fail.
    _ = write!(out, "HTTP/1.1 {} {}\r\n", head.status, head.reason);
    let mut dated = false;
    for (header, known) in head.headers.iter().zip(head.known) {
        dated |= *known == Known::Date;
        if passes_back(header, *known, head) && changes.keep(header.name) {
            field(out, header.name, header.value);
        }
    }
    if !dated && head.status >= 200 && changes.keep("date") {
        field(out, "date", date);
    }
    connection.write(out);
    if chunked {
        field(out, "transfer-encoding", b"chunked");
    }
    if head.status >= 200 {
        changes.write(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a field of the response is sent on.
fn passes_back(header: &Header<'_>, known: Known, head: &response::Head<'_, '_>) -> bool {
    match known {
        Known::Other => !head.connection.others || !named_by_connection(head.headers, head.known, header.name),
        // These have no body, and a length might make somebody wait for one.
        Known::ContentLength => !matches!(head.status, 100..=199 | 204),
        Known::Upgrade => matches!(head.status, 101 | 426),
        Known::Connection | Known::Hop | Known::Te | Known::TransferEncoding => false,
        Known::Date
        | Known::Expect
        | Known::ForwardedFor
        | Known::ForwardedProto
        | Known::Host
        | Known::RequestId
        | Known::Traceparent
        | Known::Tracestate => true,
    }
}

#[cfg(test)]
mod tests;
