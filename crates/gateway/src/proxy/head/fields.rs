//! Header fields that the proxy itself must understand, and the rules they share between requests and responses.

use std::borrow::Cow;

use http::{HeaderName, StatusCode};
use httparse::Header;

use super::{MAX_FIELDS, Refusal};

/// A field the proxy acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::proxy) enum Known {
    /// Passed on as it is.
    #[default]
    Other,
    /// Any of the fields of B3, a trace context.
    B3,
    Connection,
    ContentLength,
    Cookie,
    Date,
    Expect,
    ForwardedFor,
    ForwardedProto,
    Host,
    RequestId,
    Te,
    Traceparent,
    Tracestate,
    TransferEncoding,
    Upgrade,
    /// Meant for the next hop alone (RFC 9110, 7.6.1, and what predates it).
    Hop,
}

/// Which field a name means. Compared by length first, so that most names cost one comparison of numbers.
pub(in crate::proxy) fn known(name: &str) -> Known {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match name.len() {
        2 if is("te") => Known::Te,
        2 if is("b3") => Known::B3,
        4 if is("host") => Known::Host,
        4 if is("date") => Known::Date,
        6 if is("cookie") => Known::Cookie,
        6 if is("expect") => Known::Expect,
        7 if is("upgrade") => Known::Upgrade,
        10 if is("connection") => Known::Connection,
        10 if is("keep-alive") => Known::Hop,
        10 if is("tracestate") => Known::Tracestate,
        10 if is("x-b3-flags") => Known::B3,
        11 if is("x-b3-spanid") => Known::B3,
        11 if is("traceparent") => Known::Traceparent,
        12 if is("x-request-id") => Known::RequestId,
        12 if is("x-b3-traceid") || is("x-b3-sampled") => Known::B3,
        14 if is("content-length") => Known::ContentLength,
        14 if is("http2-settings") => Known::Hop,
        15 if is("x-forwarded-for") => Known::ForwardedFor,
        16 if is("proxy-connection") => Known::Hop,
        17 if is("transfer-encoding") => Known::TransferEncoding,
        17 if is("x-b3-parentspanid") => Known::B3,
        17 if is("x-forwarded-proto") => Known::ForwardedProto,
        _ => Known::Other,
    }
}

/// The members of a comma-separated list (RFC 9110, 5.6.1), without empty ones.
pub(in crate::proxy) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// What the `Connection` fields say.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::proxy) struct ConnectionOptions {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Some other field is named: it is for this hop only.
    pub others: bool,
}

/// What the fields say of a message's connection and length.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::proxy) struct Framing {
    pub connection: ConnectionOptions,
    pub length: Option<u64>,
    pub chunked: bool,
}

/// Classifies every field, and reads those that say where the message ends.
///
/// # Errors
/// More than one `Content-Length` (even the same), one that is not a number, one beside `Transfer-Encoding`, any coding but
/// `chunked`, `Transfer-Encoding` before HTTP/1.1.
pub(in crate::proxy) fn scan(
    headers: &[Header<'_>],
    known_fields: &mut [Known; MAX_FIELDS],
    version: u8,
) -> Result<Framing, Refusal> {
    let mut framing = Framing::default();
    for (header, slot) in headers.iter().zip(known_fields.iter_mut()) {
        *slot = known(header.name);
        match *slot {
            Known::Connection => {
                for option in list(header.value) {
                    match option {
                        o if o.eq_ignore_ascii_case(b"close") => framing.connection.close = true,
                        o if o.eq_ignore_ascii_case(b"keep-alive") => framing.connection.keep_alive = true,
                        o if o.eq_ignore_ascii_case(b"upgrade") => framing.connection.upgrade = true,
                        _ => framing.connection.others = true,
                    }
                }
            }
            Known::ContentLength => {
                if framing.length.is_some() {
                    return Err(Refusal::bad("more than one Content-Length"));
                }
                framing.length = Some(length(header.value)?);
            }
            Known::TransferEncoding => {
                if version == 0 {
                    return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
                }
                if framing.chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::with(StatusCode::NOT_IMPLEMENTED, "a Transfer-Encoding other than chunked"));
                }
                framing.chunked = true;
            }
            _ => {}
        }
    }
    if framing.chunked && framing.length.is_some() {
        return Err(Refusal::bad("both Transfer-Encoding and Content-Length"));
    }
    Ok(framing)
}

fn length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    number.ok_or(Refusal::bad("Content-Length is not a number"))
}

/// Whether a `Connection` field names `name`.
pub(in crate::proxy) fn named_by_connection(headers: &[Header<'_>], known_fields: &[Known], name: &str) -> bool {
    let options = headers.iter().zip(known_fields).filter(|(_, known)| **known == Known::Connection);
    options.into_iter().any(|(header, _)| list(header.value).any(|o| o.eq_ignore_ascii_case(name.as_bytes())))
}

/// A field's value; those of a repeated one are joined by commas (RFC 9110, 5.3).
pub(in crate::proxy) fn joined<'b>(headers: &[Header<'b>], name: &HeaderName) -> Option<Cow<'b, [u8]>> {
    let mut values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name.as_str())).map(|h| h.value);
    let mut joined = Cow::Borrowed(values.next()?);
    for value in values {
        joined.to_mut().push(b',');
        joined.to_mut().extend_from_slice(value);
    }
    Some(joined)
}
