//! Who manages which field: sets of fields, and server-side apply over objects whose schema is known.
//!
//! A [`Set`] of fields is what one `metadata.managedFields` entry says (`FieldsV1`). A [`Shape`] is a schema reduced to what
//! merging needs: which lists are keyed, which are sets, which are replaced whole. [`update`] and [`apply`] are the two ways to
//! write: the first records what a writer changed, the second merges what a manager wants, and refuses what another manager
//! holds. The rules are upstream's structured-merge-diff and its field managers. Nothing here does I/O; the time is a parameter.

mod compare;
mod compile;
mod element;
mod last_applied;
mod managed;
mod merge;
mod redate;
mod remove;
mod scale;
mod set;
mod shape;
mod to_set;
mod updater;
mod validate;
mod write;

pub use compare::{Comparison, compare};
pub use compile::{Compiler, unknown};
pub use element::{Element, path_text};
pub use managed::{Entry, Identity, Managed, ManagedError, Operation};
pub use merge::merge;
pub use remove::{extract, reconcile, remove, with_named_fields};
pub use scale::{from_scale, to_scale};
pub use set::Set;
pub use shape::{Atom, Field, ListShape, MapShape, Patch, Scalar, Shape, Types, same};
pub use to_set::to_set;
pub use updater::{Conflict, Difference, Keep, Updater, Versions};
pub use validate::{TypeError, validate};
pub use write::{ApplyError, Writer, apply, decode, update};
