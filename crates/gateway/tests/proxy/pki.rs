//! Authorities, certificates, and both ends of TLS for tests.

use std::{net::TcpStream, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::support::{Endpoint, Peer};

/// A chain and its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(Result::unwrap).collect();
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }
}

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        Self::named("authority")
    }

    /// With a name of its own, so that its certificate could be a server's.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// The authority's own certificate and key.
    pub fn pair(&self) -> Pair {
        Pair { certificate: self.0.pem(), key: self.0.key().serialize_pem() }
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// For names, addresses, and URIs (what has a `://`).
    pub fn issue(&self, names: &[&str]) -> Pair {
        let names = names.iter().map(|name| (*name).to_owned());
        let (uris, names): (Vec<_>, Vec<String>) = names.partition(|name| name.contains("://"));
        let mut params = CertificateParams::new(names).unwrap();
        params.subject_alt_names.extend(uris.into_iter().map(|uri| SanType::URI(uri.try_into().unwrap())));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A server that presents `pair`, asks for certificates of `clients` if there are any, and offers these protocols.
pub fn server(pair: &Pair, clients: Option<&Authority>, alpn: &[&str]) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let (chain, key) = pair.der();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A client that trusts `authority` alone, and presents `pair` if there is one.
pub fn client(authority: &Authority, pair: Option<&Pair>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(authority.roots());
    Arc::new(match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (chain, key) = pair.der();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// One end of an encrypted connection, as the client.
pub fn connected(tcp: TcpStream, config: &Arc<ClientConfig>, name: &str) -> Peer {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(config.clone(), name).unwrap();
    Peer::over(tcp.try_clone().unwrap(), StreamOwned::new(connection, tcp))
}

/// An endpoint that ends TLS, with what its handler is told of the handshake: the server name and the number of certificates that
/// the client has shown.
pub fn endpoint(
    config: Arc<ServerConfig>,
    handle: impl Fn(&mut Peer, &str, usize) + Send + Sync + 'static,
) -> Endpoint {
    Endpoint::accepting(move |mut tcp| {
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        while connection.is_handshaking() {
            if connection.complete_io(&mut tcp).is_err() {
                return;
            }
        }
        let name = connection.server_name().unwrap_or_default().to_owned();
        let shown = connection.peer_certificates().map_or(0, <[_]>::len);
        handle(&mut Peer::over(tcp.try_clone().unwrap(), StreamOwned::new(connection, tcp)), &name, shown);
    })
}
