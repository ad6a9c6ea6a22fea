//! Parsing a request's head.

use http::StatusCode;
use httparse::{Header, ParserConfig, Status};

use super::{has_bare_lf, refusal};
use crate::proxy::head::{
    Body, MAX_HEAD, Refusal, Request, Storage, Version, check_expectation,
    fields::{self, Known},
    is_authority, path,
};

/// Parses the head at the start of `bytes`, and says how many of them it is, including the empty line; `None` when there is not
/// all of it yet.
///
/// # Errors
/// What must be answered instead of the request; the connection cannot be used further.
pub(in crate::proxy) fn parse<'b, 's>(
    bytes: &'b [u8],
    storage: &'s mut Storage<'b>,
) -> Result<Option<(usize, Request<'b, 's>)>, Refusal> {
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
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let mut head = Request { method, authority, path, query, version, headers, known, body, connection, upgrade: None };
    head.upgrade = upgrade(&head);
    Ok(Some((length, head)))
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

/// The protocol the client asks to change to. HTTP/2 is not offered that way (RFC 9113, 3.1, withdrew it).
fn upgrade<'b>(head: &Request<'b, '_>) -> Option<&'b [u8]> {
    let asked = head.version == Version::Http11 && head.connection.upgrade && head.body == Body::None;
    head.values(Known::Upgrade)
        .next()
        .filter(|protocols| asked && !fields::list(protocols).any(|protocol| protocol.eq_ignore_ascii_case(b"h2c")))
}
