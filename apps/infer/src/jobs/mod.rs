//! Long tasks: accepted at once, done by workers, asked about by address. They are done at least once, survive a restart if there is a
//! place for them ([`Local`] with a directory, [`Shared`] in Redis), and end as a result or as a dead letter.

mod disk;
mod gauges;
mod job;
mod local;
mod queue;
mod shared;

pub use disk::DiskError;
pub use gauges::Gauges;
pub use job::{Job, Outcome, Retries, State};
pub use local::Local;
pub use queue::{Accepted, Bounds, Changed, JobsError, Queue};
pub use shared::Shared;
