//! The certificate authority, made on the first start, and the certificates made from it.

mod renewal;

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// How long a certificate is valid; each start makes new ones, and a server that runs for long renews its own.
const VALID: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long a certificate is used, so that a third of its time is left to notice that it cannot be renewed.
pub const USED: Duration = Duration::from_secs(365 * 24 * 3600 / 3 * 2);
/// How long the authority is.
const AUTHORITY_VALID: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// Why a key or certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct PkiError {
    what: String,
    reason: String,
}

pub(crate) fn failed<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> PkiError {
    let what = what.into();
    move |e| PkiError { what, reason: e.to_string() }
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// What time it is.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The authority. Clones are the same one.
#[derive(Clone)]
pub struct Pki {
    certificate: String,
    issuer: Arc<Issuer<'static, KeyPair>>,
    clock: Clock,
}

impl Pki {
    /// Reads the authority from `dir`, or makes one there.
    ///
    /// # Errors
    /// When the files cannot be read or written, or do not hold what they should.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(format!("make {}", dir.display())))?;
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !certificate.exists() {
            let made = authority()?;
            write_private(&key, &made.key)?;
            // Written last: whoever finds it finds the key too.
            write_private(&certificate, &made.certificate)?;
        }
        let read = |path: &PathBuf| fs::read_to_string(path).map_err(failed(format!("read {}", path.display())));
        let (certificate, key) = (read(&certificate)?, read(&key)?);
        let key = KeyPair::from_pem(&key).map_err(failed("read the authority's key"))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(failed("read the authority's certificate"))?;
        Ok(Self { certificate, issuer: Arc::new(issuer), clock: Arc::new(Timestamp::now) })
    }

    /// The same authority by another clock.
    #[cfg(test)]
    pub(crate) fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The authority's certificate, in PEM.
    pub fn ca_pem(&self) -> String {
        self.certificate.clone()
    }

    /// A certificate for a server known by these names and addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue_server(&self, names: &[String]) -> Result<Pair, PkiError> {
        let params = CertificateParams::new(names.to_vec()).map_err(failed("name a server certificate"))?;
        let common_name = names.first().map_or("coracle", String::as_str);
        self.issue(params, common_name, &[], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client: its user name, and the groups it is in.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn issue_client(&self, user: &str, groups: &[&str]) -> Result<Pair, PkiError> {
        self.issue(CertificateParams::default(), user, groups, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        name: &str,
        groups: &[&str],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Pair, PkiError> {
        params.distinguished_name = DistinguishedName::new();
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        set_validity(&mut params, VALID, self.now());
        let key = KeyPair::generate().map_err(failed("make a key"))?;
        let certificate =
            params.signed_by(&key, self.issuer.as_ref()).map_err(failed(format!("sign a certificate for {name}")))?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// TLS for a server known by these names, whose certificate is renewed while it runs. Clients of this authority are known by their certificates; others may connect
    /// too if `anonymous`, and are nobody.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn server_config(&self, names: &[String], anonymous: bool) -> Result<rustls::ServerConfig, PkiError> {
        let own = renewal::Renewed::server(self.clone(), names)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider.clone());
        let verifier = if anonymous { verifier.allow_unauthenticated() } else { verifier };
        let verifier = verifier.build().map_err(failed("trust the authority's clients"))?;
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed("choose TLS versions"))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(own));
        Ok(config)
    }

    /// TLS for a client of this authority's servers, known by a certificate of its own, which is renewed while
    /// it is used.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn client_config(&self, user: &str, groups: &[&str]) -> Result<rustls::ClientConfig, PkiError> {
        let own = renewal::Renewed::client(self.clone(), user, groups)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed("choose TLS versions"))?
            .with_root_certificates(self.roots()?)
            .with_client_cert_resolver(Arc::new(own));
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, PkiError> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let certificate = certificate.map_err(failed("read the authority's certificate"))?;
        roots.add(certificate).map_err(failed("trust the authority's certificate"))?;
        Ok(roots)
    }
}

impl Pair {
    fn into_der(self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
        let certificate =
            CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(failed("read a certificate"))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.key.as_bytes()).map_err(failed("read a key"))?;
        Ok((vec![certificate], key.into()))
    }
}

fn authority() -> Result<Pair, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "coracle-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, AUTHORITY_VALID, Timestamp::now());
    let key = KeyPair::generate().map_err(failed("make the authority's key"))?;
    let certificate = params.self_signed(&key).map_err(failed("sign the authority's certificate"))?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Valid from an hour ago, so that a clock that was set back a little does no harm.
fn set_validity(params: &mut CertificateParams, length: SignedDuration, now: Timestamp) {
    let date = |at: Timestamp| {
        let day = at.strftime("%Y-%m-%d").to_string();
        let mut parts = day.split('-').map(|part| part.parse().unwrap_or(1));
        let (year, month, day) = (parts.next().unwrap_or(2024), parts.next().unwrap_or(1), parts.next().unwrap_or(1));
        rcgen::date_time_ymd(year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    };
    params.not_before = date(now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(now));
    params.not_after = date(now.checked_add(length).unwrap_or(now));
}

pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed::<std::io::Error>(format!("write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_made_once_and_its_key_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::open(dir.path()).unwrap().ca_pem();
        let again = Pki::open(dir.path()).unwrap();
        assert_eq!(again.ca_pem(), first);
        assert_eq!(fs::metadata(dir.path().join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
        again.server_config(&["127.0.0.1".into(), "localhost".into()], true).unwrap();
        again.client_config("system:admin", &["system:masters"]).unwrap();
    }
}
