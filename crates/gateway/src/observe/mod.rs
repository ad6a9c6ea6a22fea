//! What is seen of the proxy from outside: one record per request, the figures that are made of the records, and the access
//! log.
//!
//! A request's `Recording` is started when its head has arrived, is told what happens on the way, and is counted when it is
//! dropped: exactly once, however the request ends. Figures are plain numbers of one worker; [`Metrics`] sums them when
//! somebody asks. Without an access log nothing of a request is copied.

mod exposition;
mod figures;
mod flags;
mod histogram;
mod load;
mod local;
mod log;
mod record;

pub use exposition::{Metrics, OPENMETRICS, PROMETHEUS};
pub(crate) use figures::{Connected, Held, Live, TlsFault, WorkerFigures};
pub use flags::Fault;
pub(crate) use flags::Flag;
pub(crate) use histogram::Histogram;
pub(crate) use load::{Load, Loads};
pub(crate) use local::{Caller, Observe, Session};
pub use log::{AccessLog, Destination, Format, FormatError};
pub(crate) use log::{Feed, Writer};
pub(crate) use record::{Protocol, Recording};
