//! A request's head.

use std::borrow::Cow;

use http::{HeaderName, StatusCode};
use httparse::Header;

use super::{
    Body, Refusal, Version,
    fields::{self, ConnectionOptions, Known},
    path,
};
use crate::table::Asked;

/// A request's head; everything is borrowed from where it arrived.
#[derive(Debug)]
pub(in crate::proxy) struct Request<'b, 's> {
    pub method: &'b str,
    /// The authority asked for: of the target if it has one (RFC 9112, 3.2.2; RFC 9113, 8.3.1), else `Host`; may be empty.
    pub authority: &'b str,
    /// Normalised.
    pub path: Cow<'b, str>,
    /// After the question mark.
    pub query: Option<&'b str>,
    pub version: Version,
    pub headers: &'s [Header<'b>],
    /// What each of `headers` is.
    pub known: &'s [Known],
    pub body: Body,
    pub connection: ConnectionOptions,
    /// The protocol the client asks to change to.
    pub upgrade: Option<&'b [u8]>,
}

impl<'b> Request<'b, '_> {
    /// Whether sending the request twice does no more than sending it once (RFC 9110, 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }

    /// Whether it is a call of gRPC, by its content type.
    pub fn is_grpc(&self) -> bool {
        let content_type = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-type"));
        content_type.is_some_and(|header| is_grpc(header.value))
    }

    /// Whether the client leaves the connection open for another request (RFC 9112, 9.3).
    pub fn keeps_alive(&self) -> bool {
        !self.connection.close && (self.version != Version::Http10 || self.connection.keep_alive)
    }

    /// The values of one kind of field.
    pub fn values(&self, wanted: Known) -> impl Iterator<Item = &'b [u8]> {
        self.headers.iter().zip(self.known).filter(move |(_, known)| **known == wanted).map(|(header, _)| header.value)
    }

    /// The host name asked for: lower case, without port and trailing dot.
    pub fn host_name(&self) -> Cow<'b, str> {
        let authority = self.authority;
        let end = match authority.rfind([':', ']']) {
            Some(at) if authority.as_bytes().get(at) == Some(&b':') => at,
            _ => authority.len(),
        };
        let name = authority.get(..end).unwrap_or(authority);
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.bytes().any(|b| b.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
    }
}

impl Asked for Request<'_, '_> {
    fn method(&self) -> &str {
        self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn header(&self, name: &HeaderName) -> Option<Cow<'_, [u8]>> {
        if name == http::header::HOST {
            return Some(self.authority.as_bytes().into());
        }
        fields::joined(self.headers, name)
    }

    fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let pairs = self.query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(key, _)| path::decode_query(key) == name).map(|(_, value)| path::decode_query(value))
    }
}

/// Whether a content type is gRPC's: `application/grpc`, perhaps with the coding of its messages.
pub(in crate::proxy) fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The characters of `uri-host [":" port]` (RFC 3986, 3.2.2), without user information.
pub(in crate::proxy) fn is_authority(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&b))
}

/// The one expectation there is travels with the request: it is the endpoint that says `100 Continue`.
pub(in crate::proxy) fn check_expectation(headers: &[Header<'_>], known: &[Known]) -> Result<(), Refusal> {
    let mut expected = headers.iter().zip(known).filter(|(_, known)| **known == Known::Expect);
    if expected.all(|(header, _)| header.value.eq_ignore_ascii_case(b"100-continue")) {
        return Ok(());
    }
    Err(Refusal::with(StatusCode::EXPECTATION_FAILED, "an expectation other than 100-continue"))
}
