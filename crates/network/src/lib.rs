//! Addresses, cluster DNS, pod wiring.
