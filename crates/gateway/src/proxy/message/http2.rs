//! Heads as HTTP/2 has them (RFC 9113, 8.3).

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header::UPGRADE, uri};

use super::{Changes, Fields, Ids, Origin, host, request_fields, response_fields, target};
use crate::{
    proxy::head::{
        self,
        fields::{self, Known},
    },
    table::Rewrite,
};

/// The head that the endpoint gets.
///
/// # Errors
/// The method or the target cannot be said in HTTP/2.
pub(in crate::proxy) fn request(
    head: &head::Request<'_, '_>,
    rewrite: Option<&Rewrite>,
    changes: Changes<'_>,
    origin: &Origin,
    scheme: uri::Scheme,
    random: &mut Rng,
) -> Result<(Request<()>, Ids), &'static str> {
    let method = Method::from_bytes(head.method.as_bytes()).map_err(|_| "the method is not a token")?;
    let (path, query) = target(head, rewrite);
    let target = match query {
        Some(query) => uri::PathAndQuery::from_maybe_shared(format!("{path}?{query}").into_bytes()),
        None => uri::PathAndQuery::try_from(&*path),
    };
    let target = target.map_err(|_| "the target has a character that HTTP/2 does not allow")?;
    let mut parts = uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(uri::Authority::try_from(host(head, rewrite)).map_err(|_| "the host is not one")?);
    parts.path_and_query = Some(target);
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| "the target is not one")?;
    let out = request.headers_mut();
    out.reserve(head.headers.len() + 4);
    let ids = request_fields(out, head, changes, origin, random);
    // The one thing that TE may say, and what gRPC insists on.
    if head.values(Known::Te).any(|value| fields::list(value).any(|v| v.eq_ignore_ascii_case(b"trailers"))) {
        out.field("te", b"trailers");
    }
    Ok((request, ids))
}

/// The head that the client gets.
pub(in crate::proxy) fn response(head: &head::Response<'_, '_>, changes: Changes<'_>, date: &[u8]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let out = response.headers_mut();
    // Not for those that a rule may add: with room for one too many, most maps would have twice the size.
    out.reserve(head.headers.len());
    response_fields(&mut Parts::new(out, head.lines), head, changes, date);
    // There is nothing to change to (RFC 9113, 8.2.2).
    out.remove(UPGRADE);
    response
}

/// Lines up to this length are copied once for all of their values. A compression table may hold a value for long, and with it the
/// whole copy.
const MAX_SHARED: usize = 1024;

/// Fields whose values are parts of one copy of the lines that they were read from: with a copy for each, every one of them would be
/// an allocation.
struct Parts<'a> {
    map: &'a mut HeaderMap,
    lines: &'a [u8],
    copy: Bytes,
}

impl<'a> Parts<'a> {
    fn new(map: &'a mut HeaderMap, lines: &'a [u8]) -> Self {
        let copy = if lines.len() <= MAX_SHARED { Bytes::copy_from_slice(lines) } else { Bytes::new() };
        Self { map, lines, copy }
    }

    /// The same bytes in the copy, if they are among the lines.
    fn shared(&self, value: &[u8]) -> Option<Bytes> {
        let start = value.as_ptr().addr().checked_sub(self.lines.as_ptr().addr())?;
        let end = start.checked_add(value.len()).filter(|end| *end <= self.copy.len())?;
        Some(self.copy.slice(start..end))
    }
}

impl Fields for Parts<'_> {
    fn field(&mut self, name: &str, value: &[u8]) {
        match (HeaderName::from_bytes(name.as_bytes()), self.shared(value).map(HeaderValue::from_maybe_shared)) {
            (Ok(name), Some(Ok(value))) => _ = self.map.append(name, value),
            _ => self.map.field(name, value),
        }
    }
}

/// The trailers in these lines; what frames or routes a message does not belong there (RFC 9110, 6.5.1).
pub(in crate::proxy) fn trailers(lines: &[u8]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if fields::known(name) == Known::Other {
            trailers.field(name, value.trim_ascii());
        }
    }
    trailers
}
