//! YAML in, objects out: files, folders, standard input and kustomize builds; and objects back to YAML. No network.

mod error;
mod kustomize;
mod load;
mod yaml;

pub use error::Error;
pub use kustomize::build;
pub use load::{Object, load, parse};

/// The objects as kustomize prints them: documents between `---` lines, keys in natural order. Reading it back with [`parse`]
/// gives the same objects.
pub fn to_yaml(objects: &[Object]) -> String {
    objects.iter().map(|object| yaml::emit(&object.value)).collect::<Vec<_>>().join("---\n")
}
