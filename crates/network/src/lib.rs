//! Addresses, cluster DNS, pod wiring.
//!
//! Two ways to give pods addresses stand side by side, as the node's two runtimes do: [`bridge`] wires network namespaces to
//! a Linux bridge, [`loopback`] hands out addresses of the machine's own 127.0.0.0/8. Both share the allocator in
//! [`addresses`] and the machine-wide reservation in [`claim`]. [`dns`] answers for services in the first case.

pub mod addresses;
pub mod bridge;
pub mod claim;
pub mod dns;
mod firewall;
mod guard;
mod listening;
pub mod loopback;
mod netlink;

/// Why the network could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The text is not `a.b.c.d/n` with the host bits zero.
    #[error("{0:?} is not an IPv4 range such as 10.42.0.0/16")]
    NotARange(String),
    /// Every address of the range is taken.
    #[error("all {0} addresses of {1} are in use")]
    Exhausted(u32, addresses::Range),
    /// The address is not free.
    #[error("address {0} is already held by pod {1}")]
    Taken(std::net::Ipv4Addr, String),
    /// Another process on this machine uses the range.
    #[error("the address range {0} is in use by another Coracle on this machine")]
    Claimed(String),
    /// The kernel refused.
    #[error("{operation}: {reason}")]
    Kernel {
        /// What was being done, and to what.
        operation: String,
        /// What the kernel said.
        reason: String,
    },
}

impl NetworkError {
    pub(crate) fn kernel(operation: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Kernel { operation: operation.into(), reason: reason.to_string() }
    }
}
