//! References to other namespaces.

use objects::gateway::GROUP;

use super::Snapshot;

/// Whether a ReferenceGrant lets a Gateway API object (`from`: kind and namespace) refer to another (`to`: group, kind,
/// namespace and name).
pub(super) fn permitted(snapshot: &Snapshot, from: (&str, &str), to: (&str, &str, &str, &str)) -> bool {
    let (group, kind, namespace, name) = to;
    snapshot.grants.iter().filter(|g| g.metadata.namespace.as_deref() == Some(namespace)).any(|grant| {
        grant.spec.from.iter().any(|f| f.group == GROUP && (f.kind.as_str(), f.namespace.as_str()) == from)
            && grant.spec.to.iter().any(|t| {
                (t.group.as_str(), t.kind.as_str()) == (group, kind) && t.name.as_deref().is_none_or(|n| n == name)
            })
    })
}
