//! What Gateways ask of the clients of their HTTPS listeners (`spec.tls.frontend`).

use objects::gateway::{FrontendTLSValidation, Gateway, Listener};

use super::{Snapshot, authorities::Authorities, backends::Unresolved, grants};

/// How a listener's clients are judged.
#[derive(Debug)]
pub(super) struct Clients {
    /// Who may vouch for them.
    pub authorities: Authorities,
    /// Clients without a certificate, or with any, are taken as well (`AllowInsecureFallback`).
    pub fallback: bool,
}

impl Clients {
    /// Why no client could be judged, if there is nobody to vouch for one.
    pub fn refused(&self) -> Option<Unresolved> {
        let (_, message) = self.authorities.failed.as_ref().filter(|_| self.authorities.certificates.is_empty())?;
        Some(("NoValidCACertificate", format!("none of the Gateway's caCertificateRefs is valid: {message}")))
    }
}

/// What a Gateway asks of the clients of one of its HTTPS listeners, or of its ListenerSets'.
pub(super) fn of(gateway: &Gateway, listener: &Listener, snapshot: &Snapshot) -> Option<Clients> {
    let frontend = gateway.spec.tls.as_ref()?.frontend.as_ref()?;
    let of_port = frontend.per_port.iter().flatten().find(|port| port.port == listener.port);
    let validation = of_port.map_or(&frontend.default_, |port| &port.tls).validation.as_ref()?;
    let from = gateway.metadata.namespace.as_deref().unwrap_or_default();
    let references = validation.ca_certificate_refs.iter().map(|reference| {
        let (group, kind, name) = (reference.group.as_str(), reference.kind.as_str(), reference.name.as_str());
        if (group, kind) != ("", "ConfigMap") {
            let message = format!("{name} is a {kind} of group {group:?}, not a ConfigMap");
            return Err(("InvalidCACertificateKind", message));
        }
        let namespace = reference.namespace.as_deref().unwrap_or(from);
        if namespace != from && !grants::permitted(snapshot, ("Gateway", from), ("", kind, namespace, name)) {
            let message = format!("no ReferenceGrant in {namespace} lets Gateways of {from} refer to ConfigMap {name}");
            return Err(("RefNotPermitted", message));
        }
        Ok((namespace, name))
    });
    let authorities = Authorities::gather(references, "InvalidCACertificateRef", snapshot);
    Some(Clients { authorities, fallback: takes_anybody(validation) })
}

fn takes_anybody(validation: &FrontendTLSValidation) -> bool {
    validation.mode.as_deref() == Some("AllowInsecureFallback")
}

/// Whether a Gateway takes clients that it cannot trust, on any port.
pub(super) fn is_insecure(gateway: &Gateway) -> bool {
    let frontend = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
    let of_ports = frontend.and_then(|frontend| frontend.per_port.as_ref()).into_iter().flatten().map(|port| &port.tls);
    let all = frontend.map(|frontend| &frontend.default_).into_iter().chain(of_ports);
    all.filter_map(|tls| tls.validation.as_ref()).any(takes_anybody)
}
