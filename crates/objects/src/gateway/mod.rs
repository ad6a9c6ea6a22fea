//! Gateway API (`gateway.networking.k8s.io`): GatewayClass, Gateway and HTTPRoute (v1), ReferenceGrant (v1beta1).
//!
//! Unions keep upstream's JSON: a `type` beside optional members. Enumerations are strings, so that an object with a value
//! from a newer release can still be read, and whoever acts on it can say what it does not support.

mod class;
mod duration;
mod gateways;
mod grant;
mod refs;
mod routes;
#[cfg(test)]
mod tests;

pub use class::*;
pub use duration::*;
pub use gateways::*;
pub use grant::*;
pub use refs::*;
pub use routes::*;

/// The API group of every kind here.
pub const GROUP: &str = "gateway.networking.k8s.io";
