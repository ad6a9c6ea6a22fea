//! An endpoint of HTTP/2 that breaks the rules, one after the other.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::super::{
    frames::{self, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, block, frame},
    wire,
};

/// Which one is next.
static TURN: AtomicU64 = AtomicU64::new(0);

/// Answers the first request of a connection as no endpoint may, or dies within a good answer.
pub async fn connection(mut stream: TcpStream) -> io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let mut asked = None;
    while asked.is_none() {
        let Some(next) = frames::next(&mut stream).await? else { return Ok(()) };
        asked = (next.kind == HEADERS).then_some(next.stream);
    }
    let (stream_id, turn) = (asked.unwrap_or(1), TURN.fetch_add(1, Ordering::Relaxed));
    let good = answer(stream_id, 5, b"hello");
    let bad = lies(stream_id);
    // Half of the connections die within a good answer: each time a byte later.
    let bytes = if turn.is_multiple_of(2) {
        let at = usize::try_from(turn / 2).unwrap_or_default() % (good.len() + 1);
        good.get(..at).unwrap_or_default().to_vec()
    } else {
        let index = usize::try_from(turn / 2).unwrap_or_default() % bad.len();
        bad.get(index).cloned().unwrap_or_default()
    };
    stream.write_all(&bytes).await?;
    if turn.is_multiple_of(3) {
        wire::reset(stream);
    } else {
        // A reset would take back what has been said.
        stream.shutdown().await?;
        while frames::next(&mut stream).await?.is_some() {}
    }
    Ok(())
}

fn answer(stream: u32, length: usize, body: &[u8]) -> Vec<u8> {
    let fields = block(&[(":status", "200"), ("content-length", &length.to_string())]);
    [frame(HEADERS, END_HEADERS, stream, &fields), frame(DATA, END_STREAM, stream, body)].concat()
}

/// Answers that are none.
fn lies(stream: u32) -> Vec<Vec<u8>> {
    let head = |fields: &[(&str, &str)], flags: u8| frame(HEADERS, END_HEADERS | flags, stream, &block(fields));
    let code = |error: u32| error.to_be_bytes();
    vec![
        answer(stream, 5, b"hell"),
        answer(stream, 5, b"hello, world"),
        [head(&[(":status", "200")], 0), head(&[(":status", "200")], 0)].concat(),
        answer(stream + 2, 5, b"hello"),
        head(&[("content-length", "0")], END_STREAM),
        head(&[(":status", "1000")], END_STREAM),
        head(&[(":status", "101")], END_STREAM),
        head(&[(":status", "200"), ("connection", "x")], END_STREAM),
        head(&[(":status", "200"), ("transfer-encoding", "chunked")], END_STREAM),
        head(&[(":status", "200"), ("X-Upper", "x")], END_STREAM),
        frame(DATA, END_STREAM, stream, b"hello"),
        frame(RST_STREAM, 0, stream, &code(2)),
        frame(RST_STREAM, 0, stream, &code(7)),
        frame(GOAWAY, 0, 0, &[code(stream), code(2)].concat()),
        frame(GOAWAY, 0, 0, &[code(0), code(0)].concat()),
        frame(0xaa, 0xff, stream, b"unknown"),
        frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
    ]
}
