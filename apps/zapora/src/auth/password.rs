//! Passwords: bcrypt, away from the threads of the requests, and bounded.
//!
//! bcrypt reads at most 72 bytes and stops at a NUL, so what it is given is the hexadecimal SHA-256 of the password, with a
//! prefix of this service: passwords of any length and any characters count whole, and a hash that leaked elsewhere cannot be
//! tried here in place of its password.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// bcrypt's cost when nothing else is configured: some 0.2 s of one core.
pub const COST: u32 = 12;
/// The costs that can be configured: below 4 bcrypt has none; above 16 a login takes seconds.
pub const COSTS: std::ops::RangeInclusive<u32> = 4..=16;
/// How many checks may wait for a core; more are told to come again.
const WAITING: usize = 64;

/// Why a password could be neither hashed nor checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many wait already.
    #[error("{WAITING} passwords wait to be checked already")]
    Busy,
    /// What is stored is not a hash, or the machine has no randomness.
    #[error("bcrypt: {0}")]
    Bcrypt(#[from] bcrypt::BcryptError),
    /// The task failed.
    #[error("checking a password failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is the password.
    Right,
    /// It is the password, and its hash has another cost than is configured now: it should be hashed again.
    Stale,
    /// It is not.
    Wrong,
}

/// Hashes and checks passwords. Clones share the bounds.
#[derive(Clone)]
pub struct Passwords {
    cost: u32,
    cores: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    /// With this cost (see [`COSTS`]), on as many cores as the machine has.
    pub fn new(cost: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { cost, cores: Arc::new(Semaphore::new(cores)), waiting: Arc::new(Semaphore::new(WAITING)) }
    }

    /// The hash of a password.
    ///
    /// # Errors
    /// When too many wait, or there is no randomness.
    pub async fn hash(&self, password: &str) -> Result<String, Error> {
        let (cost, input) = (self.cost, digest(password));
        self.on_a_core(move || bcrypt::non_truncating_hash(input, cost)).await
    }

    /// Whether `password` is the one of `hash`. With no hash (nobody of that name) it takes as long and says [`Checked::Wrong`],
    /// so that the time of an answer does not tell who has an account.
    ///
    /// # Errors
    /// When too many wait, or what is stored is no hash.
    pub async fn check(&self, password: &str, hash: Option<String>) -> Result<Checked, Error> {
        let (cost, input, known) = (self.cost, digest(password), hash.is_some());
        // A well-formed hash that no password has to our knowledge.
        let hash = hash.unwrap_or_else(|| format!("$2b${cost:02}${:.<22}{:.<31}", "", ""));
        self.on_a_core(move || {
            let right = bcrypt::non_truncating_verify(input, &hash)?;
            Ok(match (right && known, hash.split('$').nth(2).and_then(|c| c.parse().ok()) == Some(cost)) {
                (true, true) => Checked::Right,
                (true, false) => Checked::Stale,
                (false, _) => Checked::Wrong,
            })
        })
        .await
    }

    async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
    ) -> Result<T, Error> {
        let _place = self.waiting.try_acquire().map_err(|_| Error::Busy)?;
        let core = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| Error::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work, so that clients that go away do not let more of it begin.
            let _core = core;
            work()
        });
        Ok(done.await??)
    }
}

/// 64 hexadecimal digits: fewer than bcrypt's 72 bytes, and no NUL.
fn digest(password: &str) -> String {
    let mut sum = Sha256::new();
    sum.update(b"zapora.password.1\0");
    sum.update(password.as_bytes());
    crate::hex(&sum.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_counts_to_its_last_byte() {
        let passwords = Passwords::new(4);
        let long = "a".repeat(100);
        let hash = passwords.hash(&long).await.unwrap();
        assert!(hash.starts_with("$2b$04$"), "{hash}");
        assert_eq!(passwords.check(&long, Some(hash.clone())).await.unwrap(), Checked::Right);
        assert_eq!(passwords.check(&long[..99], Some(hash)).await.unwrap(), Checked::Wrong);
        let hash = passwords.hash("before\0after").await.unwrap();
        assert_eq!(passwords.check("before\0other", Some(hash)).await.unwrap(), Checked::Wrong);
    }

    #[tokio::test]
    async fn nobody_has_no_password_and_takes_as_long() {
        let passwords = Passwords::new(4);
        assert_eq!(passwords.check("whatever", None).await.unwrap(), Checked::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_stale() {
        let hash = Passwords::new(5).hash("secret").await.unwrap();
        assert_eq!(Passwords::new(4).check("secret", Some(hash)).await.unwrap(), Checked::Stale);
    }

    #[tokio::test]
    async fn what_is_no_hash_is_an_error_and_never_a_match() {
        assert!(matches!(Passwords::new(4).check("x", Some("x".to_owned())).await, Err(Error::Bcrypt(_))));
    }
}
