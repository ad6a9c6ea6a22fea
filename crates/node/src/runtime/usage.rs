//! What a run of a container has used of the machine.

use std::time::Instant;

/// What one run has used until now, and holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// When this was read.
    pub at: Instant,
    /// CPU time since it began, in nanoseconds, of all its processes, those that have ended included.
    pub cpu_nanos: u64,
    /// Its memory.
    pub memory: Memory,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that is held, the cache of files included.
    pub usage: u64,
    /// What cannot be given back without being missed: `usage` without files' pages that nobody has touched for a while. It is
    /// what the kubelet calls the working set, and what limits and evictions are measured by.
    pub working_set: u64,
    /// Anonymous memory: what no file could give back.
    pub rss: u64,
    /// Page faults since it began, and those that had to wait for the disk.
    pub faults: (u64, u64),
}
