//! The values of Kubernetes' libraries.

pub(crate) mod formats;
pub(crate) mod quantity;
pub(crate) mod semver;
pub(crate) mod url;
