//! Parsing a response's head.

use httparse::{Header, ParserConfig, Status};

use crate::proxy::head::{Body, MAX_HEAD, Response, Storage, fields};

/// Parses the head at the start of `bytes`, and says how many of them it is, including the empty line; `None` when there is not
/// all of it yet.
///
/// # Errors
/// What is wrong with it: the connection cannot be used further.
pub(in crate::proxy) fn parse<'b, 's>(
    bytes: &'b [u8],
    to_head: bool,
    storage: &'s mut Storage<'b>,
) -> Result<Option<(usize, Response<'b, 's>)>, &'static str> {
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut storage.headers);
    let length = match parsed.map_err(|error| super::refusal(error).reason)? {
        Status::Complete(length) if length <= MAX_HEAD => length,
        Status::Partial if bytes.len() < MAX_HEAD => return Ok(None),
        _ => return Err("a head of more than 64 KiB"),
    };
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err("the status line is not complete");
    };
    if !(100..=999).contains(&status) {
        return Err("the status is out of range");
    }
    let headers: &'s [Header<'b>] = response.headers;
    let framing = fields::scan(headers, &mut storage.known, version).map_err(|refusal| refusal.reason)?;
    let known = storage.known.get(..headers.len()).unwrap_or_default();
    let body = match framing.length {
        _ if to_head || matches!(status, 100..=199 | 204 | 304) => Body::None,
        _ if framing.chunked => Body::Chunked,
        Some(0) => Body::None,
        Some(length) => Body::Length(length),
        None => Body::UntilClose,
    };
    let connection = framing.connection;
    let keeps_alive =
        body != Body::UntilClose && !connection.close && (version == 1 || connection.keep_alive) && status != 101;
    let reason = response.reason.unwrap_or_default();
    let lines = bytes.get(..length).unwrap_or_default();
    Ok(Some((length, Response { status, reason, lines, headers, known, body, connection, keeps_alive })))
}
