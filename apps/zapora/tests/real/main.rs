//! The service on what it stands on: SQLite always, PostgreSQL and Redis where they are installed (Debian's `postgresql` and
//! `redis-server`), a store that speaks S3 and a mail server where Python has them. Each test starts servers of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod http;
mod jobs;
mod kill;
mod mail;
mod orders;
mod payments;
#[allow(dead_code, reason = "what other tests use of it")]
#[path = "../http/support.rs"]
mod people;
mod pictures;
mod python;
mod queue;
mod replica;
mod service;
mod support;
