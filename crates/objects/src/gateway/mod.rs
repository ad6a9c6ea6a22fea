//! Gateway API (`gateway.networking.k8s.io`): GatewayClass, Gateway, ListenerSet, BackendTLSPolicy and the five kinds of route
//! (v1), ReferenceGrant (v1beta1). Older versions of them are views of the same objects.
//!
//! Unions keep upstream's JSON: a `type` beside optional members. Enumerations are strings, so that an object with a value
//! from a newer release can still be read, and whoever acts on it can say what it does not support.

mod backend_tls;
mod class;
mod duration;
mod gateways;
mod grant;
mod grpc_routes;
mod layer4_routes;
mod listener_sets;
mod refs;
mod routes;
#[cfg(test)]
mod tests;

pub use backend_tls::*;
pub use class::*;
pub use duration::*;
pub use gateways::*;
pub use grant::*;
pub use grpc_routes::*;
pub use layer4_routes::*;
pub use listener_sets::*;
pub use refs::*;
pub use routes::*;

/// The API group of every kind here.
pub const GROUP: &str = "gateway.networking.k8s.io";
