//! What the restaurant counts: orders, revenue, users, and who was turned away.

use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use service::metrics::register;
use tokio::sync::Mutex;

use crate::store::{self, Store};

/// Users are counted again at most this often.
const RECOUNT: Duration = Duration::from_secs(10);

/// The counters. (Orders and revenue are counted where orders change their state: see [`Store::count_orders_in`].)
pub struct Metrics {
    /// Logins that failed, by reason.
    pub login_failures: IntCounterVec,
    /// Logins that succeeded.
    pub logins: IntCounter,
    /// Requests that the gate refused, by status.
    pub refused: IntCounterVec,
    /// Requests let in on their token alone, because sessions could not be looked at.
    pub unchecked_sessions: IntCounter,
    /// Sessions ended because a refresh token came twice.
    pub reuses: IntCounter,
    /// Accounts made here.
    pub registrations: IntCounter,
    /// Uploads, by outcome.
    pub uploads: IntCounterVec,
    users: IntGauge,
    counted: Mutex<Option<Instant>>,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When there are such already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let by = |name: &str, help: &str, label: &str| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
        };
        let one = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        Ok(Self {
            login_failures: by("login_failures_total", "Logins that failed", "reason")?,
            logins: one("logins_total", "Logins that succeeded")?,
            refused: by("requests_unauthorized_total", "Requests refused for who sent them", "status")?,
            unchecked_sessions: one("sessions_unchecked_total", "Requests let in on their token alone")?,
            reuses: one("refresh_token_reuses_total", "Sessions ended because a refresh token came twice")?,
            registrations: one("registrations_total", "Accounts made by this process")?,
            uploads: by("image_uploads_total", "Pictures uploaded", "outcome")?,
            users: register(registry, IntGauge::new("users", "Accounts")?)?,
            counted: Mutex::new(None),
        })
    }

    /// Counts the users, unless that was done a moment ago.
    pub async fn count_users(&self, store: &Store) {
        let mut counted = self.counted.lock().await;
        if counted.is_some_and(|at| at.elapsed() < RECOUNT) {
            self.users.inc();
            return;
        }
        if self.recount(store).await {
            *counted = Some(Instant::now());
        }
    }

    /// Counts the users, however lately that was done, for an account was made that nobody registered. Whoever registers meanwhile
    /// may be among them already, so the next to register counts again.
    pub async fn recount_users(&self, store: &Store) {
        let mut counted = self.counted.lock().await;
        self.recount(store).await;
        *counted = None;
    }

    async fn recount(&self, store: &Store) -> bool {
        match store::users::count(store).await {
            Ok(users) => self.users.set(users),
            Err(error) => {
                tracing::warn!(%error, "users cannot be counted");
                return false;
            }
        }
        true
    }
}
