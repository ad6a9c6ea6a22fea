//! Kubernetes' conformance tests about the API, told anew: `docs/conformance-api.md` lists them by name, and `list` checks that
//! the list and the tests agree. They run against an API server and controllers in this process; what kubectl does is in the
//! `kubectl_*` tests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod custom;
mod discovery;
mod events;
mod fields;
mod garbage;
mod lists;
mod namespaces;
mod operations;
mod quotas;
mod replication;
mod watchers;
mod world;

mod list;
