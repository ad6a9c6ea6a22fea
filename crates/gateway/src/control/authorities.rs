//! The authorities that ConfigMaps hold (`ca.crt`, PEM), and those of the system.

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::ConfigMap;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{Snapshot, backends::Unresolved};

/// Whom to trust.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    /// What could be read.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Why something could not.
    pub failed: Option<Unresolved>,
}

impl Authorities {
    /// Those of several references, of which each is a ConfigMap's namespace and name or already refused. What cannot be read
    /// gets this reason.
    pub fn gather<'r>(
        references: impl Iterator<Item = Result<(&'r str, &'r str), Unresolved>>,
        unreadable: &'static str,
        snapshot: &Snapshot,
    ) -> Self {
        let mut all = Self::default();
        for reference in references {
            let read = reference.and_then(|(namespace, name)| {
                let read = read(snapshot, namespace, name);
                read.map_err(|why| (unreadable, format!("ConfigMap {namespace}/{name}: {why}")))
            });
            match read {
                Ok(certificates) => all.certificates.extend(certificates),
                Err(failed) => all.failed = all.failed.or(Some(failed)),
            }
        }
        all
    }

    /// As rustls takes them.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        // Each has been tried when it was read.
        roots.add_parsable_certificates(self.certificates.iter().cloned());
        roots
    }
}

fn read(snapshot: &Snapshot, namespace: &str, name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let is_it = |map: &&Arc<ConfigMap>| {
        map.metadata.namespace.as_deref() == Some(namespace) && map.metadata.name.as_deref() == Some(name)
    };
    let map = snapshot.config_maps.iter().find(is_it).ok_or("it does not exist")?;
    let pem = map.data.as_ref().and_then(|data| data.get("ca.crt")).ok_or("it has no ca.crt")?;
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| format!("ca.crt is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("ca.crt has no PEM certificate".to_owned());
    }
    let mut tried = RootCertStore::empty();
    for certificate in &certificates {
        tried.add(certificate.clone()).map_err(|error| format!("ca.crt holds no authority's certificate: {error}"))?;
    }
    Ok(certificates)
}

/// The authorities that this machine trusts; looked for once, when a policy first asks for them.
pub(super) fn of_system() -> RootCertStore {
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    let load = || {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(error = %error, "some of the system's authorities cannot be read");
        }
        let mut roots = RootCertStore::empty();
        let (_, unusable) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(usable = roots.len(), unusable, "read the system's authorities");
        roots
    };
    SYSTEM.get_or_init(load).clone()
}
