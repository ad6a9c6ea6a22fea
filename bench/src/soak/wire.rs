//! HTTP/1.1 as bytes, for both ends, and content that can be checked wherever it is cut.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// The longest head that either end reads.
const MAX_HEAD: u64 = 64 * 1024;
/// How much of a body is held at a time.
pub const PIECE: usize = 16 * 1024;
/// Far more than any answer takes, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a connection's bytes travel over.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With an empty chunk.
    Chunked,
    /// With the connection.
    Close,
}

impl Framing {
    /// Of a request.
    pub fn of_request(head: &str) -> Self {
        match Self::said(head) {
            Self::Close => Self::Length(0),
            said => said,
        }
    }

    /// Of a response to anything but HEAD.
    pub fn of_response(head: &str) -> Self {
        if matches!(status(head), 100..=199 | 204 | 304) { Self::Length(0) } else { Self::said(head) }
    }

    fn said(head: &str) -> Self {
        if field(head, "transfer-encoding").is_some() {
            return Self::Chunked;
        }
        field(head, "content-length").and_then(|length| length.parse().ok()).map_or(Self::Close, Self::Length)
    }
}

/// One end of a connection.
pub struct Link<S = Box<dyn Transport>> {
    stream: BufReader<S>,
}

impl Link {
    /// Over whatever it is.
    pub fn boxed(stream: impl Transport + 'static) -> Self {
        Self::new(Box::new(stream))
    }
}

impl<S: Transport> Link<S> {
    pub fn new(stream: S) -> Self {
        // There may be thousands of them.
        Self { stream: BufReader::with_capacity(2048, stream) }
    }

    /// What its bytes travel over; what has been read ahead is lost.
    pub fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await?;
        self.stream.get_mut().flush().await
    }

    /// Says that nothing more is sent.
    pub async fn end(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown().await
    }

    /// A head with its empty line; `None` if the other end closed before its first byte.
    pub async fn head(&mut self) -> io::Result<Option<String>> {
        let mut head = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_HEAD);
        while !head.ends_with(b"\r\n\r\n") {
            if limited.read_until(b'\n', &mut head).await? == 0 {
                let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within a head");
                return if head.is_empty() { Ok(None) } else { Err(cut()) };
            }
        }
        String::from_utf8(head).map(Some).map_err(io::Error::other)
    }

    /// The body that follows a head.
    pub fn body(&mut self, framing: Framing) -> Body<'_, S> {
        let left = match framing {
            Framing::Length(length) => length,
            Framing::Close => u64::MAX,
            Framing::Chunked => 0,
        };
        Body { link: self, framing, left, done: false }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if (&mut self.stream).take(MAX_HEAD).read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(line).map_err(io::Error::other)
    }

    pub async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    /// At least one byte; none if the other end is done.
    pub async fn some(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; PIECE];
        let read = self.stream.read(&mut bytes).await?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// What arrives until the other end closes or resets, up to a bound.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end as well.
        _ = (&mut self.stream).take(MAX_HEAD).read_to_end(&mut bytes).await;
        bytes
    }
}

/// A body that is read piece by piece.
pub struct Body<'l, S> {
    link: &'l mut Link<S>,
    framing: Framing,
    /// Of the body, or of the chunk.
    left: u64,
    done: bool,
}

impl<S: Transport> Body<'_, S> {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection failed, or ended before the body did.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.framing == Framing::Chunked && self.left == 0 && !self.done {
            self.left = self.chunk().await?;
        }
        if self.done || self.left == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; usize::try_from(self.left).unwrap_or(PIECE).min(PIECE)];
        let read = self.link.stream.read(&mut piece).await?;
        if read == 0 {
            self.done = true;
            let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} bytes are missing", self.left));
            return if self.framing == Framing::Close { Ok(None) } else { Err(cut()) };
        }
        piece.truncate(read);
        self.left -= read as u64;
        if self.framing == Framing::Chunked && self.left == 0 {
            self.link.line().await?;
        }
        Ok(Some(piece))
    }

    /// The size of the next chunk; after the last one, its trailers are read.
    async fn chunk(&mut self) -> io::Result<u64> {
        let line = self.link.line().await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            self.done = true;
            while !self.link.line().await?.trim().is_empty() {}
        }
        Ok(size)
    }

    /// Whether all of it is so many bytes of this content; waits before each piece.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub async fn is(mut self, content: Content, length: u64, pause: Duration) -> io::Result<bool> {
        let (mut at, mut agrees) = (0, true);
        while let Some(piece) = self.next().await? {
            agrees &= content.agrees(at, &piece);
            at += piece.len() as u64;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(agrees && at == length)
    }
}

/// A connection without delays.
pub async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Ends a connection with a reset.
pub fn reset(stream: TcpStream) {
    // If that cannot be had it is closed.
    _ = stream.set_zero_linger();
}

/// A field of a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    crate::http::field(head, name)
}

/// A head's status.
pub fn status(head: &str) -> u16 {
    crate::http::code(head)
}

/// Bytes that follow from a number: a piece of somebody else's is told from them wherever it begins.
#[derive(Debug, Clone, Copy)]
pub struct Content(pub u64);

impl Content {
    /// `length` bytes from `offset` on, of a sequence in which every eight bytes are the hash of seed and place (SplitMix64's
    /// finish).
    pub fn piece(self, offset: u64, length: usize) -> Vec<u8> {
        let before = usize::try_from(offset % 8).unwrap_or(0);
        let mut bytes = Vec::with_capacity(before + length + 8);
        for at in offset / 8.. {
            if bytes.len() >= before + length {
                break;
            }
            let mut word = self.0 ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.truncate(before + length);
        bytes.split_off(before)
    }

    /// Whether these are the bytes from `offset` on.
    pub fn agrees(self, offset: u64, bytes: &[u8]) -> bool {
        self.piece(offset, bytes.len()) == bytes
    }
}

/// A request and its response, both of which follow from a number.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// Of the request's body; the response's is the next.
    pub seed: u64,
    /// Bytes of the request's body.
    pub up: u64,
    /// Bytes of the response's.
    pub down: u64,
    /// How the response is to be framed.
    pub framed: Framed,
}

/// How a response is to be framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    Length,
    Chunked,
    Close,
}

impl Exchange {
    /// One with bodies of up to so many bytes.
    pub fn random(most: u64) -> Self {
        let framed = [Framed::Length, Framed::Chunked, Framed::Length, Framed::Close];
        Self {
            seed: fastrand::u64(..),
            up: fastrand::u64(0..=most),
            down: fastrand::u64(0..=most),
            framed: framed.get(fastrand::usize(..framed.len())).copied().unwrap_or(Framed::Length),
        }
    }

    /// The query that tells an endpoint what is wanted.
    pub fn query(&self) -> String {
        let Self { seed, up, down, framed } = self;
        let framed = match framed {
            Framed::Length => "length",
            Framed::Chunked => "chunked",
            Framed::Close => "close",
        };
        format!("seed={seed}&up={up}&down={down}&as={framed}")
    }

    /// What a target asks for.
    pub fn of_target(target: &str) -> Option<Self> {
        let (_, query) = target.split_once('?')?;
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let framed = match value("as")? {
            "chunked" => Framed::Chunked,
            "close" => Framed::Close,
            _ => Framed::Length,
        };
        Some(Self {
            seed: value("seed")?.parse().ok()?,
            up: value("up")?.parse().ok()?,
            down: value("down")?.parse().ok()?,
            framed,
        })
    }

    /// The request's content.
    pub fn asked(&self) -> Content {
        Content(self.seed)
    }

    /// The response's.
    pub fn answered(&self) -> Content {
        Content(self.seed.wrapping_add(1))
    }
}

/// Sends an exchange's request over HTTP/1.1 and checks the response, of which so much is read at a time; whether the
/// connection goes on.
pub async fn ask<S: Transport>(
    link: &mut Link<S>,
    prefix: &str,
    exchange: &Exchange,
    pause: Duration,
) -> anyhow::Result<bool> {
    let method = if exchange.up == 0 { "GET" } else { "POST" };
    let chunked = exchange.seed.is_multiple_of(3);
    let framing = match exchange.up {
        0 => String::new(),
        _ if chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        length => format!("Content-Length: {length}\r\n"),
    };
    let head = format!("{method} {prefix}?{} HTTP/1.1\r\nHost: soak\r\n{framing}\r\n", exchange.query());
    let sent = async {
        link.send(head.as_bytes()).await.context("send the head")?;
        send_content(link, exchange.asked(), exchange.up, chunked && exchange.up > 0).await.context("send the body")
    };
    in_time(sent).await.with_context(|| format!("send {method} {prefix}?{}", exchange.query()))?;
    let came = async { link.head().await.context("read the head")?.context("closed without a response") };
    let head = in_time(came).await.with_context(|| format!("the head of {method} {prefix}?{}", exchange.query()))?;
    let checked = in_time(check(link, exchange, &head, pause)).await;
    checked.with_context(|| format!("the response to {method} {prefix}?{}", exchange.query()))
}

/// Fails when it takes longer than anything should.
async fn in_time<T>(doing: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    timeout(PATIENCE, doing).await.context("it took too long").and_then(|done| done)
}

/// Checks the rest of a response that has begun.
pub async fn check<S: Transport>(
    link: &mut Link<S>,
    exchange: &Exchange,
    head: &str,
    pause: Duration,
) -> anyhow::Result<bool> {
    ensure!(status(head) == 200, "{}", head.lines().next().unwrap_or_default());
    let seed = field(head, "x-soak").and_then(|seed| seed.parse().ok());
    ensure!(seed == Some(exchange.seed), "somebody else's response: {seed:?} instead of {}", exchange.seed);
    let body = link.body(Framing::of_response(head)).is(exchange.answered(), exchange.down, pause).await;
    ensure!(body.context("read the body")?, "the body is another's");
    let closes = field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(!closes && Framing::of_response(head) != Framing::Close)
}

/// Sends content, in chunks or not.
pub async fn send_content<S: Transport>(
    link: &mut Link<S>,
    content: Content,
    length: u64,
    chunked: bool,
) -> io::Result<()> {
    let mut at = 0;
    while at < length {
        let size = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        let piece = content.piece(at, size);
        let bytes = if chunked { [format!("{size:x}\r\n").as_bytes(), &piece, b"\r\n"].concat() } else { piece };
        link.send(&bytes).await?;
        at += size as u64;
    }
    if chunked { link.send(b"0\r\n\r\n").await } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_however_it_is_cut() {
        let content = Content(7);
        let whole = content.piece(0, 100);
        assert_eq!([content.piece(0, 13), content.piece(13, 87)].concat(), whole);
        assert!(content.agrees(13, whole.get(13..).unwrap_or_default()));
        assert!(!Content(8).agrees(0, &whole));
        assert!(!content.agrees(1, &whole));
    }

    #[test]
    fn a_target_says_what_is_wanted() {
        let exchange = Exchange { seed: 5, up: 1, down: 2, framed: Framed::Chunked };
        let read = Exchange::of_target(&format!("/right?{}", exchange.query())).map(|read| read.query());
        assert_eq!(read, Some(exchange.query()));
    }
}
