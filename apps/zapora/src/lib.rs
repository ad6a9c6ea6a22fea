//! The zapora reference service: a restaurant takes orders.
//!
//! - [`http`] answers: accounts and sessions ([`auth`]), the menu and its pictures ([`images`], [`cache`]), orders, staff, admins.
//! - [`engine`] decides: prices, taxes, discounts, opening hours, the life of an order. It is pure: no I/O, no clock.
//! - [`store`] keeps: one set of queries for PostgreSQL (with a replica to read from) and SQLite.
//! - [`queue`] and [`jobs`] do later what an order needs done: payment, kitchen ticket, e-mail, the report of the day.
//! - [`settings`] reads the environment, and [`serve`] puts it all together.

pub mod audit;
pub mod auth;
pub mod cache;
pub mod engine;
pub mod http;
pub mod images;
pub mod jobs;
pub mod queue;
pub mod seed;
pub mod serve;
pub mod settings;
pub mod store;

/// The whole program, until SIGTERM or SIGINT.
///
/// # Errors
/// What in the environment is wrong, or why it cannot listen.
pub fn run() -> std::io::Result<()> {
    service::run("zapora", async |env, _| serve::service(env).await)
}

/// Bytes in lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
