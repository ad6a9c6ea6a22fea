//! How large values can be.

use std::{collections::BTreeMap, sync::Arc};

/// How large the parts of a value can be, as far as somebody says: characters of a text, bytes, elements of a list, entries of
/// a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of the value itself.
    pub most: u64,
    /// Of the keys of a map.
    pub keys: Option<Arc<Bounds>>,
    /// Of the elements of a list, or the values of a map.
    pub elements: Option<Arc<Bounds>>,
    /// Of the fields of an object, as expressions name them.
    pub fields: BTreeMap<String, Arc<Bounds>>,
}

/// How large the variables of an expression can be.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    /// Those that something is known of.
    pub variables: &'a [(&'a str, &'a Bounds)],
    /// What a part counts as that comes from no variable, such as an element of a list that the expression made; `None` for what
    /// follows from the expression. Kubernetes' estimator takes it for the value that the rule is about.
    pub elsewhere: Option<&'a Bounds>,
}

/// A size, at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Size {
    pub(super) const UNKNOWN: Self = Self { least: 0, most: u64::MAX };

    pub(super) fn fixed(size: u64) -> Self {
        Self { least: size, most: size }
    }

    pub(super) fn up_to(most: u64) -> Self {
        Self { least: 0, most }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { least: self.least.saturating_add(other.least), most: self.most.saturating_add(other.most) }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self { least: self.least.saturating_mul(other.least), most: self.most.saturating_mul(other.most) }
    }

    /// What encompasses both.
    pub(super) fn or(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }
}

/// Sizes of what is in a list or a map that an expression makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entries {
    pub(super) is_list: bool,
    pub(super) key: Size,
    pub(super) value: Size,
}

impl Entries {
    pub(super) fn or(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        let (a, b) = (a?, b?);
        Some(Self { is_list: a.is_list, key: a.key.or(b.key), value: a.value.or(b.value) })
    }
}

/// What looking at so much costs, rounded up.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as cel-go reckons; casts from floats saturate"
)]
pub(super) fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}
