//! HTTP/1.1 as bytes (RFC 9112): heads and bodies in, strictly; nothing here does I/O.
//!
//! Whatever two parties could read differently is refused rather than repaired, because a request that this proxy and the
//! application behind it delimit differently lets one client put words into another's mouth (request smuggling).

pub(super) mod body;
mod chunked;
pub(super) mod request;
pub(super) mod response;

use http::StatusCode;

use super::head::Refusal;

/// Whether a line ends in a bare LF. RFC 9112 lets a recipient take it for a line's end; not every recipient does.
fn has_bare_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at.checked_sub(1).and_then(|before| head.get(before)) != Some(&b'\r'))
}

/// A refusal for what the parser says.
fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => {
            Refusal::with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "more than 100 header fields")
        }
        httparse::Error::Version => {
            Refusal::with(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        }
        httparse::Error::HeaderName => Refusal::bad("a header field's name is not a token"),
        httparse::Error::HeaderValue => Refusal::bad("a header field's value has a control character"),
        httparse::Error::NewLine => Refusal::bad("a carriage return without a line feed"),
        httparse::Error::Status => Refusal::bad("the status is not a number"),
        httparse::Error::Token => Refusal::bad("the start line has a character that may not be there"),
    }
}
