//! Asking over HTTP and HTTPS as the kubelet does: certificates are not checked, redirects to the same host are followed, and a
//! redirect to another one is success.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{HTTPGetAction, HTTPHeader};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{MAX_ANSWER, Target};

/// How many redirects are followed.
const REDIRECTS: usize = 10;

impl Target<'_> {
    /// Sends a GET request; 200 to 399 is success.
    ///
    /// # Errors
    /// When there is no answer in time, or another status.
    pub async fn http(&self, get: &HTTPGetAction) -> Result<(), String> {
        let status = self.get(get).await?;
        if (200..400).contains(&status) { Ok(()) } else { Err(format!("HTTP probe failed with statuscode: {status}")) }
    }

    /// Sends a hook's GET request; whatever the answer, that there is one is success.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn call(&self, get: &HTTPGetAction) -> Result<(), String> {
        self.get(get).await.map(drop)
    }

    /// The status of the answer that redirects to the same host lead to.
    async fn get(&self, get: &HTTPGetAction) -> Result<u16, String> {
        let port = self.port(&get.port)?;
        let host = get.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| self.ip.to_string());
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let scheme = if get.scheme.as_deref() == Some("HTTPS") { "https" } else { "http" };
        let path = get.path.as_deref().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = format!("{scheme}://{host}:{port}{slash}{path}");
        let first: Uri = url.parse().map_err(|e| format!("{url:?} is not a URL: {e}"))?;
        let headers = get.http_headers.as_deref().unwrap_or_default();
        let ask = async {
            let mut at = first.clone();
            for _ in 0..=REDIRECTS {
                let (status, location) = exchange(&at, headers).await?;
                match location.and_then(|l| target(&at, &l)).filter(|_| (300..400).contains(&status)) {
                    Some(next) if next.host() == first.host() => at = next,
                    _ => return Ok(status),
                }
            }
            Err(format!("stopped after {REDIRECTS} redirects"))
        };
        match tokio::time::timeout(self.timeout, ask).await {
            Ok(answer) => answer.map_err(|error| format!("Get {url:?}: {error}")),
            Err(_) => Err(format!("Get {url:?}: context deadline exceeded")),
        }
    }
}

/// Where a redirect leads, seen from the place that gave it.
fn target(from: &Uri, location: &str) -> Option<Uri> {
    if !location.starts_with('/') || location.starts_with("//") {
        return location.parse().ok().filter(|uri: &Uri| uri.host().is_some());
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = Some(location.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// One request: the answer's status and where it leads.
async fn exchange(uri: &Uri, headers: &[HTTPHeader]) -> Result<(u16, Option<String>), String> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let secure = uri.scheme() == Some(&Scheme::HTTPS);
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|e| e.to_string())?;
    if !secure {
        return talk(TokioIo::new(stream), uri, headers).await;
    }
    let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
    let config = client_config().map_err(|e| e.to_string())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| e.to_string())?;
    talk(TokioIo::new(stream), uri, headers).await
}

async fn talk(
    stream: impl Read + Write + Unpin,
    uri: &Uri,
    given: &[HTTPHeader],
) -> Result<(u16, Option<String>), String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(|e| e.to_string())?;
    let mut request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()));
    let has = |name: &str| given.iter().any(|h| h.name.eq_ignore_ascii_case(name));
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let defaults = [("Host", authority.as_str()), ("User-Agent", "kube-probe/1.33"), ("Accept", "*/*")];
    for (name, value) in defaults.into_iter().filter(|(name, _)| !has(name)) {
        request = request.header(name, value);
    }
    // An empty value takes a default header away.
    for header in given.iter().filter(|h| !h.value.is_empty()) {
        request = request.header(&header.name, &header.value);
    }
    let request = request.header("Connection", "close").body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let location = answer.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
        let status = answer.status().as_u16();
        // The body is read so that the server is not cut off while it writes; what it says does not matter.
        let _ = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        Ok::<_, String>((status, location))
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => {
            ended.map_err(|e| e.to_string())?;
            exchange.await
        }
    }
}

/// TLS that believes every certificate: a probe asks whether a server answers, not who it is.
fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth())
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
