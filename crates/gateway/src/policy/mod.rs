//! What a rule may ask for besides a place to send requests to: sessions, retries, answers to cross-origin requests. Nothing
//! here does I/O; clocks and randomness are parameters.

mod cors;
mod retry;
mod session;

pub use cors::{Cors, OWNED, Origins, Preflight};
pub use retry::{ATTEMPTS, BACKOFF, Budget, Retry, Retrying};
pub use session::{Carrier, Persistence, Session};
