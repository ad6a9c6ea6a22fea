//! The service over HTTP, in one process with its tests, on an SQLite database of each test's own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod access;
mod auth;
mod menu;
mod orders;
mod schemathesis;
mod settings;
mod support;
