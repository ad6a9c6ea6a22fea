//! Frames of HTTP/2 as bytes (RFC 9113, 4 to 6), for clients and endpoints that do what a library would not.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// No frame that is read here is longer.
const MAX_FRAME: usize = 1 << 16;

/// One frame; what would not fit into its length is left out.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let payload = payload.get(..payload.len().min(0x00ff_ffff)).unwrap_or_default();
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = length.get(1..).unwrap_or_default().to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literal fields (RFC 7541, 6.2.2); texts are cut at 126 bytes.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            let text = text.as_bytes().get(..text.len().min(126)).unwrap_or_default();
            bytes.push(text.len() as u8);
            bytes.extend(text);
        }
    }
    bytes
}

/// A whole request's HEADERS.
pub fn request(stream: u32, flags: u8, method: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "soak")];
    frame(HEADERS, END_HEADERS | flags, stream, &block(&fields))
}

/// How a client begins, with these settings.
pub fn beginning(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    [PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat()
}

/// What the other end says.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The next frame; `None` when the other end has closed or reset.
///
/// # Errors
/// A frame that is longer than any may be.
pub async fn next(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; 9];
    if stream.read_exact(&mut head).await.is_err() {
        return Ok(None);
    }
    let [a, b, c, kind, _, d, e, f, g] = head;
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let mut payload = vec![0; length];
    if stream.read_exact(&mut payload).await.is_err() {
        return Ok(None);
    }
    Ok(Some(Frame { kind, stream: u32::from_be_bytes([d & 0x7f, e, f, g]), payload }))
}

/// The error of the first GOAWAY, or `None` if the connection ends without.
///
/// # Errors
/// As [`next`].
pub async fn goaway(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<u32>> {
    while let Some(frame) = next(stream).await? {
        if let (GOAWAY, [_, _, _, _, a, b, c, d, ..]) = (frame.kind, frame.payload.as_slice()) {
            return Ok(Some(u32::from_be_bytes([*a, *b, *c, *d])));
        }
    }
    Ok(None)
}
