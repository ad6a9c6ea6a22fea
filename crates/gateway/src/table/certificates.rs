//! Certificates by the host names of the listeners that present them.

use std::sync::Arc;

use rustls::{
    client::verify_server_name,
    pki_types::ServerName,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Names;

/// The certificates of one port. A client's server name (RFC 6066, 3) chooses the listener as a host name does.
#[derive(Debug, Default)]
pub struct Certificates {
    listeners: Vec<Vec<Arc<CertifiedKey>>>,
    names: Names<usize>,
}

impl Certificates {
    /// From each listener's host name (as [`Names::insert`] takes it) and its certificates in order of preference.
    pub fn new(listeners: impl IntoIterator<Item = (String, Vec<Arc<CertifiedKey>>)>) -> Self {
        let mut all = Self::default();
        for (hostname, keys) in listeners {
            all.names.insert(&hostname, all.listeners.len());
            all.listeners.push(keys);
        }
        all
    }

    /// Which listener a name belongs to.
    pub(crate) fn listener(&self, name: &str) -> Option<usize> {
        self.names.find(name).copied()
    }

    /// The names, for golden files and people.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.sorted().into_iter().map(|(name, _)| name).collect()
    }
}

impl ResolvesServerCert for Certificates {
    /// The listener's first certificate that is made for the name and that the client can check, else the first that it can
    /// check: the client says itself what is wrong with a name.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let keys = self.listeners.get(self.listener(&name)?)?;
        if let [only] = keys.as_slice() {
            return Some(only.clone());
        }
        let usable = || keys.iter().filter(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        usable().find(|key| is_for(key, &name)).or_else(|| usable().next()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &str) -> bool {
    let certificate = key.cert.first().and_then(|first| ParsedCertificate::try_from(first).ok());
    let name = ServerName::try_from(name).ok();
    certificate.zip(name).is_some_and(|(certificate, name)| verify_server_name(&certificate, &name).is_ok())
}
