//! Certificates for development, shown by listeners whose Secrets are missing.

use std::{
    collections::HashMap,
    fmt::{Debug, Formatter, Result as Written},
    path::Path,
    sync::Arc,
};

use rustls::sign::CertifiedKey;

use super::certificates::parse;

/// Makes certificates; whoever trusts its authority trusts them.
pub trait Issuer: Send + Sync + 'static {
    /// A certificate for a server known by these names and addresses.
    ///
    /// # Errors
    /// Why it cannot be made.
    fn issue(&self, names: &[String]) -> Result<Issued, String>;

    /// Where the authority's certificate is, in PEM.
    fn authority(&self) -> &Path;
}

impl Debug for dyn Issuer {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        write!(f, "Issuer({})", self.authority().display())
    }
}

/// A chain and its key, in PEM.
pub struct Issued {
    /// The chain.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// What was made, by host name, as long as the process lives.
#[derive(Debug, Default)]
pub(super) struct Made(HashMap<String, Arc<CertifiedKey>>);

impl Made {
    /// A certificate for a listener's host name (`""` for every host), and for this machine by its own names.
    pub fn get(&mut self, issuer: &dyn Issuer, hostname: &str) -> Result<Arc<CertifiedKey>, String> {
        if let Some(key) = self.0.get(hostname) {
            return Ok(key.clone());
        }
        let own = ["localhost", "127.0.0.1", "::1"];
        let names = [hostname].into_iter().filter(|name| !name.is_empty()).chain(own).map(str::to_owned);
        let issued = issuer.issue(&names.collect::<Vec<_>>())?;
        let key = Arc::new(parse(issued.certificate.as_bytes(), issued.key.as_bytes())?);
        self.0.insert(hostname.to_owned(), key.clone());
        Ok(key)
    }
}
