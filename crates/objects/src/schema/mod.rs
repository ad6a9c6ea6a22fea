//! What every kind may say: its OpenAPI schema, and the check of an object against it.
//!
//! Both come from the Rust types (k8s-openapi's and [`crate::gateway`]'s) through `schemars`. Nothing is built before it is
//! asked for: a group's documents are made for each request and not kept, and the compact tables that objects are checked with
//! ([`conform`]) are made when the first object of the group arrives.

mod check;
mod compile;
mod definitions;
mod extensions;
mod meta;
mod shapes;
mod strict;
#[cfg(test)]
mod tests;

pub use check::{Conformed, WrongType, conform};
pub use definitions::{components, definition_name, group_versions, metadata_components};
pub use extensions::extensions;
pub use meta::{META, meta_components};
pub use shapes::{custom, shape};
pub use strict::{Strict, parse};
