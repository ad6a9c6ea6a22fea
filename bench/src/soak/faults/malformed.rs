//! What two readers could understand differently: the proxy refuses it, and no endpoint sees it.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};

use super::super::{
    frames::{self, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, beginning, block, frame},
    site::World,
    wire::{self, Link, dial},
};

/// Requests; what follows the head of each is a request that must not be seen.
const HTTP1: &[&str] = &[
    "POST /wrong HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /wrong HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "POST /wrong HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "POST /wrong HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    "POST /wrong HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
    "POST /wrong HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST /wrong HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST /wrong HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "POST /wrong HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /wrong HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
    "GET /wrong HTTP/1.1\r\nX: 1\r\n\r\n",
    "GET /wrong HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /wrong HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET /wrong HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "GET /wrong HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
    "GET /wrong HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
    "GET /wrong#a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /../wrong HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /wrong%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /wrong HTTP/2.0\r\nHost: a\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "nonsense\r\n\r\n",
    "\r\n\r\n\r\n\r\n\0\0\0\0",
    "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
];

/// Each in turn.
pub async fn http1(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let request = HTTP1.get(usize::try_from(turn)? % HTTP1.len()).copied().unwrap_or_default();
    let mut link = Link::new(dial(world.http).await?);
    link.send(format!("{request}GET /wrong/smuggled HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await?;
    let said = link.rest().await;
    let said = String::from_utf8_lossy(&said);
    let refused = matches!(wire::status(&said), 400 | 405 | 417 | 431 | 501 | 505);
    ensure!(said.is_empty() || refused, "{}: {said}", request.escape_debug());
    let answers = said.split("HTTP/1.1 ").skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    ensure!(answers.count() <= 1, "{}: answered twice: {said}", request.escape_debug());
    Ok(())
}

/// Fields of requests of HTTP/2, beside those of a good one; `:` first stands for a good one without that.
const HTTP2: &[&[(&str, &str)]] = &[
    &[("X-Upper", "1")],
    &[("x y", "1")],
    &[("x", "1\r\ny: 2")],
    &[("x", "1\0")],
    &[("connection", "close")],
    &[("transfer-encoding", "chunked")],
    &[("te", "gzip")],
    &[(":status", "200")],
    &[(":unknown", "1")],
    &[(":path", "/other")],
    &[("host", "other.example")],
    &[("content-length", "5")],
    &[("content-length", "0"), ("content-length", "0")],
];

/// Each in turn: the stream is reset or answered with 400, or the connection ends.
pub async fn http2(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let fields = HTTP2.get(usize::try_from(turn)? % HTTP2.len()).copied().unwrap_or_default();
    let good = [(":method", "GET"), (":scheme", "http"), (":path", "/wrong"), (":authority", "soak")];
    let (fields, flags) = ([&good, fields].concat(), END_HEADERS | END_STREAM);
    let mut stream = dial(world.http).await?;
    let mut link = Link::new(&mut stream);
    link.send(&[beginning(&[]), frame(HEADERS, flags, 1, &block(&fields))].concat()).await?;
    // A frame for a stream that is closed, or was never there.
    if turn.is_multiple_of(3) {
        link.send(&frame(DATA, END_STREAM, 1, b"smuggled")).await?;
    }
    let mut stream = link.into_inner();
    loop {
        let next = frames::next(&mut stream).await?.context("closed without a word")?;
        match next.kind {
            RST_STREAM | GOAWAY => return Ok(()),
            // Indexed 400 of the static table (RFC 7541, appendix A), or what is literal and so none of 200 and 204.
            HEADERS if next.payload.first().is_some_and(|first| !matches!(first, 0x88 | 0x89)) => return Ok(()),
            HEADERS => bail!("{fields:?} is answered with {:?}", next.payload.first()),
            _ => {}
        }
    }
}
