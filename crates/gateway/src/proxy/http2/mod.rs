//! HTTP/2 (RFC 9113): the `h2` crate on the worker's own runtime, and what is between it and the rest of the proxy.

mod client;
mod head;
mod io;
mod lanes;
mod server;
mod stream;

pub(super) use client::{Lease, Pool};
pub(super) use head::{request, response};
pub(super) use server::{PREFACE, connection};
pub(super) use stream::{Piece, Said, Stream, is_refusal, to_io};

/// What one stream may have on its way before its receiver has taken it.
pub(super) const STREAM_WINDOW: u32 = 64 * 1024;
/// What a client's connection may have on its way.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one stream that wait to be sent.
const SEND_BUFFER: usize = 64 * 1024;
