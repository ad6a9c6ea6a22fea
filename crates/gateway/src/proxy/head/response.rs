//! A response's head.

use httparse::Header;

use super::{
    Body,
    fields::{ConnectionOptions, Known},
};

/// A response's head; everything is borrowed from where it arrived.
#[derive(Debug)]
pub(in crate::proxy) struct Response<'b, 's> {
    pub status: u16,
    pub reason: &'b str,
    /// The lines that it was read from; empty in HTTP/2.
    pub lines: &'b [u8],
    pub headers: &'s [Header<'b>],
    /// What each of `headers` is.
    pub known: &'s [Known],
    pub body: Body,
    pub connection: ConnectionOptions,
    /// Whether the connection can be used again afterwards.
    pub keeps_alive: bool,
}
