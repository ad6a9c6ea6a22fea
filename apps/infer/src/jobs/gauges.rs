//! What the metrics say of jobs that are not over.

use prometheus::{IntGauge, Registry};
use service::metrics::register;

/// How many jobs wait and run, and whether the place where they are kept answers.
#[derive(Clone, Debug)]
pub struct Gauges {
    waiting: IntGauge,
    running: IntGauge,
    available: IntGauge,
}

impl Gauges {
    /// Registers them.
    ///
    /// # Errors
    /// Metrics of these names exist already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        let gauges = Self {
            waiting: gauge("infer_jobs_waiting", "Jobs that wait for a worker; with REDIS_URL those of all replicas")?,
            running: gauge("infer_jobs_running", "Jobs that a worker is at; with REDIS_URL those of all replicas")?,
            available: gauge("infer_jobs_available", "1 if the place where jobs are kept answered last, 0 if not")?,
        };
        gauges.available.set(1);
        Ok(gauges)
    }

    /// So many wait and run.
    pub(super) fn tell(&self, waiting: usize, running: usize) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.running.set(i64::try_from(running).unwrap_or(i64::MAX));
    }

    /// Whether the place where they are kept answers.
    pub(super) fn answers(&self, available: bool) {
        self.available.set(available.into());
    }
}
