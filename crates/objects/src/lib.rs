//! The object vocabulary: Kubernetes and Gateway API types, quantities, selectors, patches, schemas, the support table. Does no I/O.

pub mod admission;
pub mod cause;
pub mod custom;
pub mod events;
pub mod fields;
pub mod gateway;
pub mod intstr;
pub mod jsonpath;
pub mod kinds;
pub mod names;
pub mod patch;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod session;
pub mod support;
pub mod vertical;
pub mod wire;
