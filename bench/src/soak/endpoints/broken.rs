//! An endpoint of HTTP/1.1 that breaks every rule, as the path of the request says.

use std::{io, time::Duration};

use tokio::net::TcpStream;

use super::{
    super::wire::{self, Exchange, Framing, Link},
    tunnels,
};

/// What an endpoint may do to a request, and what the client may get.
pub struct Kind {
    /// The last part of the path.
    pub name: &'static str,
    /// Statuses that the client may get.
    pub statuses: &'static [u16],
    /// The response is whole: the client gets all of it.
    pub whole: bool,
}

/// Everything that is tried.
pub const KINDS: &[Kind] = &[
    Kind { name: "dies", statuses: &[200, 502, 503], whole: false },
    Kind { name: "dies-in-chunks", statuses: &[200, 502, 503], whole: false },
    Kind { name: "shorter", statuses: &[200], whole: false },
    Kind { name: "longer", statuses: &[200], whole: true },
    Kind { name: "early", statuses: &[413, 502, 503], whole: false },
    Kind { name: "twice", statuses: &[200], whole: true },
    Kind { name: "resets", statuses: &[502, 503], whole: false },
    Kind { name: "resets-in-body", statuses: &[200, 502, 503], whole: false },
    Kind { name: "hangs", statuses: &[504], whole: false },
    Kind { name: "hangs-in-body", statuses: &[200, 504], whole: false },
    Kind { name: "not-http", statuses: &[502], whole: false },
    Kind { name: "bad-chunks", statuses: &[200, 502], whole: false },
    Kind { name: "drips", statuses: &[200, 504], whole: true },
    Kind { name: "interim", statuses: &[200], whole: true },
    Kind { name: "large-head", statuses: &[502], whole: false },
    Kind { name: "two-lengths", statuses: &[502], whole: false },
    Kind { name: "length-and-chunks", statuses: &[502], whole: false },
    Kind { name: "closes-idle", statuses: &[200, 503], whole: true },
];

/// The bytes of a response that is all right.
fn whole(exchange: &Exchange, chunked: bool) -> Vec<u8> {
    let length = usize::try_from(exchange.down).unwrap_or_default();
    let content = exchange.answered().piece(0, length);
    let (framing, body) = if chunked {
        ("Transfer-Encoding: chunked".to_owned(), chunks(&content))
    } else {
        (format!("Content-Length: {length}"), content)
    };
    let head = format!("HTTP/1.1 200 OK\r\nX-Soak: {}\r\n{framing}\r\n\r\n", exchange.seed);
    [head.as_bytes(), &body].concat()
}

fn chunks(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in content.chunks(37) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Serves one connection.
pub async fn http1(stream: TcpStream) -> io::Result<()> {
    let mut link = Link::new(stream);
    while let Some(head) = link.head().await? {
        let target = head.split(' ').nth(1).unwrap_or_default();
        let name = target.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        if wire::field(&head, "upgrade").is_some() {
            return tunnels::broken_websocket(link, name).await;
        }
        let Some(exchange) = Exchange::of_target(target) else { return Ok(()) };
        if name != "early" {
            let body = link.body(Framing::of_request(&head));
            body.is(exchange.asked(), exchange.up, Duration::ZERO).await?;
        }
        match name {
            "dies" | "dies-in-chunks" => {
                let all = whole(&exchange, name == "dies-in-chunks");
                // The seed says where; in the course of time everywhere but at the end, where nothing would be amiss.
                let at = usize::try_from(exchange.seed % all.len() as u64).unwrap_or_default();
                return link.send(all.get(..at).unwrap_or_default()).await;
            }
            "resets" | "hangs" => return give_up(link, name == "hangs").await,
            "resets-in-body" | "hangs-in-body" => {
                let all = whole(&exchange, false);
                link.send(all.get(..all.len().saturating_sub(10)).unwrap_or_default()).await?;
                return give_up(link, name == "hangs-in-body").await;
            }
            "drips" => {
                for piece in whole(&exchange, exchange.seed.is_multiple_of(2)).chunks(20) {
                    link.send(piece).await?;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            name => {
                link.send(&said(name, &exchange)).await?;
                if name != "interim" {
                    return linger(link).await;
                }
            }
        }
    }
    Ok(())
}

/// What is said at once.
fn said(name: &str, exchange: &Exchange) -> Vec<u8> {
    let all = whole(exchange, false);
    match name {
        "shorter" => all.get(..all.len().saturating_sub(1)).unwrap_or_default().to_vec(),
        "longer" => [all.as_slice(), b"and more that nobody may see"].concat(),
        "twice" => [all.as_slice(), b"HTTP/1.1 200 OK\r\nX-Soak: 1\r\nContent-Length: 5\r\n\r\nleaks"].concat(),
        "interim" => [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(5).as_slice(), &all].concat(),
        "early" => b"HTTP/1.1 413 Too much\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        "not-http" => b"220 mail.example ESMTP\r\n\r\n".to_vec(),
        "bad-chunks" => {
            let head = format!("HTTP/1.1 200 OK\r\nX-Soak: {}\r\nTransfer-Encoding: chunked\r\n\r\n", exchange.seed);
            [head.as_bytes(), b"5\r\nhello\r\nzz\r\n"].concat()
        }
        "large-head" => format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\n\r\n", "x".repeat(100_000)).into_bytes(),
        "two-lengths" => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!".to_vec(),
        "length-and-chunks" => {
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec()
        }
        // It says nothing of closing.
        _ => all,
    }
}

/// Closes after what was said has been taken: a reset would take it back.
async fn linger(mut link: Link<TcpStream>) -> io::Result<()> {
    link.end().await?;
    _ = tokio::time::timeout(Duration::from_secs(5), link.rest()).await;
    Ok(())
}

/// Resets the connection, or says nothing until the other end has had enough.
async fn give_up(mut link: Link<TcpStream>, silent: bool) -> io::Result<()> {
    if silent {
        _ = tokio::time::timeout(Duration::from_secs(60), link.rest()).await;
    } else {
        wire::reset(link.into_inner());
    }
    Ok(())
}
