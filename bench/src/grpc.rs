//! The endpoint of gRPC measurements: HTTP/2 with prior knowledge, one message in, the same message out, trailers.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use tokio::net::{TcpListener, TcpStream};

/// Where.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

/// The largest call that is answered.
const LIMIT: usize = 1 << 20;

/// Serves until it is killed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await.with_context(|| options.listen.to_string())?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                // Whoever measures sees that the connection ended.
                _ = connection(stream).await;
            });
        }
    })
}

async fn connection(stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24).max_concurrent_streams(1024);
    let mut connection = builder.handshake::<_, Bytes>(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        tokio::spawn(async move {
            // As above.
            _ = echo(request, respond).await;
        });
    }
    Ok(())
}

async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> anyhow::Result<()> {
    let mut body = request.into_body();
    let mut message = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        anyhow::ensure!(message.len() + part.len() <= LIMIT, "a message of more than {LIMIT} bytes");
        message.extend_from_slice(&part);
    }
    let head = Response::builder().header(CONTENT_TYPE, "application/grpc").body(())?;
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(message.freeze(), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)?;
    Ok(())
}
