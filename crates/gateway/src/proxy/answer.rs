//! Responses that the proxy makes itself.

use std::{borrow::Cow, io::Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    head::{self, Refusal},
    message::{Changes, Connection, Fields, changed_path},
    route::Facts,
};
use crate::table::Redirect;

/// A response without an endpoint.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    /// One line for whoever reads it.
    text: Cow<'static, str>,
    location: Option<String>,
    /// Others.
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    pub fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text: text.into(), location: None, fields: Vec::new() }
    }

    /// The same with these fields.
    pub fn with(self, fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { fields, ..self }
    }

    /// `RequestRedirect` (Gateway API, `HTTPRequestRedirectFilter`) of a request that came by `scheme`.
    pub fn redirect(redirect: &Redirect, head: &head::Request<'_, '_>, scheme: &str) -> Self {
        let mut location = String::new();
        let scheme = redirect.scheme.as_deref().unwrap_or(scheme);
        let (host, asked_port) = split_authority(head.authority);
        // The client reached this listener at the port it names, which a published listener's own port need not be; with
        // another scheme that port is of no use and the scheme's own is meant.
        let port = redirect.port.or_else(|| asked_port.filter(|_| redirect.scheme.is_none()));
        let host = redirect.hostname.as_deref().unwrap_or(host);
        // A client of HTTP/1.0 may not have named a host: it gets a path (RFC 9110, 10.2.2).
        if !host.is_empty() {
            location = format!("{scheme}://{host}");
            if let Some(port) = port.filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443))) {
                location.push(':');
                location.push_str(&port.to_string());
            }
        }
        match &redirect.path {
            Some(change) => location.push_str(&changed_path(&head.path, change)),
            None => location.push_str(&head.path),
        }
        if let Some(query) = head.query {
            location.push('?');
            location.push_str(query);
        }
        Self { status: redirect.status, text: Cow::Borrowed(""), location: Some(location), fields: Vec::new() }
    }

    /// Where the client is sent.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Bytes of its body.
    pub fn length(&self) -> u64 {
        if self.text.is_empty() { 0 } else { self.text.len() as u64 + 1 }
    }

    /// Writes head and body; the body is left out in answer to HEAD.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        changes: Option<Changes<'_>>,
        connection: Connection,
        to_head: bool,
        date: &[u8],
    ) {
        let text = if self.text.is_empty() { String::new() } else { format!("{}\n", self.text) };
        let reason = self.status.canonical_reason().unwrap_or_default();
        // Writing to a vector cannot fail.
        _ = write!(out, "HTTP/1.1 {} {reason}\r\n", self.status.as_str());
        if self.status != StatusCode::NO_CONTENT {
            _ = write!(out, "content-length: {}\r\n", text.len());
        }
        self.fields(out, changes, date);
        connection.write(out);
        out.extend_from_slice(b"\r\n");
        if !to_head {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

impl Answer {
    /// All but what frames the message.
    fn fields(&self, out: &mut impl Fields, changes: Option<Changes<'_>>, date: &[u8]) {
        let mut own = |name: &str, value: &[u8]| {
            if changes.is_none_or(|changes| changes.keep(name)) {
                out.field(name, value);
            }
        };
        if !self.text.is_empty() {
            own("content-type", b"text/plain");
        }
        if let Some(location) = &self.location {
            own("location", location.as_bytes());
        }
        for (name, value) in &self.fields {
            own(name.as_str(), value.as_bytes());
        }
        own("date", date);
        if let Some(changes) = changes {
            changes.write(out);
        }
    }

    /// Head and body for HTTP/2; gRPC is told of a failure by a status of its own, with nothing else.
    pub fn to_http2(&self, changes: Option<Changes<'_>>, facts: &Facts, date: &[u8]) -> (Response<()>, Bytes) {
        let mut response = Response::new(());
        if facts.is_grpc {
            self.grpc(response.headers_mut());
            return (response, Bytes::new());
        }
        let text = if self.text.is_empty() { String::new() } else { format!("{}\n", self.text) };
        *response.status_mut() = self.status;
        if self.status != StatusCode::NO_CONTENT {
            response.headers_mut().insert(header::CONTENT_LENGTH, text.len().into());
        }
        self.fields(response.headers_mut(), changes, date);
        (response, if facts.is_head { Bytes::new() } else { text.into() })
    }

    /// A response that is all trailers (gRPC over HTTP/2, "Trailers-Only").
    fn grpc(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", grpc_status(self.status).into());
        // The texts are plain: nothing in them needs the escapes that gRPC asks for.
        if let Ok(text) = HeaderValue::from_str(&self.text) {
            headers.insert("grpc-message", text);
        }
    }
}

/// What a status of HTTP is called in gRPC (its `http-grpc-status-mapping.md`).
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.reason)
    }
}

/// Host and port of `host[:port]`.
fn split_authority(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}
