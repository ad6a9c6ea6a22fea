//! The tests of Gateway API's conformance suite, as far as they are passed: each has the name of the upstream test whose behaviour
//! it exercises, with manifests and requests of its own. Objects go through `compile`, requests through the running proxy, over real
//! sockets. `docs/conformance-gateway.md` lists every upstream test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod ask;
mod backend_tls;
mod filters;
mod frontends;
mod gateways;
mod grpc;
mod h2c;
mod layer4;
mod list;
mod listener_sets;
mod matching;
mod mesh;
mod mirrors;
#[path = "../proxy/pki.rs"]
#[allow(dead_code, reason = "shared with the tests of the proxy")]
mod pki;
mod policies;
mod references;
#[path = "../common/snapshot.rs"]
mod snapshot;
#[path = "../proxy/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the proxy")]
mod support;
mod timeouts;
mod tls;
mod world;
