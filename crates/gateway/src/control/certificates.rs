//! Listeners' certificates: which Secrets a listener refers to, whether it may, and what is in them.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use objects::gateway::{Gateway, Listener, SecretObjectReference};
use rustls::{
    CipherSuite, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use super::{Issuer, Snapshot, development::Made, frontends::Clients, grants, listeners::Owner, verify::Anybody};
use crate::table::Certificates;

/// Parsed certificates, kept from one compilation to the next: parsing a key takes longer than compiling a route, and clients
/// resume their sessions only where the tickets' keys stay.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// By namespace and name: the version that was read, and what came of it.
    known: HashMap<(String, String), Known>,
    made: Made,
    /// By whom clients are judged: a ticket says that its client was let in, and must not say so where others judge.
    tickets: HashMap<Judges, Tickets>,
}

/// Whether anybody is taken, and the authorities in DER.
type Judges = (bool, Vec<Vec<u8>>);

#[derive(Debug)]
struct Tickets {
    keys: Arc<dyn ProducesTickets>,
    used: bool,
}

#[derive(Debug)]
struct Known {
    version: Option<String>,
    key: Result<Arc<CertifiedKey>, String>,
}

/// What is spoken inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// HTTP/2 or HTTP/1.1, as the client likes.
    Http,
    /// What client and endpoint agree on between them: nothing is said of it in the handshake.
    Anything,
}

/// What a listener's references came to.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub keys: Vec<Arc<CertifiedKey>>,
    /// The reason and message of `ResolvedRefs=False`; what could be resolved is served all the same.
    pub failed: Option<(&'static str, String)>,
    /// A Secret is not there.
    missing: bool,
}

impl Keys {
    /// The certificates that a listener refers to.
    pub fn resolve(
        &mut self,
        owner: Owner<'_>,
        listener: &Listener,
        snapshot: &Snapshot,
        development: Option<&dyn Issuer>,
    ) -> Resolved {
        let mut resolved = Resolved::default();
        let references = listener.tls.iter().flat_map(|tls| tls.certificate_refs.iter().flatten());
        for reference in references {
            match self.one(owner, reference, "InvalidCertificateRef", snapshot) {
                Ok(key) => resolved.keys.push(key),
                Err((reason, message)) => {
                    resolved.missing |= reason == "InvalidCertificateRef" && is_missing(owner, reference, snapshot);
                    resolved.failed.get_or_insert((reason, message));
                }
            }
        }
        if resolved.keys.is_empty() && resolved.failed.is_none() {
            let message = "tls.certificateRefs names no certificate".to_owned();
            resolved.failed = Some(("InvalidCertificateRef", message));
        }
        if let (true, Some(issuer)) = (resolved.keys.is_empty() && resolved.missing, development) {
            self.develop(issuer, listener, &mut resolved);
        }
        resolved
    }

    /// Shows a certificate for development where a Secret is missing; the condition stays, and says so.
    fn develop(&mut self, issuer: &dyn Issuer, listener: &Listener, resolved: &mut Resolved) {
        let hostname = listener.hostname.as_deref().unwrap_or_default().to_ascii_lowercase();
        let (_, message) = resolved.failed.get_or_insert_default();
        match self.made.get(issuer, &hostname) {
            Ok(key) => {
                resolved.keys.push(key);
                let authority = issuer.authority().display();
                message
                    .push_str(&format!("; one for development is shown, which the authority in {authority} has made"));
            }
            Err(error) => message.push_str(&format!("; nor can one for development be made: {error}")),
        }
    }

    /// What a Gateway shows to endpoints that ask (`spec.tls.backend.clientCertificateRef`).
    pub fn shown(&mut self, gateway: &Gateway, snapshot: &Snapshot) -> Resolved {
        let reference = gateway.spec.tls.as_ref().and_then(|tls| tls.backend.as_ref()?.client_certificate_ref.as_ref());
        let Some(reference) = reference else { return Resolved::default() };
        match self.one(Owner::Gateway(gateway), reference, "InvalidClientCertificateRef", snapshot) {
            Ok(key) => Resolved { keys: vec![key], ..Resolved::default() },
            Err(failed) => Resolved { failed: Some(failed), ..Resolved::default() },
        }
    }

    fn one(
        &mut self,
        owner: Owner<'_>,
        reference: &SecretObjectReference,
        reason: &'static str,
        snapshot: &Snapshot,
    ) -> Result<Arc<CertifiedKey>, (&'static str, String)> {
        let invalid = |message: String| (reason, message);
        let (group, kind) = (reference.group.as_deref().unwrap_or(""), reference.kind.as_deref().unwrap_or("Secret"));
        if (group, kind) != ("", "Secret") {
            return Err(invalid(format!(
                "a certificate in a {kind} of group {group:?} is not supported: use a Secret"
            )));
        }
        let (kind, from) = (owner.kind().name(), owner.namespace());
        let (namespace, name) = (reference.namespace.as_deref().unwrap_or(from), reference.name.as_str());
        if namespace != from && !grants::permitted(snapshot, (kind, from), ("", "Secret", namespace, name)) {
            let message = format!("no ReferenceGrant in {namespace} lets {kind}s of {from} refer to Secret {name}");
            return Err(("RefNotPermitted", message));
        }
        let Some(secret) = find(snapshot, namespace, name) else {
            return Err(invalid(format!("there is no Secret {namespace}/{name} of type kubernetes.io/tls")));
        };
        self.parsed(namespace, name, secret).map_err(|why| invalid(format!("Secret {namespace}/{name}: {why}")))
    }

    fn parsed(&mut self, namespace: &str, name: &str, secret: &Secret) -> Result<Arc<CertifiedKey>, String> {
        let version = secret.metadata.resource_version.clone();
        let place = (namespace.to_owned(), name.to_owned());
        if let Some(known) = self.known.get(&place).filter(|known| known.version == version) {
            return known.key.clone();
        }
        let key = read(secret).map(Arc::new);
        self.known.insert(place, Known { version, key: key.clone() });
        key
    }

    /// Forgets Secrets that are gone, and the keys of tickets that the last compilation had no use for.
    pub fn retain(&mut self, snapshot: &Snapshot) {
        self.tickets.retain(|_, tickets| std::mem::take(&mut tickets.used));
        let there: std::collections::HashSet<_> = snapshot
            .secrets
            .iter()
            .map(|s| {
                (s.metadata.namespace.as_deref().unwrap_or_default(), s.metadata.name.as_deref().unwrap_or_default())
            })
            .collect();
        self.known.retain(|(namespace, name), _| there.contains(&(namespace.as_str(), name.as_str())));
    }

    /// How a listener that presents these certificates speaks TLS, in versions 1.2 and 1.3.
    pub fn config(
        &mut self,
        certificates: &[Arc<CertifiedKey>],
        inside: Inside,
        clients: Option<&Clients>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) if clients.fallback => builder.with_client_cert_verifier(Arc::new(Anybody(provider))),
            Some(clients) => {
                let roots = Arc::new(clients.authorities.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|e| rustls::Error::General(e.to_string()))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Certificates(certificates.to_vec())));
        config.alpn_protocols = match inside {
            Inside::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Inside::Anything => Vec::new(),
        };
        config.ignore_client_order = true;
        config.ticketer = self.tickets(clients)?;
        // Tickets carry the sessions: nothing is locked between workers.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

/// The suites in our own order of preference: first that of TLS 1.3 whose hash is SHA-256. With SHA-384, which the library and many
/// clients would rather have, a seventh of a handshake's CPU time goes into the hash, for which processors have no instructions; Go's
/// and BoringSSL's servers prefer the same.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

impl Keys {
    fn tickets(&mut self, clients: Option<&Clients>) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let der = |clients: &Clients| clients.authorities.certificates.iter().map(|one| one.to_vec()).collect();
        let judges = clients.map(|clients| (clients.fallback, der(clients))).unwrap_or_default();
        if let Some(known) = self.tickets.get_mut(&judges) {
            known.used = true;
            return Ok(known.keys.clone());
        }
        let keys = aws_lc_rs::Ticketer::new()?;
        self.tickets.insert(judges, Tickets { keys: keys.clone(), used: true });
        Ok(keys)
    }
}

fn find<'s>(snapshot: &'s Snapshot, namespace: &str, name: &str) -> Option<&'s Secret> {
    let is_it = |secret: &&Arc<Secret>| {
        let meta = &secret.metadata;
        meta.namespace.as_deref() == Some(namespace) && meta.name.as_deref() == Some(name)
    };
    snapshot.secrets.iter().find(is_it).map(|secret| &**secret)
}

fn is_missing(owner: Owner<'_>, reference: &SecretObjectReference, snapshot: &Snapshot) -> bool {
    let namespace = reference.namespace.as_deref().unwrap_or(owner.namespace());
    let is_secret = reference.kind.as_deref().unwrap_or("Secret") == "Secret";
    is_secret && find(snapshot, namespace, &reference.name).is_none()
}

/// A Secret's chain and key (`kubernetes.io/tls`).
fn read(secret: &Secret) -> Result<CertifiedKey, String> {
    let entry = |name: &str| {
        let found = secret.data.as_ref().and_then(|data| data.get(name)).filter(|bytes| !bytes.0.is_empty());
        found.ok_or_else(|| format!("it has no {name}"))
    };
    parse(&entry("tls.crt")?.0, &entry("tls.key")?.0)
}

/// A chain and its key from PEM.
pub(super) fn parse(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("tls.crt is not a chain of PEM certificates: {error}"))?;
    if chain.is_empty() {
        return Err("tls.crt has no PEM certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key);
    let key = key.map_err(|error| format!("tls.key is not a PEM private key: {error}"))?;
    // This also compares the key with the certificate.
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| format!("its certificate and key cannot be used together: {error}"))
}
