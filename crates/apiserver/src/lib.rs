//! The Kubernetes API: store, watch, patch, authentication, tables, discovery.

pub mod store;
