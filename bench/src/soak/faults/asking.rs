//! Clients that behave well and ask for what is broken: the error must be the endpoint's, and nobody else's.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use h2::Reason;
use http::Request;

use super::super::{
    endpoints::KINDS,
    site::{BROKEN_TIMEOUT, World},
    wire::{self, Exchange, Framed, Framing, Link, ask, dial},
};
use crate::soak::clients::connect_http2;

/// One with bodies of such sizes that every kind of endpoint has something to break.
fn small() -> Exchange {
    let (up, down) = (fastrand::u64(0..2_000), fastrand::u64(100..1_000));
    Exchange { up, down, framed: Framed::Length, ..Exchange::random(1) }
}

/// Every kind in turn; then something good on the same connection.
pub async fn broken_http1(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let Some(kind) = KINDS.get(usize::try_from(turn)? % KINDS.len()) else { return Ok(()) };
    let exchange = small();
    let mut link = Link::new(dial(world.http).await?);
    let goes_on = judged(&mut link, kind.name, kind.statuses, kind.whole, &exchange).await.context(kind.name)?;
    if goes_on {
        let exchange = Exchange { up: 0, framed: Framed::Length, ..Exchange::random(1_000) };
        ask(&mut link, "/right", &exchange, Duration::ZERO).await.context("the request after it")?;
    }
    Ok(())
}

async fn judged<S: wire::Transport>(
    link: &mut Link<S>,
    name: &str,
    statuses: &[u16],
    whole: bool,
    exchange: &Exchange,
) -> anyhow::Result<bool> {
    let began = Instant::now();
    let method = if exchange.seed.is_multiple_of(2) { "PUT" } else { "POST" };
    let head = format!(
        "{method} /broken/{name}?{} HTTP/1.1\r\nHost: soak\r\nContent-Length: {}\r\n\r\n",
        exchange.query(),
        exchange.up
    );
    link.send(head.as_bytes()).await?;
    wire::send_content(link, exchange.asked(), exchange.up, false).await?;
    let mut heard = link.head().await?;
    while heard.as_deref().is_some_and(|head| wire::status(head) == 103) {
        heard = link.head().await?;
    }
    // Where a response breaks off at its beginning there may be nothing to pass on.
    let Some(head) = heard else {
        ensure!(!whole, "closed without a response");
        return Ok(false);
    };
    let status = wire::status(&head);
    ensure!(statuses.contains(&status), "{head}");
    let closes = wire::field(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if status != 200 {
        let mut body = link.body(Framing::of_response(&head));
        while body.next().await?.is_some() {}
        return Ok(!closes);
    }
    let seed = wire::field(&head, "x-soak").and_then(|seed| seed.parse().ok());
    ensure!(seed == Some(exchange.seed), "somebody else's response: {seed:?} instead of {}", exchange.seed);
    let (mut body, mut at) = (link.body(Framing::of_response(&head)), 0);
    loop {
        match body.next().await {
            Ok(Some(piece)) => {
                // Of bad chunks, the good ones before them are passed on.
                let agrees = exchange.answered().agrees(at, &piece) || name == "bad-chunks";
                ensure!(agrees, "the body is another's");
                at += piece.len() as u64;
            }
            Ok(None) => break,
            // What drips may take longer than the route has time, on a machine that has other things to do.
            Err(_) if !whole || began.elapsed() >= BROKEN_TIMEOUT => return Ok(false),
            Err(error) => bail!("cut off: {error}"),
        }
    }
    ensure!(at == exchange.down, "{at} bytes instead of {} look whole", exchange.down);
    Ok(!closes)
}

/// The same from a client of HTTP/2: where a response breaks off its stream is reset, and the others go on.
pub async fn broken_http1_over_http2(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let Some(kind) = KINDS.get(usize::try_from(turn)? % KINDS.len()) else { return Ok(()) };
    let exchange = Exchange { up: 0, ..small() };
    let began = Instant::now();
    let open = connect_http2(&world).await?;
    let uri = format!("http://soak/broken/{}?{}", kind.name, exchange.query());
    let request = Request::post(uri).header("content-length", "0").body(())?;
    let (response, _) = open.clone().ready().await?.send_request(request, true)?;
    match response.await {
        Ok(response) => {
            let status = response.status().as_u16();
            ensure!(kind.statuses.contains(&status), "{}: {status}", kind.name);
            let mut body = response.into_body();
            let (mut at, mut broken) = (0, false);
            while let Some(piece) = body.data().await {
                match piece {
                    Ok(piece) => {
                        let agrees = exchange.answered().agrees(at, &piece);
                        ensure!(agrees || status != 200 || kind.name == "bad-chunks", "{}: another's", kind.name);
                        at += piece.len() as u64;
                        body.flow_control().release_capacity(piece.len())?;
                    }
                    Err(error) => {
                        ensure!(error.reason() == Some(Reason::INTERNAL_ERROR), "{}: {error}", kind.name);
                        broken = true;
                        break;
                    }
                }
            }
            let whole = kind.whole && !(broken && began.elapsed() >= BROKEN_TIMEOUT);
            ensure!(broken != whole || status != 200, "{}: whole or not, it is not told", kind.name);
            ensure!(broken || status != 200 || at == exchange.down, "{}: {at} bytes look whole", kind.name);
        }
        Err(error) => ensure!(error.reason() == Some(Reason::INTERNAL_ERROR), "{}: {error}", kind.name),
    }
    let mut going_on = open.clone().ready().await.context("the connection after it")?;
    let request = Request::get("http://soak/right").body(())?;
    let status = going_on.send_request(request, true)?.0.await.context("the request after it")?.status();
    ensure!(status == 204, "the request after it: {status}");
    Ok(())
}

/// Endpoints of HTTP/2 that die and lie.
pub async fn broken_http2(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut link = Link::new(dial(world.http).await?);
    let method = if turn.is_multiple_of(2) { "GET" } else { "DELETE" };
    link.send(format!("{method} /broken-h2 HTTP/1.1\r\nHost: soak\r\n\r\n").as_bytes()).await?;
    let head = link.head().await?.context("closed without a response")?;
    match wire::status(&head) {
        200 => {
            let mut body = link.body(Framing::of_response(&head));
            let mut read = Vec::new();
            while let Ok(Some(piece)) = body.next().await {
                read.extend_from_slice(&piece);
            }
            ensure!(b"hello".starts_with(&read) || read.is_empty(), "{}", read.escape_ascii());
        }
        502..=504 => {}
        _ => bail!("{head}"),
    }
    Ok(())
}

/// A service whose endpoints are sometimes none.
pub async fn coming(world: Arc<World>, _: u64) -> anyhow::Result<()> {
    let mut link = Link::new(dial(world.http).await?);
    let exchange = Exchange { up: 0, framed: Framed::Length, ..Exchange::random(1_000) };
    let request = format!("GET /broken-coming?{} HTTP/1.1\r\nHost: soak\r\n\r\n", exchange.query());
    link.send(request.as_bytes()).await?;
    let head = link.head().await?.context("closed without a response")?;
    if wire::status(&head) == 503 {
        return Ok(());
    }
    wire::check(&mut link, &exchange, &head, Duration::ZERO).await.map(drop)
}

/// A route, or a listener, that is there or not: the answer is right or 404, or nobody listens.
pub async fn passing(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let address = if turn.is_multiple_of(2) { world.http } else { world.passing };
    let Ok(stream) = dial(address).await else {
        ensure!(address == world.passing, "nobody listens");
        return Ok(());
    };
    let mut link = Link::new(stream);
    let exchange = Exchange { up: 0, framed: Framed::Length, ..Exchange::random(1_000) };
    let request = format!("GET /passing?{} HTTP/1.1\r\nHost: soak\r\n\r\n", exchange.query());
    let head = match link.send(request.as_bytes()).await {
        Ok(()) => link.head().await,
        Err(error) => Err(error),
    };
    match head {
        Ok(Some(head)) if wire::status(&head) == 404 => Ok(()),
        Ok(Some(head)) => wire::check(&mut link, &exchange, &head, Duration::ZERO).await.map(drop),
        // A listener that goes away ends the connections that have not asked yet.
        _ if address == world.passing => Ok(()),
        Ok(None) => bail!("closed without a response"),
        Err(error) => Err(error.into()),
    }
}
