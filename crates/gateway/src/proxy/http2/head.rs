//! Heads of HTTP/2 as the proxy understands them. The library has refused what RFC 9113, 8.2 and 8.3 call malformed.

use std::mem::MaybeUninit;

use http::{HeaderMap, Method, StatusCode, request, response};
use httparse::Header;

use crate::proxy::head::{
    Body, MAX_FIELDS, Refusal, Request, Response, Storage, Version, check_expectation,
    fields::{self, Framing, Known},
    is_authority, path,
};

/// A client's request; `end` says that no body follows.
///
/// # Errors
/// What must be answered instead.
pub(in crate::proxy) fn request<'b, 's>(
    parts: &'b request::Parts,
    end: bool,
    storage: &'s mut Storage<'b>,
) -> Result<Request<'b, 's>, Refusal> {
    let (headers, known, framing) = fields(&parts.headers, storage)?;
    let uri = &parts.uri;
    let protocol = parts.extensions.get::<h2::ext::Protocol>().map(|protocol| protocol.as_str().as_bytes());
    // A WebSocket's handshake (RFC 8441, 5) is what a GET that asks for an upgrade is in HTTP/1.1.
    let method = match (&parts.method, protocol) {
        (&Method::CONNECT, Some(b"websocket")) => "GET",
        (&Method::CONNECT, _) => {
            return Err(Refusal::with(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served"));
        }
        (method, None) => method.as_str(),
        (_, Some(_)) => return Err(Refusal::bad(":protocol without CONNECT")),
    };
    let host = headers.iter().zip(known).filter(|(_, known)| **known == Known::Host).map(|(host, _)| host.value);
    let authority = authority(uri.authority().map(http::uri::Authority::as_str), host)?;
    if !is_authority(authority) {
        return Err(Refusal::bad("the host has a character that may not be there"));
    }
    check_expectation(headers, known)?;
    let raw = uri.path();
    if !(raw.starts_with('/') || raw == "*" && method == "OPTIONS") {
        return Err(Refusal::bad("the path does not begin with a slash"));
    }
    let body = match framing.length {
        // The library compares lengths as well; but not those of a CONNECT, which is none any more when it is sent on.
        Some(length) if length > 0 && (end || protocol.is_some()) => {
            return Err(Refusal::bad("Content-Length without a body"));
        }
        _ if end || protocol.is_some() => Body::None,
        Some(0) => Body::None,
        Some(length) => Body::Length(length),
        None => Body::Chunked,
    };
    Ok(Request {
        method,
        authority,
        path: path::normalise(raw)?,
        query: uri.query(),
        version: Version::Http2,
        headers,
        known,
        body,
        connection: framing.connection,
        upgrade: protocol,
    })
}

/// `:authority`, which `Host` must not contradict (RFC 9113, 8.3.1).
fn authority<'b>(asked: Option<&'b str>, mut hosts: impl Iterator<Item = &'b [u8]>) -> Result<&'b str, Refusal> {
    let host = hosts.next().map(std::str::from_utf8).transpose().map_err(|_| Refusal::bad("Host is not text"))?;
    if hosts.next().is_some() {
        return Err(Refusal::bad("more than one Host"));
    }
    match (asked, host) {
        (Some(asked), Some(host)) if !asked.eq_ignore_ascii_case(host) => {
            Err(Refusal::bad("Host and :authority differ"))
        }
        (Some(asked), _) => Ok(asked),
        (None, Some(host)) => Ok(host),
        (None, None) => Err(Refusal::bad("no :authority")),
    }
}

/// An endpoint's response; `end` says that no body follows.
///
/// # Errors
/// What is wrong with it.
pub(in crate::proxy) fn response<'b, 's>(
    parts: &'b response::Parts,
    end: bool,
    to_head: bool,
    storage: &'s mut Storage<'b>,
) -> Result<Response<'b, 's>, &'static str> {
    let (headers, known, framing) = fields(&parts.headers, storage).map_err(|refusal| refusal.reason)?;
    let status = parts.status.as_u16();
    if status == 101 {
        return Err("the endpoint changed the protocol, which HTTP/2 cannot");
    }
    let body = match framing.length {
        _ if end || to_head || matches!(status, 100..=199 | 204 | 304) => Body::None,
        Some(0) => Body::None,
        Some(length) => Body::Length(length),
        None => Body::Chunked,
    };
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let connection = framing.connection;
    Ok(Response { status, reason, lines: &[], headers, known, body, connection, keeps_alive: true })
}

type Scanned<'b, 's> = (&'s [Header<'b>], &'s [Known], Framing);

fn fields<'b, 's>(map: &'b HeaderMap, storage: &'s mut Storage<'b>) -> Result<Scanned<'b, 's>, Refusal> {
    if map.len() > MAX_FIELDS {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Refusal::with(status, "more than 100 header fields"));
    }
    for (slot, (name, value)) in storage.headers.iter_mut().zip(map) {
        // The one character that the library lets into names of HTTP/2 although it is none of a token's (RFC 9110, 5.6.2).
        if name.as_str().contains('"') {
            return Err(Refusal::bad("a header field's name is not a token"));
        }
        *slot = MaybeUninit::new(Header { name: name.as_str(), value: value.as_bytes() });
    }
    let filled = storage.headers.get(..map.len()).unwrap_or_default();
    // SAFETY: the loop has written as many of them as the map has fields, and there is room for all of these.
    let headers: &'s [Header<'b>] = unsafe { &*(std::ptr::from_ref(filled) as *const [Header<'b>]) };
    let framing = fields::scan(headers, &mut storage.known, 1)?;
    if framing.chunked {
        return Err(Refusal::bad("Transfer-Encoding in HTTP/2"));
    }
    Ok((headers, storage.known.get(..headers.len()).unwrap_or_default(), framing))
}
