//! YAML in, objects out: files, folders, standard input. No network.

mod load;

pub use load::{Error, Object, load, parse};
