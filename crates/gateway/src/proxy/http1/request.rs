//! A request's head.

use std::borrow::Cow;

use http::{HeaderName, StatusCode};
use httparse::{Header, ParserConfig, Status};

use super::{
    Body, MAX_HEAD, Refusal, Storage,
    fields::{self, ConnectionOptions, Known},
    has_bare_lf, path, refusal,
};
use crate::table::Asked;

/// A request's head, in the buffer it was read into.
#[derive(Debug)]
pub(in crate::proxy) struct Head<'b, 's> {
    /// Its bytes, including the empty line.
    pub length: usize,
    pub method: &'b str,
    /// The authority asked for: of the target if it has one (RFC 9112, 3.2.2), else `Host`; may be empty.
    pub authority: &'b str,
    /// Normalised.
    pub path: Cow<'b, str>,
    /// After the question mark.
    pub query: Option<&'b str>,
    /// The minor version: 0 or 1.
    pub version: u8,
    pub headers: &'s [Header<'b>],
    /// What each of `headers` is.
    pub known: &'s [Known],
    pub body: Body,
    pub connection: ConnectionOptions,
}

/// Parses the head at the start of `bytes`; `None` when there is not all of it yet.
///
/// # Errors
/// What must be answered instead of the request; the connection cannot be used further.
pub(in crate::proxy) fn parse<'b, 's>(
    bytes: &'b [u8],
    storage: &'s mut Storage<'b>,
) -> Result<Option<Head<'b, 's>>, Refusal> {
    let mut request = httparse::Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut storage.headers);
    let length = match parsed.map_err(refusal)? {
        Status::Complete(length) if length <= MAX_HEAD => length,
        Status::Partial if bytes.len() < MAX_HEAD => return Ok(None),
        _ => return Err(Refusal::with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "a head of more than 64 KiB")),
    };
    if has_bare_lf(bytes.get(..length).unwrap_or_default()) {
        return Err(Refusal::bad("a line feed without a carriage return"));
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Refusal::bad("the request line is not complete"));
    };
    let headers: &'s [Header<'b>] = request.headers;
    let framing = fields::scan(headers, &mut storage.known, version)?;
    let known = storage.known.get(..headers.len()).unwrap_or_default();
    let host = host(headers, known, version)?;
    let (authority, target) = split(target, method, host)?;
    if !is_authority(authority) {
        return Err(Refusal::bad("the host has a character that may not be there"));
    }
    let (raw, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let body = match framing.length {
        _ if framing.chunked => Body::Chunked,
        Some(length) if length > 0 => Body::Length(length),
        _ => Body::None,
    };
    check_expectation(headers, known)?;
    let (path, connection) = (path::normalise(raw)?, framing.connection);
    Ok(Some(Head { length, method, authority, path, query, version, headers, known, body, connection }))
}

/// The one `Host` field; HTTP/1.0 may do without.
fn host<'b>(headers: &[Header<'b>], known: &[Known], version: u8) -> Result<&'b str, Refusal> {
    let mut hosts = headers.iter().zip(known).filter(|(_, known)| **known == Known::Host);
    match (hosts.next(), hosts.next()) {
        (Some((host, _)), None) => std::str::from_utf8(host.value).map_err(|_| Refusal::bad("Host is not text")),
        (None, _) if version == 0 => Ok(""),
        (None, _) => Err(Refusal::bad("no Host")),
        (Some(_), Some(_)) => Err(Refusal::bad("more than one Host")),
    }
}

/// The authority and the path with its query (RFC 9112, 3.2).
fn split<'b>(target: &'b str, method: &str, host: &'b str) -> Result<(&'b str, &'b str), Refusal> {
    if target.contains('#') {
        return Err(Refusal::bad("the target has a fragment"));
    }
    if method == "CONNECT" {
        return Err(Refusal::with(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served"));
    }
    if target.starts_with('/') {
        return Ok((host, target));
    }
    if target == "*" && method == "OPTIONS" {
        return Ok((host, target));
    }
    let scheme = ["http://", "https://"].into_iter();
    let rest = scheme
        .into_iter()
        .find_map(|s| Some(target.split_at_checked(s.len())?).filter(|(t, _)| t.eq_ignore_ascii_case(s)));
    let Some((_, rest)) = rest else { return Err(Refusal::bad("the target is neither a path nor a URI")) };
    match rest.find(['/', '?']) {
        Some(0) => Err(Refusal::bad("the target's authority is empty")),
        Some(at) if rest.as_bytes().get(at) == Some(&b'/') => Ok(rest.split_at(at)),
        Some(_) => Err(Refusal::bad("the target has a query but no path")),
        None => Ok((rest, "/")),
    }
}

/// The characters of `uri-host [":" port]` (RFC 3986, 3.2.2), without user information.
fn is_authority(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&b))
}

/// The one expectation there is travels with the request: it is the endpoint that says `100 Continue`.
fn check_expectation(headers: &[Header<'_>], known: &[Known]) -> Result<(), Refusal> {
    let mut expected = headers.iter().zip(known).filter(|(_, known)| **known == Known::Expect);
    if expected.all(|(header, _)| header.value.eq_ignore_ascii_case(b"100-continue")) {
        return Ok(());
    }
    Err(Refusal::with(StatusCode::EXPECTATION_FAILED, "an expectation other than 100-continue"))
}

impl<'b> Head<'b, '_> {
    /// Whether sending the request twice does no more than sending it once (RFC 9110, 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }

    /// Whether the client leaves the connection open for another request (RFC 9112, 9.3).
    pub fn keeps_alive(&self) -> bool {
        !self.connection.close && (self.version == 1 || self.connection.keep_alive)
    }

    /// The values of one kind of field.
    pub fn values(&self, wanted: Known) -> impl Iterator<Item = &'b [u8]> {
        self.headers.iter().zip(self.known).filter(move |(_, known)| **known == wanted).map(|(header, _)| header.value)
    }

    /// The protocol the client asks to change to. HTTP/2 is not offered that way (RFC 9113, 3.1, withdrew it).
    pub fn upgrade(&self) -> Option<&'b [u8]> {
        let asked = self.version == 1 && self.connection.upgrade && self.body == Body::None;
        self.values(Known::Upgrade).next().filter(|protocol| asked && !protocol.eq_ignore_ascii_case(b"h2c"))
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

impl Asked for Head<'_, '_> {
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
