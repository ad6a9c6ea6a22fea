//! What is sent on of a message's head, and what is added, for every version of HTTP.

mod http1;
mod http2;
mod trace;

use std::{borrow::Cow, net::IpAddr};

use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::Header;

use super::head::{
    self, Version,
    fields::{Known, named_by_connection},
};
use crate::{
    balance::hash,
    table::{HeaderChange, PathChange, Rewrite},
};

use trace::B3;

pub(super) use http1::{Connection, request as http1_request, response as http1_response, trailers as http1_trailers};
pub(super) use http2::{request as http2_request, response as http2_response, trailers as http2_trailers};

/// Where the fields of a head are written.
pub(super) trait Fields {
    /// Writes one field.
    fn field(&mut self, name: &str, value: &[u8]);
}

impl Fields for Vec<u8> {
    fn field(&mut self, name: &str, value: &[u8]) {
        self.extend_from_slice(name.as_bytes());
        self.extend_from_slice(b": ");
        self.extend_from_slice(value);
        self.extend_from_slice(b"\r\n");
    }
}

impl Fields for HeaderMap {
    fn field(&mut self, name: &str, value: &[u8]) {
        // Whatever comes here was parsed as a field before.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            self.append(name, value);
        }
    }
}

/// Where a request comes from.
#[derive(Debug)]
pub(super) struct Origin {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The client's address.
    pub address: IpAddr,
    /// The same as text.
    pub client: Box<str>,
    /// A hash of the client's address, for consistent hashing.
    pub client_hash: u64,
    /// See [`crate::table::Listener::edge`].
    pub edge: bool,
}

impl Origin {
    pub fn new(scheme: &'static str, client: IpAddr, edge: bool) -> Self {
        let address = client.to_canonical();
        let client: Box<str> = address.to_string().into();
        let client_hash = hash(client.as_bytes());
        Self { scheme, address, client, client_hash, edge }
    }
}

/// The changes of a rule, then of its backend, then of this exchange alone, as one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes<'a> {
    layers: [Option<&'a HeaderChange>; 3],
}

impl<'a> Changes<'a> {
    pub fn new(rule: &'a HeaderChange, backend: Option<&'a HeaderChange>) -> Self {
        // Most rules change nothing: then no field of theirs is looked for.
        Self { layers: [Some(rule), backend, None].map(|layer| layer.filter(|change| !change.is_empty())) }
    }

    /// The same and then these.
    pub fn then(self, last: Option<&'a HeaderChange>) -> Self {
        let [rule, backend, _] = self.layers;
        Self { layers: [rule, backend, last] }
    }

    /// Whether a field that is there already stays.
    pub fn keep(&self, name: &str) -> bool {
        self.layers.iter().flatten().all(|change| keeps(change, name))
    }

    /// Writes what is set and added.
    pub fn write(&self, out: &mut impl Fields) {
        for (number, change) in self.layers.iter().enumerate() {
            let later = self.layers.get(number + 1..).unwrap_or_default();
            let added = change.iter().flat_map(|change| change.set.iter().chain(&change.add));
            let here = |name: &HeaderName| change.is_none_or(|change| !change.remove.contains(name));
            for (name, value) in added.filter(|(name, _)| here(name)) {
                if later.iter().flatten().all(|change| keeps(change, name.as_str())) {
                    out.field(name.as_str(), value.as_bytes());
                }
            }
        }
    }
}

fn keeps(change: &HeaderChange, name: &str) -> bool {
    let is = |other: &HeaderName| other.as_str().eq_ignore_ascii_case(name);
    !change.set.iter().any(|(set, _)| is(set)) && !change.remove.iter().any(is)
}

/// What a request is known by from here on.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// The request's id, where it is the proxy that gave it.
    pub request: Option<[u8; 36]>,
    /// The trace's id (W3C Trace Context, 3.2.2.3; or B3's).
    pub trace: Option<u128>,
}

/// The fields that the endpoint gets, but for `Host` and those that frame the message.
fn request_fields(
    out: &mut impl Fields,
    head: &head::Request<'_, '_>,
    changes: Changes<'_>,
    origin: &Origin,
    random: &mut Rng,
) -> Ids {
    let mut found = Found::default();
    for (header, known) in head.headers.iter().zip(head.known) {
        if found.passes(header, *known, head, origin) && changes.keep(header.name) {
            out.field(header.name, header.value);
        }
    }
    let ids = found.write_generated(out, head, changes, origin, random);
    changes.write(out);
    ids
}

/// The path and the query that the endpoint gets.
fn target<'a>(head: &'a head::Request<'_, '_>, rewrite: Option<&'a Rewrite>) -> (Cow<'a, str>, Option<&'a str>) {
    let path = rewrite.and_then(|rewrite| rewrite.path.as_ref());
    (path.map_or(Cow::Borrowed(&*head.path), |change| changed_path(&head.path, change)), head.query)
}

/// The host that the endpoint is asked for.
fn host<'a>(head: &'a head::Request<'_, '_>, rewrite: Option<&'a Rewrite>) -> &'a [u8] {
    let host = rewrite.and_then(|rewrite| rewrite.hostname.as_ref()).map(HeaderValue::as_bytes);
    host.unwrap_or(head.authority.as_bytes())
}

/// What of the fields that the proxy may have to write was there already.
#[derive(Debug, Default)]
struct Found {
    forwarded_proto: bool,
    request_id: bool,
    /// The trace's id, if there is a valid field.
    traceparent: Option<u128>,
    tracestate: bool,
    /// The client speaks of its trace in B3.
    b3: bool,
    /// The trace's id, as B3 has it.
    b3_trace: Option<u128>,
    cut_cookie: bool,
}

impl Found {
    /// Whether a field of the request is sent on as it is.
    fn passes(&mut self, header: &Header<'_>, known: Known, head: &head::Request<'_, '_>, origin: &Origin) -> bool {
        match known {
            Known::Other => !head.connection.others || !named_by_connection(head.headers, head.known, header.name),
            Known::ContentLength | Known::Date | Known::Expect => true,
            // HTTP/2 may cut a cookie into several fields, which other versions do not know (RFC 9113, 8.2.3).
            Known::Cookie => {
                self.cut_cookie = head.version == Version::Http2;
                !self.cut_cookie
            }
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
                let id = trace::traceparent(header.value).filter(|_| self.traceparent.is_none());
                self.traceparent = self.traceparent.or(id);
                id.is_some()
            }
            Known::B3 => {
                let read = trace::b3(header.name, header.value);
                match read {
                    Some(B3::Trace(id)) => (self.b3, self.b3_trace) = (true, Some(id)),
                    Some(B3::Sampling) => self.b3 = true,
                    Some(B3::More) | None => {}
                }
                read.is_some()
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
        out: &mut impl Fields,
        head: &head::Request<'_, '_>,
        changes: Changes<'_>,
        origin: &Origin,
        random: &mut Rng,
    ) -> Ids {
        let mut ids = Ids { request: None, trace: self.traceparent.or(self.b3_trace) };
        if origin.edge && changes.keep("x-forwarded-for") {
            let before = head.values(Known::ForwardedFor).filter(|value| !value.is_empty());
            joined(out, "x-forwarded-for", before.chain([origin.client.as_bytes()]), b", ");
        }
        if origin.edge && changes.keep("x-forwarded-proto") {
            out.field("x-forwarded-proto", origin.scheme.as_bytes());
        }
        if self.cut_cookie && changes.keep("cookie") {
            joined(out, "cookie", head.values(Known::Cookie), b"; ");
        }
        if !self.request_id && changes.keep("x-request-id") {
            let id = uuid::Builder::from_random_bytes(random.u128(..).to_ne_bytes()).into_uuid();
            let mut text = [0; 36];
            out.field("x-request-id", id.hyphenated().encode_lower(&mut text).as_bytes());
            ids.request = Some(text);
        }
        if self.traceparent.is_some() {
            let states = head.values(Known::Tracestate).filter(|_| self.tracestate && changes.keep("tracestate"));
            states.for_each(|state| out.field("tracestate", state));
        } else if !self.b3 && changes.keep("traceparent") {
            // Beside B3 a new trace would contradict the one that the client is in, or its wish not to be in any.
            // The lowest bit keeps either id from being all zeroes, which would be invalid. Sampled: without a proxy the
            // application would decide for itself, and an unsampled parent would keep it from recording anything.
            let (trace, span) = (random.u128(..) | 1, random.u64(..) | 1);
            out.field("traceparent", &trace::sampled(trace, span));
            ids.trace = Some(trace);
        }
        ids
    }
}

/// Writes several values as one field.
fn joined<'a>(out: &mut impl Fields, name: &str, mut values: impl Iterator<Item = &'a [u8]>, separator: &[u8]) {
    let Some(first) = values.next() else { return };
    let mut all = Cow::Borrowed(first);
    for value in values {
        let all = all.to_mut();
        all.extend_from_slice(separator);
        all.extend_from_slice(value);
    }
    out.field(name, &all);
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

/// The fields that the client gets, but for those that frame the message.
fn response_fields(out: &mut impl Fields, head: &head::Response<'_, '_>, changes: Changes<'_>, date: &[u8]) {
    let mut dated = false;
    for (header, known) in head.headers.iter().zip(head.known) {
        dated |= *known == Known::Date;
        if passes_back(header, *known, head) && changes.keep(header.name) {
            out.field(header.name, header.value);
        }
    }
    if head.status >= 200 {
        if !dated && changes.keep("date") {
            out.field("date", date);
        }
        changes.write(out);
    }
}

/// Whether a field of the response is sent on.
fn passes_back(header: &Header<'_>, known: Known, head: &head::Response<'_, '_>) -> bool {
    match known {
        Known::Other => !head.connection.others || !named_by_connection(head.headers, head.known, header.name),
        // These have no body, and a length might make somebody wait for one.
        Known::ContentLength => !matches!(head.status, 100..=199 | 204),
        Known::Upgrade => matches!(head.status, 101 | 426),
        Known::Connection | Known::Hop | Known::Te | Known::TransferEncoding => false,
        Known::Cookie
        | Known::Date
        | Known::Expect
        | Known::B3
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
