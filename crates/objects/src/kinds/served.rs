//! The kinds that are served at one time.

use std::{
    cmp::Reverse,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use super::{KINDS, Kind, known};

/// A kind to keep hold of: a row of a table, or one that a definition brought.
#[derive(Clone, Debug)]
pub enum KindRef {
    /// A row of a table.
    Row(&'static Kind),
    /// Of a definition; it stays as it was then when the definition changes.
    Defined(Arc<Kind>),
}

impl KindRef {
    /// The kind in the version that its objects are kept in.
    #[must_use]
    pub fn storage(&self) -> Self {
        self.stored_elsewhere().map_or_else(|| self.clone(), Self::Row)
    }
}

impl Deref for KindRef {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        match self {
            Self::Row(kind) => kind,
            Self::Defined(kind) => kind,
        }
    }
}

impl PartialEq for KindRef {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for KindRef {}

impl From<&'static Kind> for KindRef {
    fn from(kind: &'static Kind) -> Self {
        Self::Row(kind)
    }
}

impl From<&Self> for KindRef {
    fn from(kind: &Self) -> Self {
        kind.clone()
    }
}

/// Everything that is served: what is built in, what definitions add, and the kinds known by name that nobody has defined.
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    /// By group, version (the preferred one first) and plural.
    defined: Vec<Arc<Kind>>,
}

impl Kinds {
    /// The kinds when definitions bring these. One that is built in stays what it is.
    pub fn new(defined: Vec<Kind>) -> Self {
        let built_in = |kind: &Kind| KINDS.iter().any(|own| (own.group, own.plural) == (kind.group, kind.plural));
        let mut defined: Vec<_> = defined.into_iter().filter(|kind| !built_in(kind)).map(Arc::new).collect();
        defined.sort_by_cached_key(|kind| (kind.group, Reverse(version_rank(kind.version)), kind.plural));
        Self { defined }
    }

    /// Every kind in every version; of a group's versions, the preferred one first.
    pub fn all(&self) -> impl Iterator<Item = KindRef> {
        let rows = KINDS.iter().map(KindRef::Row);
        let defined = self.defined.iter().cloned().map(KindRef::Defined);
        let known = known().iter().filter(|kind| !self.is_defined(kind)).map(KindRef::Row);
        rows.chain(defined).chain(known)
    }

    /// The kinds that definitions brought.
    pub fn defined(&self) -> &[Arc<Kind>] {
        &self.defined
    }

    /// A number that differs where the kinds that definitions brought do.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for kind in &self.defined {
            let definition = kind.definition().map(|definition| definition.fingerprint);
            let names = (kind.group, kind.version, kind.kind, kind.plural, kind.singular, kind.short_names);
            (names, kind.categories, kind.namespaced, definition).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// One kind for each sort of object.
    pub fn stored(&self) -> impl Iterator<Item = KindRef> {
        let first = |at: usize, kind: &Kind| {
            let before = self.defined.get(..at).unwrap_or_default();
            !before.iter().any(|other| (other.group, other.plural) == (kind.group, kind.plural))
        };
        let defined: Vec<_> = self.defined.iter().enumerate().filter(|(at, kind)| first(*at, kind)).collect();
        let defined = defined.into_iter().map(|(_, kind)| KindRef::Defined(kind.clone()));
        let tables = self.all().filter(|kind| matches!(kind, KindRef::Row(_)) && kind.stored_as.is_none());
        tables.chain(defined)
    }

    /// The kind behind a path's group, version and resource name.
    pub fn by_resource(&self, group: &str, version: &str, plural: &str) -> Option<KindRef> {
        self.find(|k| (k.group, k.version, k.plural) == (group, version, plural))
    }

    /// The kind that an object's `apiVersion` (split) and `kind` name.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<KindRef> {
        self.find(|k| (k.group, k.version, k.kind) == (group, version, kind))
    }

    fn find(&self, wanted: impl Fn(&Kind) -> bool) -> Option<KindRef> {
        if let Some(row) = KINDS.iter().find(|kind| wanted(kind)) {
            return Some(row.into());
        }
        if let Some(defined) = self.defined.iter().find(|kind| wanted(kind)) {
            return Some(KindRef::Defined(defined.clone()));
        }
        known().iter().find(|kind| wanted(kind) && !self.is_defined(kind)).map(KindRef::Row)
    }

    fn is_defined(&self, kind: &Kind) -> bool {
        self.defined.iter().any(|defined| (defined.group, defined.plural) == (kind.group, kind.plural))
    }
}

/// How a version compares with others of its group, the greatest preferred: `v2`, `v1`, `v1beta2`, `v1alpha1`, then whatever is
/// not of this form, by name (Kubernetes' version priority).
pub fn version_rank(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let parse = || -> Option<(u8, u64, u64)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (major, rest) = rest.split_at_checked(digits)?;
        let major = major.parse().ok()?;
        if rest.is_empty() {
            return Some((3, major, 0));
        }
        let (stage, minor) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => (2, minor),
            (_, Some(minor)) => (1, minor),
            _ => return None,
        };
        Some((stage, major, minor.parse().ok()?))
    };
    match parse() {
        Some((stage, major, minor)) => (stage, major, minor, Reverse(String::new())),
        None => (0, 0, 0, Reverse(version.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_preferred_as_upstream_prefers_them() {
        let mut versions =
            ["foo10", "v1alpha1", "v10beta3", "v2", "foo1", "v1", "v11beta2", "v10", "v3beta1", "v12alpha1"];
        versions.sort_by_cached_key(|version| Reverse(version_rank(version)));
        let wanted = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v1alpha1", "foo1", "foo10"];
        assert_eq!(versions, wanted);
    }

    #[test]
    fn a_definition_takes_the_place_of_a_kind_known_by_name_and_never_of_one_that_is_built_in() {
        let certificate = known().iter().find(|kind| kind.kind == "Certificate").unwrap();
        let mut own = certificate.clone();
        own.version = "v2";
        let mut pod = crate::kinds::by_kind("", "v1", "Pod").unwrap().clone();
        pod.version = "v7";
        let none = Kinds::default();
        assert!(none.by_resource("cert-manager.io", "v1", "certificates").is_some());
        let kinds = Kinds::new(vec![own, pod]);
        assert!(kinds.by_resource("cert-manager.io", "v1", "certificates").is_none());
        assert!(kinds.by_kind("cert-manager.io", "v2", "Certificate").is_some());
        assert!(kinds.by_resource("", "v7", "pods").is_none());
        assert_eq!(kinds.stored().filter(|kind| kind.kind == "Certificate").count(), 1);
    }
}
