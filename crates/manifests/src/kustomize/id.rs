//! What kustomize knows an object by: group, version, kind, name and namespace; and which kinds have no namespace.

use std::fmt;

use serde_json::Value;

use super::schema;

/// The namespace of an object that names none, as far as equality goes.
const DEFAULT: &str = "default";
/// The namespace of objects whose kind has none.
const NONE: &str = "_non_namespaceable_";

/// Group, version and kind. As a selector, what is empty matches anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Gvk {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

impl Gvk {
    /// What an object says of itself.
    pub(super) fn of(object: &Value) -> Self {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let api_version = text("apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group: group.to_owned(), version: version.to_owned(), kind: text("kind").to_owned() }
    }

    /// Whether this satisfies every part that the selector names.
    pub(super) fn is_selected(&self, selector: &Self) -> bool {
        let fits = |own: &str, wanted: &str| wanted.is_empty() || own == wanted;
        fits(&self.group, &selector.group) && fits(&self.version, &selector.version) && fits(&self.kind, &selector.kind)
    }

    /// `apps/v1`, or `v1` without a group.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The text by which kustomize sorts kinds of equal rank.
    pub(super) fn sort_text(&self) -> String {
        let or = |text: &str, other: &'static str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        format!("{}_{}_{}", or(&self.group, "~G"), or(&self.version, "~V"), or(&self.kind, "~K"))
    }
}

/// An object's identity, now or at an earlier stage of the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) gvk: Gvk,
    pub(super) name: String,
    /// As written; empty when it is not.
    pub(super) namespace: String,
    /// Whether the kind is known to have no namespace.
    pub(super) cluster_scoped: bool,
}

impl Id {
    /// What an object says of itself.
    pub(super) fn of(object: &Value) -> Self {
        let gvk = Gvk::of(object);
        let meta = |field: &str| {
            let value = object.get("metadata").and_then(|metadata| metadata.get(field));
            value.and_then(crate::yaml::text).unwrap_or_default()
        };
        let cluster_scoped = schema::is_cluster_scoped(&gvk);
        Self { name: meta("name"), namespace: meta("namespace"), gvk, cluster_scoped }
    }

    /// The namespace that counts when identities are compared.
    pub(super) fn effective_namespace(&self) -> &str {
        match self.namespace.as_str() {
            _ if self.cluster_scoped => NONE,
            "" => DEFAULT,
            namespace => namespace,
        }
    }

    /// Whether both live in the same namespace.
    pub(super) fn same_namespace(&self, other: &Self) -> bool {
        self.effective_namespace() == other.effective_namespace()
    }

    /// Whether both name the same object.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.same_namespace(other) && self.name == other.name && self.gvk == other.gvk
    }

    /// Whether this satisfies every part that the selector names.
    pub(super) fn is_selected(&self, selector: &Self) -> bool {
        (selector.name.is_empty() || selector.name == self.name)
            && (selector.namespace.is_empty() || selector.same_namespace(self))
            && self.gvk.is_selected(&selector.gvk)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.gvk.kind.is_empty() { "object" } else { &self.gvk.kind };
        write!(f, "{kind} {}", if self.name.is_empty() { "of any name" } else { &self.name })?;
        if self.namespace.is_empty() { Ok(()) } else { write!(f, " in namespace {}", self.namespace) }
    }
}
