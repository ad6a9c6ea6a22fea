//! What a VerticalPodAutoscaler recommends and does (`kubernetes/autoscaler/vertical-pod-autoscaler`), as pure functions of what was
//! measured and the time.
//!
//! `histogram` keeps what was used, the older the lighter; `container` takes the samples of all containers of one name in; `recommend`
//! turns that into amounts; `policy` caps them and says what a pod is to be given; `update` says which pods are worth a change; and
//! `memory` is what to tell somebody whose container needs more memory.

pub mod container;
pub mod histogram;
pub mod memory;
pub mod policy;
pub mod recommend;
pub mod update;

pub use container::{Container, Peaks};
pub use recommend::{Amounts, Estimate};

/// Bytes of a mebibyte.
const MIB: i64 = 1 << 20;
