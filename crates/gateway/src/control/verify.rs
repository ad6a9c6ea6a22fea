//! Judging certificates where that is more than a chain and one name.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time};

use super::hosts::covers;

/// A name that a certificate may have (`subjectAltNames` of a BackendTLSPolicy).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum AltName {
    /// A host, or `*.` and what follows the first labels of several; lower case.
    Host(String),
    /// A URI, such as a SPIFFE ID; compared as it is.
    Uri(String),
}

/// Trusts endpoints as BackendTLSPolicies say.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub roots: Arc<RootCertStore>,
    /// Certificates that are trusted themselves: whoever is given a self-signed one to trust means that very certificate, which no
    /// chain leads to.
    pub pinned: Vec<Vec<u8>>,
    /// Any of these must be in the certificate; without any, the name that the endpoint is asked for.
    pub names: Vec<AltName>,
    pub provider: Arc<CryptoProvider>,
}

impl Endpoints {
    fn has_one(&self, certificate: &ParsedCertificate<'_>, details: &X509Certificate<'_>) -> Result<bool, Error> {
        let Some(found) = details.subject_alternative_name().map_err(|_| bad())? else { return Ok(false) };
        let found = &found.value.general_names;
        Ok(self.names.iter().any(|wanted| match wanted {
            AltName::Uri(uri) => found.iter().any(|name| matches!(name, GeneralName::URI(found) if found == uri)),
            AltName::Host(pattern) if pattern.starts_with('*') => found.iter().any(
                |name| matches!(name, GeneralName::DNSName(found) if covers(pattern, &found.to_ascii_lowercase())),
            ),
            AltName::Host(host) => {
                ServerName::try_from(host.as_str()).is_ok_and(|name| verify_server_name(certificate, &name).is_ok())
            }
        }))
    }
}

fn bad() -> Error {
    Error::InvalidCertificate(CertificateError::BadEncoding)
}

/// Whether a certificate that is trusted itself is valid at this time.
fn is_valid(details: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).ok().and_then(|now| ASN1Time::from_timestamp(now).ok()).ok_or_else(bad)?;
    if now < details.validity().not_before {
        Err(Error::InvalidCertificate(CertificateError::NotValidYet))
    } else if now > details.validity().not_after {
        Err(Error::InvalidCertificate(CertificateError::Expired))
    } else {
        Ok(())
    }
}

impl ServerCertVerifier for Endpoints {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let (_, details) = X509Certificate::from_der(end_entity).map_err(|_| bad())?;
        if self.pinned.iter().any(|pinned| pinned.as_slice() == end_entity.as_ref()) {
            is_valid(&details, now)?;
        } else {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        }
        if self.names.is_empty() {
            verify_server_name(&certificate, name)?;
        } else if !self.has_one(&certificate, &details)? {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Asks clients for a certificate and takes any, or none (`AllowInsecureFallback`); that they have its key is checked all the
/// same.
#[derive(Debug)]
pub(super) struct Anybody(pub Arc<CryptoProvider>);

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
