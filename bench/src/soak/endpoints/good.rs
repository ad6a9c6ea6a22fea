//! Endpoints of HTTP/1.1, HTTP/2 and gRPC that check what they get and answer what was asked for.

use std::{io, time::Duration};

use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;

use super::super::wire::{Content, Exchange, Framed, Framing, Link, PIECE, Transport, send_content};

/// The largest message of gRPC that is sent back.
const MAX_MESSAGE: usize = 1 << 20;

/// Serves one connection of HTTP/1.1.
pub async fn http1(stream: TcpStream) -> io::Result<()> {
    let mut link = Link::new(stream);
    while let Some(head) = link.head().await? {
        if !answer(&mut link, &head).await? {
            return link.end().await;
        }
    }
    Ok(())
}

/// Answers the request whose head this is; whether the connection goes on.
async fn answer<S: Transport>(link: &mut Link<S>, head: &str) -> io::Result<bool> {
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let body = link.body(Framing::of_request(head));
    let Some(exchange) = Exchange::of_target(target) else {
        // Whatever it is, it has to be read.
        body.is(Content(0), 0, Duration::ZERO).await?;
        link.send(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        return Ok(true);
    };
    let agrees = body.is(exchange.asked(), exchange.up, Duration::ZERO).await?;
    let (status, framed) = (if agrees { "200 OK" } else { "418 Wrong body" }, exchange.framed);
    let framing = match framed {
        Framed::Length => format!("Content-Length: {}\r\n", exchange.down),
        Framed::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        Framed::Close => "Connection: close\r\n".to_owned(),
    };
    link.send(format!("HTTP/1.1 {status}\r\nX-Soak: {}\r\n{framing}\r\n", exchange.seed).as_bytes()).await?;
    if method != "HEAD" {
        send_content(link, exchange.answered(), exchange.down, framed == Framed::Chunked).await?;
    }
    Ok(framed != Framed::Close)
}

/// Serves one connection of HTTP/2.
pub async fn http2(stream: TcpStream) -> io::Result<()> {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1 << 18).initial_connection_window_size(1 << 20);
    let mut connection = builder.handshake::<_, Bytes>(stream).await.map_err(io::Error::other)?;
    let mut requests = tokio::task::JoinSet::new();
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.map_err(io::Error::other)?;
        requests.spawn(async move {
            // Whoever asked sees that it failed.
            _ = match request.headers().get("content-type") {
                Some(kind) if kind == "application/grpc" => call(request, respond).await,
                _ => exchange(request, respond).await,
            };
        });
        while requests.try_join_next().is_some() {}
    }
    Ok(())
}

async fn exchange(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let asked = head.uri.path_and_query().and_then(|target| Exchange::of_target(target.as_str()));
    let Some(asked) = asked else {
        let mut response = Response::new(());
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        return respond.send_response(response, true).map(drop);
    };
    let (mut at, mut agrees) = (0, true);
    while let Some(piece) = body.data().await {
        let piece = piece?;
        agrees &= asked.asked().agrees(at, &piece);
        at += piece.len() as u64;
        body.flow_control().release_capacity(piece.len())?;
    }
    let mut response = Response::new(());
    if !(agrees && at == asked.up) {
        *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
    }
    response.headers_mut().insert("x-soak", asked.seed.into());
    if asked.framed == Framed::Length {
        response.headers_mut().insert("content-length", asked.down.into());
    }
    let mut stream = respond.send_response(response, asked.down == 0)?;
    if asked.down > 0 {
        send(&mut stream, asked.answered(), asked.down, true).await?;
    }
    Ok(())
}

/// Sends content as the other end takes it.
pub async fn send(stream: &mut SendStream<Bytes>, content: Content, length: u64, end: bool) -> Result<(), h2::Error> {
    let mut at = 0;
    while at < length {
        let size = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        if !has_capacity(stream, size).await? {
            return Ok(());
        }
        let size = size.min(stream.capacity());
        let last = end && at + size as u64 == length;
        stream.send_data(content.piece(at, size).into(), last)?;
        at += size as u64;
    }
    Ok(())
}

/// Waits until the other end takes something; `false` if it never will again.
async fn has_capacity(stream: &mut SendStream<Bytes>, wanted: usize) -> Result<bool, h2::Error> {
    stream.reserve_capacity(wanted);
    while stream.capacity() == 0 {
        match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(capacity) => drop(capacity?),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Sends a message of gRPC back.
async fn call(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    let mut message = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        if message.len() + piece.len() > MAX_MESSAGE {
            respond.send_reset(h2::Reason::CANCEL);
            return Ok(());
        }
        message.extend_from_slice(&piece);
    }
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut stream = respond.send_response(response, false)?;
    let mut left = Bytes::from(message);
    while !left.is_empty() {
        if !has_capacity(&mut stream, left.len()).await? {
            return Ok(());
        }
        let piece = left.split_to(stream.capacity().min(left.len()));
        stream.send_data(piece, false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}
