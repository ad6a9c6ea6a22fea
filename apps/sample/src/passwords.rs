//! Passwords, hashed with bcrypt: slowly, on purpose, so only a few at a time and beside the thread that serves everybody.

use std::{sync::Arc, time::Duration};

use service::problem::{Answer, Problem};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Passwords hashed at a time.
const AT_ONCE: usize = 2;
/// How long one waits for its turn.
const WAIT: Duration = Duration::from_secs(5);

/// Hashes and checks passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    cost: u32,
    turns: Arc<Semaphore>,
    /// The hash of a password that nobody has.
    nobody: Arc<str>,
}

impl Passwords {
    /// With bcrypt's cost, from 4 to 31: each more doubles the time.
    ///
    /// # Errors
    /// The cost is out of range.
    pub fn new(cost: u32) -> Result<Self, bcrypt::BcryptError> {
        let nobody = bcrypt::hash("", cost)?.into();
        Ok(Self { cost, turns: Arc::new(Semaphore::new(AT_ONCE)), nobody })
    }

    /// The hash of a password.
    ///
    /// # Errors
    /// Too many want one now.
    pub async fn hash(&self, password: &str) -> Answer<String> {
        let (digest, cost) = (digest(password), self.cost);
        self.beside(move || bcrypt::hash(digest, cost)).await
    }

    /// Whether a password is the one that was hashed; without a hash it takes as long and is not.
    ///
    /// # Errors
    /// Too many want to know now.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Answer<bool> {
        let known = hash.is_some();
        let (digest, hash) = (digest(password), hash.unwrap_or(&self.nobody).to_owned());
        let same = self.beside(move || bcrypt::verify(digest, &hash)).await?;
        Ok(same && known)
    }

    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
    ) -> Answer<T> {
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Problem::unavailable("too many are logging in; come back shortly")) };
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(Problem::internal)?.map_err(Problem::internal)
    }
}

/// bcrypt looks at 72 bytes only and stops at U+0000; a digest in hexadecimal is 64 bytes of any password.
fn digest(password: &str) -> String {
    hex(&Sha256::digest(password.as_bytes()))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_all_of_it_counts() {
        let passwords = Passwords::new(4).unwrap();
        let long = "x".repeat(100);
        let hash = passwords.hash(&long).await.unwrap();
        assert!(passwords.verify(&long, Some(&hash)).await.unwrap());
        assert!(!passwords.verify(&"x".repeat(99), Some(&hash)).await.unwrap());
        assert!(!passwords.verify("", None).await.unwrap());
    }
}
