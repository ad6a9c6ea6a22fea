//! Heads of messages as the proxy understands them, whichever version of HTTP they came in: what is asked or answered, the
//! fields, and how the body is delimited. Nothing here copies a field or does I/O.

pub(super) mod fields;
pub(super) mod path;
mod request;
mod response;

use std::mem::MaybeUninit;

use http::StatusCode;
use httparse::Header;

pub(super) use crate::observe::Protocol as Version;
pub(super) use request::{Request, check_expectation, is_authority, is_grpc};
pub(super) use response::Response;

/// More fields than this in one head are refused.
pub(super) const MAX_FIELDS: usize = 100;
/// A head longer than this is refused.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// Room for a head's fields, on the caller's stack.
pub(super) struct Storage<'b> {
    pub headers: [MaybeUninit<Header<'b>>; MAX_FIELDS],
    pub known: [fields::Known; MAX_FIELDS],
}

impl Storage<'_> {
    pub fn new() -> Self {
        Self { headers: [MaybeUninit::uninit(); MAX_FIELDS], known: [fields::Known::Other; MAX_FIELDS] }
    }
}

/// How a message's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// By itself: chunked, or the frames of HTTP/2.
    Chunked,
    /// Everything until the sender closes (responses only).
    UntilClose,
}

/// A message that is not taken: what to answer and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub reason: &'static str,
}

impl Refusal {
    pub const fn bad(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason }
    }

    pub const fn with(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }
}
