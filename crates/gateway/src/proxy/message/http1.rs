//! Heads as HTTP/1.1 writes them.

use base64::{Engine, prelude::BASE64_STANDARD};
use fastrand::Rng;
use http::{HeaderMap, StatusCode};

use super::{Changes, Fields, Ids, Origin, host, request_fields, response_fields, target};
use crate::{
    proxy::head::{
        self, Body, Version,
        fields::{self, Known},
    },
    table::Rewrite,
};

/// Writes the head that the endpoint gets.
pub(in crate::proxy) fn request(
    out: &mut Vec<u8>,
    head: &head::Request<'_, '_>,
    rewrite: Option<&Rewrite>,
    changes: Changes<'_>,
    origin: &Origin,
    random: &mut Rng,
) -> Ids {
    let (path, query) = target(head, rewrite);
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    out.field("host", host(head, rewrite));
    let ids = request_fields(out, head, changes, origin, random);
    if let Some(protocol) = head.upgrade {
        out.field("connection", b"upgrade");
        out.field("upgrade", protocol);
        if head.version == Version::Http2 {
            // HTTP/2 does without the key, which HTTP/1.1 insists on (RFC 8441, 5).
            let key = BASE64_STANDARD.encode(random.u128(..).to_ne_bytes());
            out.field("sec-websocket-key", key.as_bytes());
        }
    }
    if head.body == Body::Chunked {
        out.field("transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
    ids
}

/// What is said of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Connection {
    /// Nothing: it stays open, as HTTP/1.1 has it.
    Unsaid,
    /// It stays open, to a client that speaks HTTP/1.0.
    KeepAlive,
    /// It is closed after this response.
    Close,
    /// It changes to another protocol.
    Upgrade,
}

impl Connection {
    /// What to say to a client that speaks `version`.
    pub fn after(keeps_alive: bool, version: Version) -> Self {
        match (keeps_alive, version) {
            (false, _) => Self::Close,
            (true, Version::Http10) => Self::KeepAlive,
            (true, _) => Self::Unsaid,
        }
    }

    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Unsaid => {}
            Self::KeepAlive => out.field("connection", b"keep-alive"),
            Self::Close => out.field("connection", b"close"),
            Self::Upgrade => out.field("connection", b"upgrade"),
        }
    }
}

/// Writes the head that the client gets; `chunked` says how the body follows it.
pub(in crate::proxy) fn response(
    out: &mut Vec<u8>,
    head: &head::Response<'_, '_>,
    changes: Changes<'_>,
    connection: Connection,
    chunked: bool,
    date: &[u8],
) {
    // Piece by piece: formatting costs a multiple.
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY).as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    response_fields(out, head, changes, date);
    connection.write(out);
    if chunked {
        out.field("transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
}

/// The lines of a trailer section; what frames or routes a message does not belong there (RFC 9110, 6.5.1).
pub(in crate::proxy) fn trailers(trailers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        if fields::known(name.as_str()) == Known::Other {
            lines.field(name.as_str(), value.as_bytes());
        }
    }
    lines
}
