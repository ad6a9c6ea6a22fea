//! YAML as Kubernetes' tools read and write it. They read a dialect of their own: syntax of YAML 1.2, but plain scalars as in
//! YAML 1.1 in part (`0644` is octal; `yes` is a boolean to `kubectl -f` and a string to kustomize).

mod compose;
mod emit;
mod scalar;

pub(crate) use compose::documents;
pub(crate) use emit::emit;
pub(crate) use scalar::{plain, text};

use serde_json::Value;

/// How plain scalars are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// As `kubectl -f` and the kustomization file itself: `yes`, `no`, `on`, `off`, `y` and `n` are booleans; dates are strings.
    Kubectl,
    /// As kustomize reads resources and patches: those words are strings, a date becomes a full RFC 3339 time, and the values of
    /// `metadata.annotations` are strings exactly as written.
    Kustomize,
}

/// Stands, in `Dialect::Kustomize` only, for a value that is not written at all (`key:`). kustomize tells it from a `null` that
/// is written: a merge drops the one and keeps the other.
pub(crate) const BLANK: &str = "\u{fdd0}blank";

/// Goes, in `Dialect::Kustomize` only, before text that is quoted without need: a merge that puts a number in its place keeps
/// the quotes, which makes it text.
pub(crate) const QUOTED: char = '\u{fdd1}';

/// What marks begin with. They are no text in any script, so nobody misses that a manifest may not begin text with them.
pub(crate) const MARKS: [char; 2] = ['\u{fdd0}', QUOTED];

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// Its content; `null` when it is empty.
    pub value: Value,
    /// The line on which its content starts, counted from 1.
    pub line: u64,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The line, counted from 1.
    pub line: u64,
    /// The reason.
    pub reason: String,
}
