//! Gateway API control plane (objects to routing table and statuses) and the L7 proxy.

pub mod balance;
pub mod control;
pub mod demand;
pub mod observe;
pub mod policy;
pub mod proxy;
pub mod table;
