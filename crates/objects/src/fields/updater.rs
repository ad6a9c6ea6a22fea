//! Ownership through writes: what each write takes from others, what it gives up, and what goes with it.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

use super::{
    compare::{Comparison, compare},
    element::Element,
    managed::{Entry, Identity, Managed},
    merge::merge,
    remove::{reconcile, remove, with_named_fields},
    set::Set,
    shape::{Shape, same},
    to_set::to_set,
    write::ApplyError,
};

/// The versions in which an object can be seen.
pub trait Versions {
    /// The schema of an `apiVersion`; `None` when there is no such version (any more).
    fn shape(&self, api_version: &str) -> Option<Shape<'_>>;

    /// An object of one version as another has it; `None` when there is no such version (any more).
    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>>;

    /// Whether the schemas never change while objects are stored; else sets may be of an older schema.
    fn are_fixed(&self) -> bool;
}

/// The fields that a writer can change, and so manage.
#[derive(Clone, Debug, PartialEq)]
pub enum Keep {
    /// All.
    All,
    /// All but those at or below these paths.
    Without(Set),
    /// Those at or below these paths.
    Only(Set),
}

impl Keep {
    fn of(&self, mut set: Set) -> Set {
        match self {
            Self::All => {}
            Self::Without(paths) => set.subtract_below(paths),
            Self::Only(paths) => {
                let others = set.difference_below(paths);
                set.subtract(&others);
            }
        }
        set
    }
}

/// A field that an apply would change and that somebody else manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who manages it.
    pub identity: Identity,
    /// The field.
    pub path: Vec<Element>,
}

/// What a write takes from others.
struct Taken {
    /// Fields that it gives a value.
    touched: Set,
    /// Fields that it removes.
    removed: Set,
}

impl Taken {
    fn of(changed: Comparison) -> Self {
        let mut touched = changed.modified;
        touched.absorb(changed.added);
        Self { touched, removed: changed.removed }
    }
}

/// One write: the object before and after it, both of a version, and what differs of what the writer can change.
pub struct Difference<'v> {
    live: Option<&'v Value>,
    new: &'v Value,
    version: &'v str,
    changed: Comparison,
}

impl Difference<'_> {
    /// The fields to which other values were given, where that is all that differs.
    pub(super) fn only_modified(&self) -> Option<&Set> {
        let Comparison { removed, modified, added } = &self.changed;
        (removed.is_empty() && added.is_empty()).then_some(modified)
    }
}

/// Computes ownership.
#[derive(Clone, Copy)]
pub struct Updater<'a> {
    /// The versions of the objects.
    pub versions: &'a dyn Versions,
    /// What writers can change.
    pub keep: &'a Keep,
}

impl Updater<'_> {
    /// What a write changes; `live` and `new` are of `version`.
    ///
    /// # Errors
    /// Objects that do not fit their schema.
    pub fn difference<'v>(
        &self,
        live: Option<&'v Value>,
        new: &'v Value,
        version: &'v str,
    ) -> Result<Difference<'v>, ApplyError> {
        let changed = self.compare(self.shape(version)?, live, new)?;
        Ok(Difference { live, new, version, changed })
    }

    /// Takes what a write changes from everybody else, and gives it to `by`.
    ///
    /// # Errors
    /// Objects that do not fit the schema of another version.
    pub fn update(&self, write: Difference<'_>, managed: &mut Managed, by: &Identity) -> Result<(), ApplyError> {
        if !self.versions.are_fixed() {
            self.reconcile(managed);
        }
        self.record(&write, managed, by, true)?;
        let Difference { version, changed, .. } = write;
        let mut has = managed.take(by).map(Entry::into_fields).unwrap_or_default();
        has.subtract(&changed.removed);
        has.absorb(changed.modified);
        has.absorb(changed.added);
        let has = self.keep.of(has);
        if !has.is_empty() {
            managed.put(Entry::new(by.clone(), version, has));
        }
        Ok(())
    }

    /// Merges what `by` applies into `live`, and removes what it applied before and nobody else manages. `None` when that
    /// changes nothing.
    ///
    /// # Errors
    /// Conflicts, unless `force`; objects that do not fit their schema.
    pub fn apply(
        &self,
        live: &Value,
        applied: &Value,
        version: &str,
        managed: &mut Managed,
        by: &Identity,
        force: bool,
    ) -> Result<Option<Value>, ApplyError> {
        self.reconcile(managed);
        let shape = self.shape(version)?;
        let merged =
            merge(shape, live, applied).map_err(|e| ApplyError::Object(format!("failed to merge config: {e}")))?;
        let last = managed.take(by);
        managed.put(Entry::new(by.clone(), version, self.keep.of(to_set(shape, applied))));
        let new = self.prune(merged, managed, version, last.as_ref());
        self.record(&self.difference(Some(live), &new, version)?, managed, by, force)?;
        if let (Some(last), Some(entry)) = (last, managed.get_mut(by)) {
            entry.time = last.time;
        }
        Ok((!same(live, &new)).then_some(new))
    }

    fn shape(&self, version: &str) -> Result<Shape<'_>, ApplyError> {
        let missing = || ApplyError::Object(format!("no corresponding type for {version}"));
        self.versions.shape(version).ok_or_else(missing)
    }

    /// Schemas may have changed since the entries were written.
    fn reconcile(&self, managed: &mut Managed) {
        for entry in managed.entries_mut() {
            if let Some(shape) = self.versions.shape(&entry.version) {
                let fields = reconcile(shape, entry.fields());
                entry.set_fields(fields);
            }
        }
    }

    /// Takes what changed from everybody but `by`. Entries of versions that are gone go with them.
    fn record(
        &self,
        write: &Difference<'_>,
        managed: &mut Managed,
        by: &Identity,
        force: bool,
    ) -> Result<(), ApplyError> {
        let Difference { live, new, version, changed } = write;
        let mut seen: BTreeMap<String, Option<Taken>> = BTreeMap::new();
        for entry in managed.entries().iter().filter(|entry| entry.identity != *by) {
            if !seen.contains_key(&entry.version) {
                let taken = if entry.version == *version {
                    Some(Taken::of(changed.clone()))
                } else {
                    self.seen_as(*live, new, version, &entry.version).transpose()?.map(Taken::of)
                };
                seen.insert(entry.version.clone(), taken);
            }
        }
        let seen = |entry: &Entry| seen.get(&entry.version).and_then(Option::as_ref);
        let mut conflicts = Vec::new();
        for entry in managed.entries().iter().filter(|entry| entry.identity != *by) {
            let Some(taken) = seen(entry).filter(|taken| !force && entry.fields().meets(&taken.touched)) else {
                continue;
            };
            entry.fields().intersection(&taken.touched).each(|path| {
                conflicts.push(Conflict { identity: entry.identity.clone(), path: path.to_vec() });
            });
        }
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
        managed.entries_mut().retain_mut(|entry| {
            if entry.identity != *by {
                let Some(Taken { touched, removed }) = seen(entry) else { return false };
                if entry.fields().meets(touched) || entry.fields().meets(removed) {
                    let mut left = entry.fields().difference(touched);
                    left.subtract(removed);
                    entry.set_fields(left);
                }
            }
            !entry.fields().is_empty()
        });
        Ok(())
    }

    fn compare(&self, shape: Shape<'_>, live: Option<&Value>, new: &Value) -> Result<Comparison, ApplyError> {
        let found =
            compare(shape, live, new).map_err(|e| ApplyError::Object(format!("failed to compare objects: {e}")))?;
        let Comparison { removed, modified, added } = found;
        let keep = |set| self.keep.of(set);
        Ok(Comparison { removed: keep(removed), modified: keep(modified), added: keep(added) })
    }

    /// What changed, as another version has it; `None` when there is no such version.
    fn seen_as(
        &self,
        live: Option<&Value>,
        new: &Value,
        from: &str,
        to: &str,
    ) -> Option<Result<Comparison, ApplyError>> {
        let shape = self.versions.shape(to)?;
        let live = match live {
            Some(live) => Some(self.versions.convert(live, from, to)?),
            None => None,
        };
        let new = self.versions.convert(new, from, to)?;
        Some(self.compare(shape, live.as_deref(), &new))
    }

    /// The merged object without what `last` was applied and neither is now nor is managed by somebody else.
    fn prune(&self, merged: Value, managed: &Managed, version: &str, last: Option<&Entry>) -> Value {
        let Some(last) = last.filter(|last| !last.fields().is_empty()) else { return merged };
        let (Some(shape), Some(there)) =
            (self.versions.shape(&last.version), self.versions.convert(&merged, version, &last.version))
        else {
            return merged;
        };
        let fields = with_named_fields(Some(shape), last.fields());
        let pruned = remove(shape, &there, &fields);
        let (pruned, at) = self.with_managed(&there, pruned, &last.version, managed);
        let Some(pruned) = self.versions.convert(&pruned, &at, &last.version) else { return merged };
        // What nobody manages, or who managed it only updated it, stays.
        let gone = with_named_fields(Some(shape), &to_set(shape, &there))
            .difference(&with_named_fields(Some(shape), &to_set(shape, &pruned)))
            .intersection(&fields);
        let pruned = remove(shape, &there, &gone);
        match self.versions.convert(&pruned, &last.version, version) {
            Some(pruned) => pruned.into_owned(),
            None => merged,
        }
    }

    /// The pruned object with everything that somebody manages put back, and the version it is then of.
    fn with_managed(&self, merged: &Value, pruned: Value, version: &str, managed: &Managed) -> (Value, String) {
        let mut by_version: BTreeMap<&str, Set> = BTreeMap::new();
        for entry in managed.entries() {
            let fields = by_version.entry(&entry.version).or_default();
            *fields = fields.union(entry.fields());
        }
        let first = by_version.remove(version).map(|fields| (version, fields));
        let (mut merged, mut pruned, mut at) = (Cow::Borrowed(merged), pruned, version.to_owned());
        for (to, fields) in first.into_iter().chain(by_version) {
            let (Some(shape), Some(whole), Some(part)) = (
                self.versions.shape(to),
                self.versions.convert(&merged, &at, to).map(Cow::into_owned),
                self.versions.convert(&pruned, &at, to).map(Cow::into_owned),
            ) else {
                continue;
            };
            let named = |set: &Set| with_named_fields(Some(shape), set);
            let gone = named(&to_set(shape, &whole)).difference(&named(&to_set(shape, &part)).union(&named(&fields)));
            pruned = remove(shape, &whole, &gone);
            (merged, at) = (Cow::Owned(whole), to.to_owned());
        }
        (pruned, at)
    }
}
