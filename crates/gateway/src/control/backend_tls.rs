//! BackendTLSPolicies: which applies to a Service's port, whom it trusts, and what its status says.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use objects::gateway::{
    BackendTLSPolicy, GROUP, Gateway, ParentReference, PolicyAncestorStatus, PolicyStatus, SubjectAltName,
};
use rustls::{pki_types::ServerName, sign::CertifiedKey};

use super::{
    CONTROLLER, Snapshot,
    authorities::Authorities,
    backends::Unresolved,
    compile::age,
    status::{Said, StatusKind, StatusUpdate, conditions, say, update},
    trust::{Roots, Trust, Trusts},
    verify::AltName,
};
use crate::table::{BackendTls, Upstream};

/// Ancestors that a policy's status has room for.
const MAX_ANCESTORS: usize = 16;

/// A Service and, if only that is meant, the name of its port.
type Target<'a> = (&'a str, &'a str, Option<&'a str>);

/// Every policy, and where each applies.
pub(super) struct Policies<'a> {
    /// The oldest first.
    all: Vec<Judged<'a>>,
    /// Positions in `all`: the first of each target applies.
    targets: HashMap<Target<'a>, Vec<usize>>,
    trusts: &'a mut Trusts,
    /// What a Gateway shows to endpoints that ask; see [`Policies::shown_by`].
    shown: Option<Arc<CertifiedKey>>,
    /// Those whose targets were referred to since they were last asked for.
    touched: BTreeSet<usize>,
}

struct Judged<'a> {
    policy: &'a BackendTLSPolicy,
    trust: Trust,
    /// Why it is not accepted.
    refused: Option<Unresolved>,
    /// What it refers to that is not there.
    unresolved: Option<Unresolved>,
    /// Namespaces and names of the Gateways with routes to its targets.
    ancestors: BTreeSet<(String, String)>,
}

impl<'a> Policies<'a> {
    pub fn of(snapshot: &'a Snapshot, trusts: &'a mut Trusts) -> Self {
        trusts.begin();
        let mut policies: Vec<_> = snapshot.backend_tls.iter().map(|policy| &**policy).collect();
        policies.sort_by_cached_key(|policy| age(&policy.metadata));
        let mut all: Vec<_> = policies.into_iter().map(|policy| judge(policy, snapshot)).collect();
        let mut targets: HashMap<Target<'a>, Vec<usize>> = HashMap::new();
        for (position, judged) in all.iter().enumerate() {
            let namespace = judged.policy.metadata.namespace.as_deref().unwrap_or_default();
            let services = judged.policy.spec.target_refs.iter();
            for target in services.filter(|target| target.group.is_empty() && target.kind == "Service") {
                let section = target.section_name.as_deref().filter(|section| !section.is_empty());
                targets.entry((namespace, &target.name, section)).or_default().push(position);
            }
        }
        let first: HashSet<_> = targets.values().filter_map(|positions| positions.first()).copied().collect();
        let conflicting = targets.values().flatten().filter(|position| !first.contains(position));
        for position in conflicting {
            if let Some(judged) = all.get_mut(*position) {
                let message = "an older policy has the same target".to_owned();
                judged.refused.get_or_insert(("Conflicted", message));
            }
        }
        Self { all, targets, trusts, shown: None, touched: BTreeSet::new() }
    }

    /// From now on, endpoints that ask for a certificate are shown this one.
    pub fn shown_by(&mut self, gateway: Option<Arc<CertifiedKey>>) {
        self.shown = gateway;
    }

    /// How connections to a Service's port are encrypted, if a policy says that they are.
    ///
    /// # Errors
    /// TLS cannot be set up; then there is to be no connection at all.
    pub fn get(
        &mut self,
        service: (&str, &str),
        port: &str,
        inside: Option<Upstream>,
    ) -> Result<Option<Arc<BackendTls>>, Unresolved> {
        let (namespace, name) = service;
        let of_port = self.targets.get(&(namespace, name, Some(port)));
        let of_service = self.targets.get(&(namespace, name, None));
        let first = of_port.or(of_service).and_then(|positions| positions.first()).copied();
        self.touched.extend(of_port.into_iter().chain(of_service).flatten());
        let Some(judged) = first.and_then(|first| self.all.get(first)) else { return Ok(None) };
        let tls = self.trusts.get(&judged.trust, inside, self.shown.as_ref());
        tls.map(Some).map_err(|error| {
            ("UnsupportedProtocol", format!("TLS with Service {namespace}/{name} cannot be set up: {error}"))
        })
    }

    /// The policies whose targets were referred to since the last call.
    pub fn touched(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.touched)
    }

    /// Routes of a Gateway lead to the targets of these policies.
    pub fn affects(&mut self, policies: &BTreeSet<usize>, gateway: &Gateway) {
        let meta = &gateway.metadata;
        let name = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        for position in policies {
            if let Some(judged) = self.all.get_mut(*position) {
                judged.ancestors.insert(name.clone());
            }
        }
    }

    /// After everything was looked up: the statuses to write.
    pub fn end(self, now: Timestamp) -> Vec<StatusUpdate> {
        self.trusts.end();
        self.all.iter().filter_map(|judged| judged.status(now)).collect()
    }
}

impl Judged<'_> {
    fn status(&self, now: Timestamp) -> Option<StatusUpdate> {
        let old = self.policy.status.as_ref();
        let known = old.map(|status| status.ancestors.as_slice()).unwrap_or_default();
        let mut ancestors: Vec<_> = known.iter().filter(|a| a.controller_name != CONTROLLER).cloned().collect();
        for (namespace, name) in &self.ancestors {
            let ancestor_ref = ParentReference {
                group: Some(GROUP.to_owned()),
                kind: Some("Gateway".to_owned()),
                namespace: Some(namespace.clone()),
                name: name.clone(),
                ..ParentReference::default()
            };
            let before = known.iter().find(|a| a.controller_name == CONTROLLER && a.ancestor_ref == ancestor_ref);
            let before = before.map(|a| a.conditions.as_slice()).unwrap_or_default();
            let conditions = conditions(before, self.said(), self.policy.metadata.generation, now);
            ancestors.push(PolicyAncestorStatus { ancestor_ref, controller_name: CONTROLLER.to_owned(), conditions });
        }
        ancestors.truncate(MAX_ANCESTORS);
        if old.is_none() && ancestors.is_empty() {
            return None;
        }
        update(StatusKind::BackendTLSPolicy, &self.policy.metadata, old, &PolicyStatus { ancestors })
    }

    fn said(&self) -> Vec<Said> {
        let accepted = match &self.refused {
            Some((reason, message)) => say("Accepted", false, reason, message),
            None => say("Accepted", true, "Accepted", "connections to the targets are encrypted"),
        };
        let resolved = match &self.unresolved {
            Some((reason, message)) => say("ResolvedRefs", false, reason, message),
            None => say("ResolvedRefs", true, "ResolvedRefs", "all references are resolved"),
        };
        vec![accepted, resolved]
    }
}

/// Whom a policy trusts. One that is not valid trusts nobody: what it protects is not sent in the clear for it.
fn judge<'a>(policy: &'a BackendTLSPolicy, snapshot: &Snapshot) -> Judged<'a> {
    let validation = &policy.spec.validation;
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    let references = validation.ca_certificate_refs.as_deref().unwrap_or_default();
    let well_known = validation.well_known_ca_certificates.as_deref().filter(|set| !set.is_empty());
    let (mut refused, mut unresolved) = (None, None);
    let mut roots = match (references, well_known) {
        ([], Some("System")) => Roots::System,
        ([], Some(other)) => {
            refused = Some(("Invalid", format!("wellKnownCACertificates {other} is not known: there is System")));
            Roots::Nobody
        }
        ([], None) => {
            refused = Some((
                "Invalid",
                "neither caCertificateRefs nor wellKnownCACertificates says whom to trust".to_owned(),
            ));
            Roots::Nobody
        }
        (references, _) => {
            let named = references.iter().map(|reference| match (reference.group.as_str(), reference.kind.as_str()) {
                ("", "ConfigMap") => Ok((namespace, reference.name.as_str())),
                (group, kind) => {
                    let message = format!("{} is a {kind} of group {group:?}, not a ConfigMap", reference.name);
                    Err(("InvalidKind", message))
                }
            });
            let authorities = Authorities::gather(named, "InvalidCACertificateRef", snapshot);
            unresolved = authorities.failed;
            if authorities.certificates.is_empty() {
                refused = Some(("NoValidCACertificate", "none of caCertificateRefs is valid".to_owned()));
                Roots::Nobody
            } else {
                Roots::these(&authorities.certificates)
            }
        }
    };
    let mut hostname = validation.hostname.to_ascii_lowercase();
    if !matches!(ServerName::try_from(hostname.as_str()), Ok(ServerName::DnsName(_))) {
        refused.get_or_insert(("Invalid", format!("{hostname:?} is not a host name")));
        (hostname, roots) = ("invalid".to_owned(), Roots::Nobody);
    }
    let names = match names(validation.subject_alt_names.as_deref().unwrap_or_default()) {
        Ok(names) => names,
        Err(message) => {
            refused.get_or_insert(("Invalid", message));
            roots = Roots::Nobody;
            Vec::new()
        }
    };
    Judged { policy, trust: Trust { hostname, roots, names }, refused, unresolved, ancestors: BTreeSet::new() }
}

fn names(wanted: &[SubjectAltName]) -> Result<Vec<AltName>, String> {
    let one = |name: &SubjectAltName| match (name.type_.as_str(), &name.hostname, &name.uri) {
        ("Hostname", Some(host), _) => Ok(AltName::Host(host.to_ascii_lowercase())),
        ("URI", _, Some(uri)) => Ok(AltName::Uri(uri.clone())),
        (other, ..) => Err(format!("subjectAltNames: {other} without its value, or of an unknown type")),
    };
    wanted.iter().map(one).collect()
}
