//! Clients of HTTP/2 that send much of what costs them little, or ask and take nothing.

use std::{io, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::super::{
    frames::{
        self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, beginning, block,
        frame, request,
    },
    site::World,
    wire::{self, dial},
};

/// Frames of a flood.
const MANY: u32 = 3_000;
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

/// Sends frames for as long as they are taken, while what comes back is read; the error of a GOAWAY.
async fn flood(world: &World, begin: Vec<u8>, frames: impl Fn(u32) -> Vec<u8>) -> anyhow::Result<Option<u32>> {
    let (mut read, mut write) = dial(world.http).await?.into_split();
    let sending = async {
        write.write_all(&begin).await?;
        for number in 0..MANY {
            write.write_all(&frames(number)).await?;
        }
        write.shutdown().await
    };
    let (_, said) = tokio::join!(sending, frames::goaway(&mut read));
    Ok(said?)
}

/// Requests that are given up at once (CVE-2023-44487).
pub async fn rapid_reset(world: Arc<World>, _: u64) -> anyhow::Result<()> {
    let said = flood(&world, beginning(&[]), |number| {
        let stream = number * 2 + 1;
        [request(stream, END_STREAM, "GET", "/wrong"), frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    });
    // Where the connection is reset first, what was said is lost on the way.
    let said = said.await?;
    ensure!(said.is_none_or(|error| error != 0), "it is told to go in peace");
    Ok(())
}

/// A head that never ends (CVE-2024-27316 and others).
pub async fn continuations(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let fields = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/wrong")]);
    let begin = [beginning(&[]), frame(HEADERS, END_STREAM, 1, &fields)].concat();
    let more = if turn.is_multiple_of(2) { block(&[("x-more", "y")]).repeat(50) } else { Vec::new() };
    let said = flood(&world, begin, |_| frame(CONTINUATION, 0, 1, &more)).await?;
    ensure!(said.is_none_or(|error| error != 0), "it is told to go in peace");
    Ok(())
}

/// Settings, each of which is to be acknowledged.
pub async fn settings(world: Arc<World>, _: u64) -> anyhow::Result<()> {
    flood(&world, beginning(&[]), |number| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, number as u8])).await.map(drop)
}

/// Questions, each of which is to be answered; half of the clients read no answers.
pub async fn pings(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let question = |number: u32| frame(PING, 0, 0, &u64::from(number).to_be_bytes());
    if turn.is_multiple_of(2) {
        return flood(&world, beginning(&[]), question).await.map(drop);
    }
    let mut stream = dial(world.http).await?;
    stream.write_all(&beginning(&[])).await?;
    let many = question(1).repeat(1_000);
    for _ in 0..1_000 {
        // When it is not taken any more, the proxy waits: that is what it should do.
        match timeout(Duration::from_secs(2), stream.write_all(&many)).await {
            Ok(Ok(())) => {}
            _ => break,
        }
    }
    Ok(())
}

/// DATA with nothing in it.
pub async fn empty_data(world: Arc<World>, _: u64) -> anyhow::Result<()> {
    let begin = [beginning(&[]), request(1, 0, "POST", "/wrong")].concat();
    let said = flood(&world, begin, |_| frame(DATA, 0, 1, &[])).await?;
    ensure!(said.is_none_or(|error| error != 0), "it is told to go in peace");
    Ok(())
}

/// Asks for much and lets nothing be sent.
pub async fn no_window(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut stream = dial(world.http).await?;
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let mut bytes = beginning(&[(4, u32::try_from(turn % 2)?)]);
    for number in 0..50 {
        bytes.extend(request(number * 2 + 1, END_STREAM, "GET", "/wrong?seed=1&up=0&down=1000000&as=length"));
    }
    stream.write_all(&bytes).await?;
    sleep(Duration::from_secs(15)).await;
    leave(stream, turn);
    Ok(())
}

/// Opens as many requests as it may, and more, and finishes none.
pub async fn unfinished(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut stream = dial(world.http).await?;
    let mut bytes = beginning(&[]);
    for number in 0..150 {
        bytes.extend(request(number * 2 + 1, 0, "POST", "/wrong?seed=1&up=1000&down=10&as=length"));
    }
    stream.write_all(&bytes).await?;
    let refused = timeout(Duration::from_secs(20), async {
        while let Some(frame) = frames::next(&mut stream).await? {
            if frame.kind == RST_STREAM {
                return io::Result::Ok(());
            }
        }
        Ok(())
    });
    refused.await.context("more requests at a time than are allowed are taken")??;
    sleep(Duration::from_millis(turn % 5 * 500)).await;
    leave(stream, turn);
    Ok(())
}

/// Stops at a byte, each time another, and waits for its end, or leaves.
pub async fn stops(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let fields = block(&[(":method", "POST"), (":scheme", "http"), (":path", "/wrong?seed=1&up=9&down=9&as=length")]);
    let all = [
        beginning(&[(3, 100)]),
        frame(HEADERS, 0, 1, &fields),
        frame(CONTINUATION, END_HEADERS, 1, &block(&[(":authority", "soak")])),
        frame(DATA, 0, 1, b"body"),
    ]
    .concat();
    let mut stream = dial(world.http).await?;
    let at = usize::try_from(turn)? % (all.len() + 1);
    stream.write_all(all.get(..at).unwrap_or_default()).await?;
    if turn.is_multiple_of(4) {
        let mut bytes = [0; 1_000];
        while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    } else {
        leave(stream, turn);
    }
    Ok(())
}

fn leave(stream: TcpStream, turn: u64) {
    if turn.is_multiple_of(2) {
        wire::reset(stream);
    }
}
