//! What the whole machine uses: `/proc/stat` and `/proc/meminfo`, read as the kubelet's figures of the root cgroup are made.

use std::{fs, time::Instant};

use jiff::Timestamp;
use nix::unistd::{SysconfVar, sysconf};

use crate::runtime::usage::{Memory, Usage};

/// The file that says what the kernel does with memory.
const MEMORY: &str = "/proc/meminfo";

/// The machine's figures; zero for what the kernel does not say.
pub fn usage() -> Usage {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let at = Instant::now();
    let hertz = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|hertz| u64::try_from(hertz).ok()).unwrap_or(100);
    let cpu_nanos = busy_ticks(&read("/proc/stat")).saturating_mul(1_000_000_000 / hertz.max(1));
    Usage { at, cpu_nanos, memory: memory(&read(MEMORY)).1 }
}

/// All memory that there is, in bytes, and what of it is in use; zero for what the kernel does not say.
pub fn held() -> (u64, Memory) {
    memory(&fs::read_to_string(MEMORY).unwrap_or_default())
}

/// When the machine was started.
pub fn started() -> Option<Timestamp> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
    Timestamp::from_second(seconds).ok()
}

/// Time in which a CPU did something, of all of them: neither idle, nor waiting for a disk, nor taken by another machine.
fn busy_ticks(stat: &str) -> u64 {
    // cpu  user nice system idle iowait irq softirq steal guest guest_nice; guests are users too.
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let fields: Vec<u64> =
        line.into_iter().flat_map(str::split_ascii_whitespace).map_while(|n| n.parse().ok()).collect();
    [0, 1, 2, 5, 6].iter().filter_map(|at| fields.get(*at)).fold(0, |sum, ticks| sum.saturating_add(*ticks))
}

fn memory(meminfo: &str) -> (u64, Memory) {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            .saturating_mul(1024)
    };
    let total = bytes("MemTotal");
    let usage = total.saturating_sub(bytes("MemFree"));
    let memory = Memory {
        usage,
        working_set: usage.saturating_sub(bytes("Inactive(file)")),
        rss: bytes("AnonPages"),
        faults: (0, 0),
    };
    (total, memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_used_is_neither_idle_nor_stolen() {
        let stat = "cpu  10 20 30 4000 500 6 7 8000 1 1\ncpu0 1 1 1 1 1 1 1 1 1 1\nbtime 1700000000\n";
        assert_eq!(busy_ticks(stat), 10 + 20 + 30 + 6 + 7);
        assert_eq!(busy_ticks("cpu  10 20 30"), 60);
        assert_eq!(busy_ticks(""), 0);
    }

    #[test]
    fn the_working_set_is_what_is_used_without_files_that_nobody_has_touched() {
        let text = "MemTotal:        1000 kB\nMemFree:          300 kB\nInactive(anon):   50 kB\nInactive(file):   100 kB\nAnonPages:  200 kB\n";
        let expected = Memory { usage: 700 << 10, working_set: 600 << 10, rss: 200 << 10, faults: (0, 0) };
        assert_eq!(memory(text), (1000 << 10, expected));
        assert_eq!(memory(""), (0, Memory::default()));
    }

    #[test]
    fn this_machine_has_figures() {
        let usage = usage();
        assert!(usage.cpu_nanos > 0 && usage.memory.working_set > 0);
        assert!(started().unwrap() < Timestamp::now());
    }
}
