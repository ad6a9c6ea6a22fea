//! Certificates by the host names of the listeners that present them.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    client::verify_server_name,
    pki_types::ServerName,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The certificates of one port. A client's server name (RFC 6066, 3) chooses the listener as a host name does: an exact name,
/// then the longest wildcard, then any.
#[derive(Debug, Default)]
pub struct Certificates {
    listeners: Vec<Vec<Arc<CertifiedKey>>>,
    exact: HashMap<String, usize>,
    wildcard: HashMap<String, usize>,
    any: Option<usize>,
}

impl Certificates {
    /// From each listener's host name (`""` for any, `*.suffix`, or a name; lower case) and its certificates in order of
    /// preference. Of two listeners with one name the first counts.
    pub fn new(listeners: impl IntoIterator<Item = (String, Vec<Arc<CertifiedKey>>)>) -> Self {
        let mut all = Self::default();
        for (hostname, keys) in listeners {
            let index = all.listeners.len();
            all.listeners.push(keys);
            if hostname.is_empty() {
                all.any.get_or_insert(index);
            } else if let Some(suffix) = hostname.strip_prefix("*.") {
                all.wildcard.entry(suffix.to_owned()).or_insert(index);
            } else {
                all.exact.entry(hostname).or_insert(index);
            }
        }
        all
    }

    /// Which listener a name belongs to.
    pub(crate) fn listener(&self, name: &str) -> Option<usize> {
        let suffixes = || name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
        let found = self.exact.get(name).or_else(|| suffixes().find_map(|suffix| self.wildcard.get(suffix)));
        found.copied().or(self.any)
    }

    /// The names, for golden files and people.
    pub(crate) fn names(&self) -> Vec<String> {
        let wildcards = self.wildcard.keys().map(|suffix| format!("*.{suffix}"));
        let mut names: Vec<_> = self.exact.keys().cloned().chain(wildcards).collect();
        names.extend(self.any.map(|_| "*".to_owned()));
        names.sort();
        names
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_the_most_specific_listener() {
        let names = ["", "*.example.com", "*.a.example.com", "www.example.com", "www.example.com"];
        let certificates = Certificates::new(names.map(|name| (name.to_owned(), Vec::new())));
        let belongs = |name| certificates.listener(name).map(|index| names[index]);
        assert_eq!(belongs("www.example.com"), Some("www.example.com"));
        assert_eq!(certificates.listener("www.example.com"), Some(3));
        assert_eq!(belongs("x.example.com"), Some("*.example.com"));
        assert_eq!(belongs("x.y.a.example.com"), Some("*.a.example.com"));
        assert_eq!(belongs("example.com"), Some(""));
        let certificates = Certificates::new([("www.example.com".to_owned(), Vec::new())]);
        assert_eq!(certificates.listener("example.com"), None);
    }
}
