//! TLS that does not come about, and TLS that ends without a word.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use tokio_rustls::TlsConnector;

use super::super::{
    site::World,
    wire::{self, Content, Exchange, Framed, dial},
};

/// The first message of a client.
fn hello(world: &World) -> anyhow::Result<Vec<u8>> {
    let mut client = ClientConnection::new(world.authority.client(&["http/1.1"])?, ServerName::try_from("localhost")?)?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes)?;
    Ok(bytes)
}

/// Stops within the first message, each time at another byte, and waits for its end, or leaves.
pub async fn stops(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let hello = hello(&world)?;
    let mut stream = dial(world.tls).await?;
    let at = usize::try_from(fastrand::u64(..))? % hello.len();
    stream.write_all(hello.get(..at).unwrap_or_default()).await?;
    match turn % 3 {
        0 => {
            let mut bytes = [0; 100];
            while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        }
        1 => wire::reset(stream),
        _ => {}
    }
    Ok(())
}

/// What is no TLS at all, or begins as if it were.
pub async fn not_tls(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut stream = dial(world.tls).await?;
    let bytes = match turn % 4 {
        0 => b"GET /wrong HTTP/1.1\r\nHost: soak\r\n\r\n".to_vec(),
        1 => Content(turn).piece(0, 500),
        2 => [&[22, 3, 1, 1, 0, 1, 0, 0, 0xfc, 3, 3], Content(turn).piece(0, 300).as_slice()].concat(),
        _ => [&[22, 3, 1, 0x40, 0][..], &[0; 20_000]].concat(),
    };
    _ = stream.write_all(&bytes).await;
    let mut said = Vec::new();
    _ = stream.take(1_000).read_to_end(&mut said).await;
    ensure!(!said.starts_with(b"HTTP/"), "plain HTTP is answered where TLS is asked for");
    Ok(())
}

/// Leaves when the server has said something.
pub async fn leaves(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut stream = dial(world.tls).await?;
    stream.write_all(&hello(&world)?).await?;
    let mut some = vec![0; fastrand::usize(1..1_500)];
    _ = stream.read(&mut some).await;
    if turn.is_multiple_of(2) {
        wire::reset(stream);
    }
    Ok(())
}

/// Refuses the certificate.
pub async fn distrusts(world: Arc<World>, _: u64) -> anyhow::Result<()> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let stream = dial(world.tls).await?;
    let connected = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream).await;
    ensure!(connected.is_err(), "a certificate is trusted without an authority");
    Ok(())
}

/// Asks in TLS and leaves without saying so.
pub async fn leaves_within_response(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let (stream, config) = (dial(world.tls).await?, world.authority.client(&["http/1.1"])?);
    let mut stream = TlsConnector::from(config).connect(ServerName::try_from("localhost")?, stream).await?;
    let exchange = Exchange { up: 0, down: 400_000, framed: Framed::Length, ..Exchange::random(1) };
    let request = format!("GET /wrong?{} HTTP/1.1\r\nHost: soak\r\n\r\n", exchange.query());
    stream.write_all(request.as_bytes()).await.context("ask")?;
    let mut some = vec![0; 10_000];
    for _ in 0..fastrand::u8(0..5) {
        stream.read(&mut some).await.context("read")?;
    }
    sleep(Duration::from_millis(turn % 3 * 100)).await;
    if turn.is_multiple_of(2) {
        wire::reset(stream.into_inner().0);
    }
    Ok(())
}
