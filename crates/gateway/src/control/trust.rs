//! How TLS is spoken with endpoints: whom the proxy trusts there, and what it shows them.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::verify::{AltName, Endpoints};
use crate::table::{BackendTls, Upstream};

/// Settings by what they were made from, kept from one compilation to the next: the proxy's connections are used again only for
/// the same ones.
#[derive(Debug, Default)]
pub(super) struct Trusts {
    known: HashMap<Wanted, Known>,
}

#[derive(Debug)]
struct Known {
    tls: Arc<BackendTls>,
    used: bool,
    /// Held, so that no other key gets its address.
    _shown: Option<Arc<CertifiedKey>>,
}

/// Whom to trust.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Roots {
    /// Nobody: what was asked for is not valid, and no connection is to come about.
    Nobody,
    /// The authorities of the system.
    System,
    /// These authorities, in DER.
    These(Vec<Vec<u8>>),
}

impl Roots {
    pub fn these(certificates: &[CertificateDer<'_>]) -> Self {
        Self::These(certificates.iter().map(|certificate| certificate.to_vec()).collect())
    }

    fn store(&self) -> RootCertStore {
        match self {
            Self::Nobody => RootCertStore::empty(),
            Self::System => super::authorities::of_system(),
            Self::These(certificates) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates.iter().map(|der| CertificateDer::from(der.clone())));
                roots
            }
        }
    }
}

/// What a policy asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Trust {
    pub hostname: String,
    pub roots: Roots,
    /// Any of these must be in the certificate; without any, `hostname`.
    pub names: Vec<AltName>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Wanted {
    trust: Trust,
    /// What is spoken inside, if it is HTTP.
    inside: Option<Upstream>,
    /// Where the key is that is shown.
    shown: Option<usize>,
}

impl Trusts {
    /// Before a compilation: nothing is used yet.
    pub fn begin(&mut self) {
        self.known.values_mut().for_each(|known| known.used = false);
    }

    /// After a compilation: forgets what it did not use.
    pub fn end(&mut self) {
        self.known.retain(|_, known| known.used);
    }

    /// The settings for connections by this policy, inside of which this is spoken, and to which this is shown if they ask.
    pub fn get(
        &mut self,
        trust: &Trust,
        inside: Option<Upstream>,
        shown: Option<&Arc<CertifiedKey>>,
    ) -> Result<Arc<BackendTls>, rustls::Error> {
        let address = shown.map(|key| Arc::as_ptr(key).addr());
        let wanted = Wanted { trust: trust.clone(), inside, shown: address };
        if let Some(known) = self.known.get_mut(&wanted) {
            known.used = true;
            return Ok(known.tls.clone());
        }
        let tls = Arc::new(build(trust, inside, shown)?);
        self.known.insert(wanted, Known { tls: tls.clone(), used: true, _shown: shown.cloned() });
        Ok(tls)
    }
}

fn build(
    trust: &Trust,
    inside: Option<Upstream>,
    shown: Option<&Arc<CertifiedKey>>,
) -> Result<BackendTls, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let pinned = match &trust.roots {
        Roots::These(certificates) => certificates.clone(),
        Roots::Nobody | Roots::System => Vec::new(),
    };
    let roots = Arc::new(trust.roots.store());
    let verifier = Endpoints { roots, pinned, names: trust.names.clone(), provider };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match shown {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match inside {
        Some(Upstream::Http1) => vec![b"http/1.1".to_vec()],
        Some(Upstream::Http2) => vec![b"h2".to_vec()],
        None => Vec::new(),
    };
    let name = ServerName::try_from(trust.hostname.clone());
    let name = name.map_err(|error| rustls::Error::General(format!("{:?}: {error}", trust.hostname)))?;
    Ok(BackendTls::new(name, Arc::new(config)))
}
