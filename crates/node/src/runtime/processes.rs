//! What trees of processes have used, from `/proc`: the accounts of runs that have no cgroup.
//!
//! A run's processes are what descends from its shim, which inherits whatever they orphan. A process's CPU time is its own and that
//! of the children it has waited for, so the time of those that have ended is in the sum; only children of a process that ignores
//! their ends are lost. The shim itself does not count, but what it has waited for does.

use std::{collections::HashMap, fs, sync::OnceLock, time::Instant};

use nix::unistd::{SysconfVar, sysconf};

use super::usage::{Memory, Usage};

/// One process, as `/proc/<pid>/stat` has it; times in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    parent: i32,
    own: u64,
    /// The time of children that it has waited for, and of theirs.
    children: u64,
    /// When it started.
    start: u64,
    /// In pages.
    resident: u64,
    faults: (u64, u64),
}

impl Process {
    /// Reads the one line of `/proc/<pid>/stat`.
    fn parse(stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(')')?;
        let pid = head.split(' ').next()?.parse().ok()?;
        // The name, in parentheses, may hold anything. Behind it the first field is the state.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        // A sum that cannot be is none; the kernel has these as signed numbers.
        let sum = |a: usize, b: usize| number(a)?.checked_add(number(b)?);
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            own: sum(11, 12)?,
            children: sum(13, 14)?,
            start: number(19)?,
            resident: number(21)?,
            faults: (sum(7, 8)?, sum(9, 10)?),
        })
    }
}

/// Every process that runs now. Those with lower numbers, which parents mostly have, are read first: a child that ends meanwhile is
/// then missed until the next time, and not counted twice.
pub(super) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut pids: Vec<i32> = pids.collect();
    pids.sort_unstable();
    let read = |pid: i32| Process::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    pids.into_iter().filter_map(read).collect()
}

/// For each process the index of the root that it descends from; roots are their own.
fn owners(all: &[Process], roots: &HashMap<i32, usize>) -> Vec<Option<usize>> {
    let parents: HashMap<i32, i32> = all.iter().map(|process| (process.pid, process.parent)).collect();
    let mut known: HashMap<i32, Option<usize>> = roots.iter().map(|(pid, root)| (*pid, Some(*root))).collect();
    let owner = |process: &Process| {
        let (mut path, mut at) = (Vec::new(), process.pid);
        // What was read at different moments may go round in a circle.
        let found = loop {
            match (known.get(&at), parents.get(&at)) {
                (Some(found), _) => break *found,
                (None, Some(parent)) if path.len() <= all.len() => {
                    path.push(at);
                    at = *parent;
                }
                _ => break None,
            }
        };
        known.extend(path.into_iter().map(|pid| (pid, found)));
        found
    };
    all.iter().map(owner).collect()
}

/// What the tree below each root has used by `at`; `None` for a root that is gone. A root is a process's number and when it
/// started: a later process of the same number is not it. `shared` tells how many of a process's resident pages are of files or
/// shared; of those, each run has as many as the process that has most of them.
pub(super) fn usage(
    all: &[Process],
    roots: &[Option<(i32, u64)>],
    shared: impl Fn(i32) -> Option<u64>,
    at: Instant,
) -> Vec<Option<Usage>> {
    let starts: HashMap<i32, u64> = all.iter().map(|process| (process.pid, process.start)).collect();
    let is_there = |(pid, start): &(i32, u64)| starts.get(pid) == Some(start);
    let mut sums: Vec<Option<Sum>> = roots.iter().map(|root| root.filter(is_there).map(|_| Sum::default())).collect();
    let pids = roots.iter().enumerate().filter_map(|(index, root)| Some((root.filter(is_there)?.0, index)));
    let pids: HashMap<i32, usize> = pids.collect();
    for (process, owner) in all.iter().zip(owners(all, &pids)) {
        let Some(sum) = owner.and_then(|owner| sums.get_mut(owner)?.as_mut()) else { continue };
        sum.ticks = sum.ticks.saturating_add(process.children);
        if pids.contains_key(&process.pid) {
            continue;
        }
        sum.ticks = sum.ticks.saturating_add(process.own);
        let shared = shared(process.pid).unwrap_or(0).min(process.resident);
        sum.anonymous = sum.anonymous.saturating_add(process.resident - shared);
        sum.shared = sum.shared.max(shared);
        sum.faults.0 = sum.faults.0.saturating_add(process.faults.0);
        sum.faults.1 = sum.faults.1.saturating_add(process.faults.1);
    }
    let (tick, page) = units();
    let finished = |sum: Sum| {
        let held = sum.anonymous.saturating_add(sum.shared).saturating_mul(page);
        let rss = sum.anonymous.saturating_mul(page);
        let memory = Memory { usage: held, working_set: held, rss, faults: sum.faults };
        Usage { at, cpu_nanos: sum.ticks.saturating_mul(tick), memory }
    };
    sums.into_iter().map(|sum| sum.map(finished)).collect()
}

/// What a tree comes to.
#[derive(Clone, Copy, Default)]
struct Sum {
    ticks: u64,
    anonymous: u64,
    shared: u64,
    faults: (u64, u64),
}

/// How many of a process's resident pages are of files or shared, by `/proc/<pid>/statm`.
pub(super) fn shared(pid: i32) -> Option<u64> {
    fs::read_to_string(format!("/proc/{pid}/statm")).ok()?.split(' ').nth(2)?.parse().ok()
}

/// Nanoseconds of a clock tick, and bytes of a page.
fn units() -> (u64, u64) {
    static UNITS: OnceLock<(u64, u64)> = OnceLock::new();
    *UNITS.get_or_init(|| {
        let ask = |what, usual| {
            let said = sysconf(what).ok().flatten().and_then(|said| u64::try_from(said).ok());
            said.filter(|said| *said > 0).unwrap_or(usual)
        };
        (1_000_000_000 / ask(SysconfVar::CLK_TCK, 100), ask(SysconfVar::PAGE_SIZE, 4096))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, own: u64, children: u64) -> Process {
        Process { pid, parent, own, children, start: 7, resident: 10, faults: (1, 0) }
    }

    #[test]
    fn a_line_of_proc_is_read_whatever_the_programs_name_is() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 300 20 4 1 150 50 1000 200 20 0 3 0 98765 11571200 2500 18446744073709551615 1 1";
        let expected =
            Process { pid: 42, parent: 7, own: 200, children: 1200, start: 98_765, resident: 2500, faults: (320, 5) };
        assert_eq!(Process::parse(line), Some(expected));
        assert_eq!(Process::parse("42 (cut off) S 7 42"), None);
        assert!(Process::parse(&fs::read_to_string("/proc/self/stat").unwrap()).is_some());
    }

    #[test]
    fn a_run_is_what_descends_from_its_shim_and_what_that_has_waited_for() {
        // Two shims (10 and 20); 11 and 12 are of the first, and 10 has waited for what used 5 ticks.
        let all = [
            process(1, 0, 1000, 1000),
            process(10, 1, 500, 5),
            process(11, 10, 30, 2),
            process(12, 11, 1, 0),
            process(20, 1, 500, 0),
            process(30, 1, 9, 9),
        ];
        let roots = [Some((10, 7)), Some((20, 7)), Some((30, 8)), None];
        let at = Instant::now();
        let (tick, page) = units();
        let usage = usage(&all, &roots, |pid| Some(if pid == 11 { 4 } else { 6 }), at);
        assert_eq!(usage[0].unwrap().cpu_nanos, (5 + 30 + 2 + 1) * tick);
        assert_eq!(usage[0].unwrap().memory.rss, (6 + 4) * page);
        assert_eq!(usage[0].unwrap().memory.working_set, (6 + 4 + 6) * page, "what is shared counts once");
        assert_eq!(usage[0].unwrap().memory.faults, (2, 0));
        assert_eq!(usage[1].unwrap().cpu_nanos, 0, "nothing runs below it");
        assert_eq!(usage[2], None, "a later process of the same number");
        assert_eq!(usage[3], None);
    }

    #[test]
    fn what_was_read_at_different_moments_may_go_round_in_a_circle() {
        let all = [process(5, 6, 1, 0), process(6, 5, 1, 0), process(7, 5, 1, 0)];
        let at = Instant::now();
        assert_eq!(usage(&all, &[Some((9, 7))], |_| None, at), [None]);
        assert_eq!(owners(&all, &HashMap::from([(9, 0)])), [None, None, None]);
    }
}
