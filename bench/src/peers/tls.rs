//! The certificate of every proxy (ECDSA, P-256, self-signed), and clients that trust it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use rustls::{ClientConfig, RootCertStore, client::Resumption, pki_types::CertificateDer};

use crate::machine;

/// A certificate for `localhost`, in memory and in files.
pub struct Certificate {
    /// The chain, PEM.
    pub chain: String,
    /// The key, PEM.
    pub key: String,
    der: CertificateDer<'static>,
    dir: PathBuf,
}

impl Certificate {
    /// Makes one; `cert.pem`, `key.pem` and `both.pem` hold it.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn make(dir: &Path) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).context("make a certificate")?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(dir.join("cert.pem"), &chain)?;
        fs::write(dir.join("key.pem"), &key)?;
        fs::write(dir.join("both.pem"), [chain.as_str(), &key].concat())?;
        Ok(Self { chain, key, der: made.cert.der().clone(), dir: dir.to_owned() })
    }

    /// The path of `cert.pem`, `key.pem` or `both.pem`.
    pub fn file(&self, name: &str) -> anyhow::Result<String> {
        machine::text(&self.dir.join(name)).map(str::to_owned)
    }

    /// A client that shakes hands in full every time.
    ///
    /// # Errors
    /// The certificate is not one.
    pub fn client(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}
