//! The access log: a line per request, in JSON or in a format given in the language of Envoy's access log.
//!
//! A format is compiled once (`format`). While a request passes, the values of the fields that the format names are copied
//! (`captured`); when it has ended, its worker writes the line into a buffer of its own (`render`), and a thread writes whole
//! buffers to the file (`writer`). A worker never waits for the file: lines that the queue has no room for are dropped and
//! counted.

mod captured;
mod escape;
mod feed;
mod format;
mod operators;
mod render;
mod time;
mod writer;

use std::path::PathBuf;

pub(super) use captured::Captured;
pub(crate) use feed::Feed;
pub(super) use feed::WorkerLog;
pub use format::{Format, FormatError};
pub(super) use render::Texts;
pub(crate) use writer::Writer;

/// Where the access log goes, and what its lines are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where.
    pub to: Destination,
    /// What.
    pub format: Format,
}

/// Where an access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// The end of a file, which is made if it is not there, and opened again when it has been moved away.
    File(PathBuf),
}
