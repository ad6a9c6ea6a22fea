//! The proxy over real sockets: clients on one side, scripted endpoints on the other, nothing simulated in between.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod backend_filters;
mod backend_tls;
mod balancing;
mod changes;
mod churn;
mod client_certificates;
mod cors;
mod crowd;
mod demand;
mod development;
mod endings;
mod failures;
mod figures;
mod handover;
mod heads;
mod hold;
mod http2;
mod l4;
mod limits;
mod log;
mod manifests;
mod messages;
mod mirroring;
mod passthrough;
mod persistence;
mod pki;
mod retries;
#[path = "../common/snapshot.rs"]
mod snapshot;
mod strictness;
mod support;
mod tls;
mod udp;
