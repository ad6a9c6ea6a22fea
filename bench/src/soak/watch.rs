//! What the kernel says of the process under load.

use std::{fs, time::Duration};

use anyhow::Context;

use crate::machine;

/// At one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Proportional set size, KiB.
    pub pss: u64,
    /// Resident set size, KiB.
    pub rss: u64,
    pub threads: u64,
    /// Open file descriptors.
    pub files: u64,
    /// CPU time so far.
    pub cpu: Duration,
}

impl Figures {
    /// Of a process.
    ///
    /// # Errors
    /// It has ended.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("coracle has ended")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Ok(Self {
            pss: machine::pss(pid)?,
            rss: field("VmRSS:"),
            threads: field("Threads:"),
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            cpu: machine::cpu(&[pid])?,
        })
    }

    /// The middle of each over several moments; CPU is the last one's.
    pub fn median(all: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> u64| {
            let mut values: Vec<_> = all.iter().map(of).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0)
        };
        Self {
            pss: middle(|figures| figures.pss),
            rss: middle(|figures| figures.rss),
            threads: middle(|figures| figures.threads),
            files: middle(|figures| figures.files),
            cpu: all.last().map_or(Duration::ZERO, |figures| figures.cpu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_that_is_out_of_line_does_not_move_the_median() {
        let at = |pss| Figures { pss, ..Figures::default() };
        assert_eq!(Figures::median(&[at(10), at(500), at(11)]).pss, 11);
    }
}
