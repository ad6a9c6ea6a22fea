//! Endpoints of what the proxy passes on without understanding it: WebSockets and TCP.

use std::io;

use tokio::net::TcpStream;

use super::super::wire::{self, Link, Transport};

/// The longest payload of a frame that is sent back.
const MAX_PAYLOAD: usize = 65_535;

/// Accepts a WebSocket and sends every frame's payload back until the client closes.
pub async fn websocket(stream: TcpStream) -> io::Result<()> {
    let mut link = Link::new(stream);
    let Some(head) = link.head().await? else { return Ok(()) };
    if wire::field(&head, "upgrade").is_none() {
        return link.send(b"HTTP/1.1 426 Upgrade\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    }
    link.send(ACCEPTED).await?;
    loop {
        let (opcode, payload) = read_frame(&mut link).await?;
        link.send(&frame(opcode, &payload, None)).await?;
        if opcode == CLOSE {
            return link.end().await;
        }
    }
}

const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

/// The opcodes that are used here (RFC 6455, 5.2).
pub const BINARY: u8 = 2;
/// See [`BINARY`].
pub const CLOSE: u8 = 8;

/// A whole message; masked if it is a client's.
pub fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let payload = payload.get(..payload.len().min(MAX_PAYLOAD)).unwrap_or_default();
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![0x80 | opcode];
    if payload.len() < 126 {
        bytes.push(masked | payload.len() as u8);
    } else {
        bytes.push(masked | 126);
        bytes.extend((payload.len() as u16).to_be_bytes());
    }
    let mask = mask.inspect(|mask| bytes.extend(mask)).unwrap_or_default();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A frame's opcode and payload.
///
/// # Errors
/// The connection ended, or the frame is longer than any that is sent here.
pub async fn read_frame<S: Transport>(link: &mut Link<S>) -> io::Result<(u8, Vec<u8>)> {
    let [first, second] = link.exactly(2).await?.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    let length = match second & 0x7f {
        127 => return Err(io::Error::other("a frame that is too long")),
        126 => {
            let length = link.exactly(2).await?.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
            usize::from(u16::from_be_bytes(length))
        }
        length => usize::from(length),
    };
    let mask = if second & 0x80 == 0 { vec![0; 4] } else { link.exactly(4).await? };
    let payload = link.exactly(length).await?;
    Ok((first & 0x0f, payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()))
}

/// What becomes of a handshake in the hands of an endpoint that breaks the rules.
pub async fn broken_websocket(mut link: Link<TcpStream>, name: &str) -> io::Result<()> {
    match name {
        "refuses" => link.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await,
        "says-nothing" => Ok(()),
        "resets" => {
            wire::reset(link.into_inner());
            Ok(())
        }
        "changes-to-nothing" => link.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await,
        _ => {
            link.send(ACCEPTED).await?;
            // The beginning of a frame.
            link.send(&[0x82, 126, 1]).await?;
            wire::reset(link.into_inner());
            Ok(())
        }
    }
}

/// Sends back what it gets.
pub async fn tcp(stream: TcpStream) -> io::Result<()> {
    let mut link = Link::new(stream);
    loop {
        let bytes = link.some().await?;
        if bytes.is_empty() {
            return link.end().await;
        }
        link.send(&bytes).await?;
    }
}

/// Sends half of it back and resets.
pub async fn broken_tcp(stream: TcpStream) -> io::Result<()> {
    let mut link = Link::new(stream);
    let bytes = link.some().await?;
    link.send(bytes.get(..bytes.len() / 2).unwrap_or_default()).await?;
    wire::reset(link.into_inner());
    Ok(())
}
