//! Passing a request on over a connection of its own, and its answer back, piece by piece; nothing is kept.

use std::{fmt::Display, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode, Uri, header, request::Parts};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Place, headers, links};
use crate::{
    http::{Answer, Body, logs, whole},
    status::Failure,
};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);

/// A connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A request, besides its head and body.
pub(super) struct Request<'a> {
    pub place: Place,
    /// With the query.
    pub path: &'a str,
    /// Below which the client finds what is there.
    pub prefix: &'a str,
    /// Cancelled when the server stops.
    pub ending: &'a CancellationToken,
    /// Its place among those that there may be.
    pub permit: OwnedSemaphorePermit,
}

/// Passes it on.
pub(super) async fn on<B>(request: Request<'_>, parts: &mut Parts, body: B) -> Result<Answer, Failure>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let failed = |why: &dyn Display| Failure::unavailable(format!("error trying to reach service: {why}"));
    let client = parts.extensions.remove::<OnUpgrade>();
    let (stream, authority) = connect(&request.place).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!("connection of a proxy: {error}");
        }
    }));
    let uri: Uri = request.path.parse().map_err(|error| Failure::bad_request(format!("the path: {error}")))?;
    let body = body.map_err(|error| io::Error::other(error.to_string())).boxed_unsync();
    let mut sent = http::Request::new(body);
    *sent.method_mut() = parts.method.clone();
    *sent.uri_mut() = uri;
    *sent.headers_mut() = headers::of_request(parts, client.is_some());
    let answer = sender.send_request(sent).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(client)) = (status, client) {
        return Ok(switch(answer, client, connection, request));
    }
    let (head, incoming) = answer.into_parts();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = host.or_else(|| parts.uri.authority().map(|authority| authority.to_string()));
    let place = links::Place { prefix: request.prefix.to_owned(), authority, host };
    // The connection, and its place, last for as long as somebody reads.
    let body = logs::pass(incoming, (connection, request.permit));
    let is_page = headers::is_page(&head.headers);
    let mut passed = Response::new(if is_page { rewritten(body, links::Page::new(place.in_html())) } else { body });
    *passed.status_mut() = status;
    *passed.headers_mut() = headers::of_answer(head.headers, &place);
    if is_page {
        passed.headers_mut().remove(header::CONTENT_LENGTH);
    }
    Ok(passed)
}

/// A page as the client gets it: its links lead through the proxy.
fn rewritten(body: Body, page: links::Page) -> Body {
    let pieces = stream::unfold((Some(body), page), |(body, mut page)| async move {
        let mut body = body?;
        let (piece, body) = match body.frame().await {
            None => (Ok(page.finish()), None),
            Some(Err(error)) => (Err(error), None),
            Some(Ok(frame)) => (Ok(page.push(&frame.into_data().unwrap_or_default())), Some(body)),
        };
        Some((piece.map(|piece| Frame::data(Bytes::from(piece))), (body, page)))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// Both sides have agreed to another protocol: its bytes are passed both ways.
fn switch(
    answer: Response<Incoming>,
    client: OnUpgrade,
    connection: AbortOnDropHandle<()>,
    request: Request<'_>,
) -> Answer {
    let mut agreed = Response::new(whole(Empty::new()));
    *agreed.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *agreed.headers_mut() = answer.headers().clone();
    let (ending, permit) = (request.ending.clone(), request.permit);
    tokio::spawn(async move {
        let _place = permit;
        let passed = ending.run_until_cancelled(async {
            let (client, server) = tokio::try_join!(client, hyper::upgrade::on(answer)).map_err(io::Error::other)?;
            // It has given its socket away, and ends.
            drop(connection);
            tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(server)).await
        });
        if let Some(Err(error)) = passed.await {
            tracing::debug!("upgraded connection of a proxy: {error}");
        }
    });
    agreed
}

/// A connection to a place, and what it is called in locations.
async fn connect(place: &Place) -> io::Result<(Box<dyn Stream>, String)> {
    let connecting = async {
        match place {
            Place::Node(node) => Ok((Box::new(node.connect().await?) as Box<dyn Stream>, node.authority())),
            Place::Address { host, port, tls } => {
                let stream = TcpStream::connect((*host, *port)).await?;
                stream.set_nodelay(true)?;
                let authority = std::net::SocketAddr::new(*host, *port).to_string();
                if !tls {
                    return Ok((Box::new(stream) as Box<dyn Stream>, authority));
                }
                let connector = TlsConnector::from(Arc::new(trusting()?));
                let stream = connector.connect(ServerName::from(*host), stream).await?;
                Ok((Box::new(stream) as Box<dyn Stream>, authority))
            }
        }
    };
    timeout(CONNECT, connecting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// TLS towards pods: what certificate a program in the cluster has is its own affair, as upstream has it.
fn trusting() -> io::Result<rustls::ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Anyone(provider.signature_verification_algorithms));
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Accepts every certificate, if the other side has its key.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
