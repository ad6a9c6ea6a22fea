//! What becomes of connections that begin with TLS, by the name that the client gives the server.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rustls::{
    ClientConfig, ServerConfig,
    client::verify_server_name,
    pki_types::ServerName,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Hosts, Names, Split};

/// What is served at a port where connections begin with TLS.
#[derive(Debug, Default)]
pub struct Secured {
    /// The routes of all of the port's HTTPS listeners.
    pub hosts: Hosts,
    services: Vec<TlsService>,
    names: Names<usize>,
}

/// What becomes of the connections to one server name.
#[derive(Debug, Clone)]
pub enum TlsService {
    /// TLS ends here, and HTTP is inside.
    Https(Arc<ServerConfig>),
    /// TLS ends here, and what is inside goes on as bytes.
    Terminate(Arc<ServerConfig>, Arc<Split>),
    /// It goes on as it is: TLS ends at the endpoint.
    Passthrough(Arc<Split>),
}

impl Secured {
    /// From the names (as [`Names::insert`] takes them) of HTTPS listeners and of what TLSRoutes lead to.
    pub fn new(hosts: Hosts, services: impl IntoIterator<Item = (String, TlsService)>) -> Self {
        let mut all = Self { hosts, ..Self::default() };
        for (name, service) in services {
            all.names.insert(&name, all.services.len());
            all.services.push(service);
        }
        all
    }

    /// What a server name (RFC 6066, 3; empty if the client gave none) belongs to; the number tells one from another.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &TlsService)> {
        let number = *self.names.find(name)?;
        Some((number, self.services.get(number)?))
    }

    /// Where connections go that are not HTTP.
    pub(super) fn splits(&self) -> impl Iterator<Item = &Split> {
        self.services.iter().filter_map(|service| match service {
            TlsService::Https(_) => None,
            TlsService::Terminate(_, split) | TlsService::Passthrough(split) => Some(&**split),
        })
    }

    /// Every name and what it stands for, sorted, for golden files and people.
    pub fn services(&self) -> Vec<(String, &TlsService)> {
        let named = self.names.sorted().into_iter();
        named.filter_map(|(name, number)| Some((name, self.services.get(*number)?))).collect()
    }
}

/// The certificates of one listener, in order of preference.
#[derive(Debug)]
pub struct Certificates(pub Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    /// The first certificate that is made for the name and that the client can check, else the first that it can check: the
    /// client says itself what is wrong with a name.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let [only] = self.0.as_slice() {
            return Some(only.clone());
        }
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let usable = || self.0.iter().filter(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        usable().find(|key| is_for(key, &name)).or_else(|| usable().next()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &str) -> bool {
    let certificate = key.cert.first().and_then(|first| ParsedCertificate::try_from(first).ok());
    let name = ServerName::try_from(name).ok();
    certificate.zip(name).is_some_and(|(certificate, name)| verify_server_name(&certificate, &name).is_ok())
}

/// How connections to endpoints are encrypted.
#[derive(Debug)]
pub struct BackendTls {
    /// What the endpoint is called in the handshake.
    pub name: ServerName<'static>,
    /// Whom to trust, what to present, and what to speak inside (ALPN).
    pub config: Arc<ClientConfig>,
    id: u64,
}

impl BackendTls {
    /// Connections are used again only for the same settings, not for equal ones made later.
    pub fn new(name: ServerName<'static>, config: Arc<ClientConfig>) -> Self {
        /// 0 stands for connections that are not encrypted.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { name, config, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Tells these settings from all others of the process; never 0.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}
