//! What trees of processes have used, from `/proc`: the accounts of runs that have no cgroup.
//!
//! A run's processes are what descends from its shim, which inherits whatever they orphan. A process's CPU time is its own and that
//! of the children it has waited for, so the time of those that have ended is in the sum; only children of a process that ignores
//! their ends are lost. The shim itself does not count, but what it has waited for does.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::OnceLock,
    time::Instant,
};

use nix::unistd::{SysconfVar, sysconf};

use super::{
    ContainerId,
    runs::Runs,
    usage::{Memory, Usage},
};

/// One process, as `/proc/<pid>/stat` has it; times in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    parent: i32,
    /// It only waits to be reaped.
    ended: bool,
    own: u64,
    /// The time of children that it has waited for, and of theirs.
    children: u64,
    /// When it started.
    start: u64,
    /// In pages.
    resident: u64,
    faults: (u64, u64),
    threads: u64,
}

/// More than there is in any line of `/proc/<pid>/stat`.
const LINE: usize = 4096;

impl Process {
    /// Reads the process of an open `/proc/<pid>/stat`; `None` if it is gone.
    fn read(stat: &File) -> Option<Self> {
        let mut bytes = [0; LINE];
        let read = stat.read_at(&mut bytes, 0).ok()?;
        Self::parse(&String::from_utf8_lossy(bytes.get(..read)?))
    }

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
            ended: matches!(*fields.first()?, "Z" | "X"),
            own: sum(11, 12)?,
            children: sum(13, 14)?,
            start: number(19)?,
            resident: number(21)?,
            faults: (sum(7, 8)?, sum(9, 10)?),
            threads: number(17)?,
        })
    }
}

/// Processes whose files are kept open.
const KEPT: usize = 4096;

/// The processes of the machine, as they are looked at again and again. Their files are kept open: reading one again costs less than
/// half of opening and reading it, and what is open is one process's for good, whoever has its number later.
#[derive(Default)]
pub(super) struct Processes {
    open: HashMap<i32, Open>,
}

struct Open {
    stat: File,
    /// How many pages were resident, and how many of those were of files or shared, when that was read last.
    pages: Option<(u64, u64)>,
}

impl Processes {
    /// Every process that runs now. Those with lower numbers, which parents mostly have, are read first: a child that ends
    /// meanwhile is then missed until the next time, and not counted twice.
    pub fn all(&mut self) -> Vec<Process> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut pids: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        let mut before = std::mem::take(&mut self.open);
        let read = |pid: i32| {
            let again = before.remove(&pid).and_then(|open| Some((Process::read(&open.stat)?, open)));
            let (process, open) = again.or_else(|| {
                let stat = File::open(format!("/proc/{pid}/stat")).ok()?;
                Some((Process::read(&stat)?, Open { stat, pages: None }))
            })?;
            if self.open.len() < KEPT {
                self.open.insert(pid, open);
            }
            Some(process)
        };
        pids.into_iter().filter_map(read).collect()
    }

    /// How many of a process's resident pages are of files or shared, by `/proc/<pid>/statm`; read again when there are more or
    /// fewer resident ones.
    pub fn shared(&mut self, process: &Process) -> Option<u64> {
        let known = self.open.get_mut(&process.pid);
        if let Some((resident, shared)) = known.as_ref().and_then(|open| open.pages)
            && resident == process.resident
        {
            return Some(shared);
        }
        let text = fs::read_to_string(format!("/proc/{}/statm", process.pid)).ok()?;
        let shared = text.split(' ').nth(2)?.parse().ok()?;
        if let Some(open) = known {
            open.pages = Some((process.resident, shared));
        }
        Some(shared)
    }
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
    mut shared: impl FnMut(&Process) -> Option<u64>,
    at: Instant,
) -> Vec<Option<Usage>> {
    let running = all.iter().filter(|process| !process.ended);
    let starts: HashMap<i32, u64> = running.map(|process| (process.pid, process.start)).collect();
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
        let shared = shared(process).unwrap_or(0).min(process.resident);
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

/// How many processes and threads descend from the shims of these runs, the shims themselves included.
pub(super) fn count(runs: &Runs, ids: &[ContainerId]) -> Vec<u64> {
    let all = Processes::default().all();
    let shims: Vec<Option<i32>> = ids.iter().map(|id| Some(runs.started(id).ok()?.shim.pid)).collect();
    let roots = shims.iter().enumerate().filter_map(|(index, pid)| Some(((*pid)?, index))).collect();
    let mut counts = vec![0_u64; ids.len()];
    for (process, owner) in all.iter().zip(owners(&all, &roots)) {
        if let Some(count) = owner.and_then(|owner| counts.get_mut(owner)) {
            *count = count.saturating_add(process.threads);
        }
    }
    counts
}

/// What a tree comes to.
#[derive(Clone, Copy, Default)]
struct Sum {
    ticks: u64,
    anonymous: u64,
    shared: u64,
    faults: (u64, u64),
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
        Process { pid, parent, ended: false, own, children, start: 7, resident: 10, faults: (1, 0), threads: 1 }
    }

    #[test]
    fn a_line_of_proc_is_read_whatever_the_programs_name_is() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 300 20 4 1 150 50 1000 200 20 0 3 0 98765 11571200 2500 18446744073709551615 1 1";
        let expected = Process {
            pid: 42,
            parent: 7,
            ended: false,
            own: 200,
            children: 1200,
            start: 98_765,
            resident: 2500,
            faults: (320, 5),
            threads: 3,
        };
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
        let usage = usage(&all, &roots, |process| Some(if process.pid == 11 { 4 } else { 6 }), at);
        assert_eq!(usage[0].unwrap().cpu_nanos, (5 + 30 + 2 + 1) * tick);
        assert_eq!(usage[0].unwrap().memory.rss, (6 + 4) * page);
        assert_eq!(usage[0].unwrap().memory.working_set, (6 + 4 + 6) * page, "what is shared counts once");
        assert_eq!(usage[0].unwrap().memory.faults, (2, 0));
        assert_eq!(usage[1].unwrap().cpu_nanos, 0, "nothing runs below it");
        assert_eq!(usage[2], None, "a later process of the same number");
        assert_eq!(usage[3], None);
        let ended = [Process { ended: true, ..process(10, 1, 500, 5) }];
        assert_eq!(super::usage(&ended, &roots[..1], |_| None, at), [None], "it waits to be reaped");
    }

    #[test]
    fn what_was_read_at_different_moments_may_go_round_in_a_circle() {
        let all = [process(5, 6, 1, 0), process(6, 5, 1, 0), process(7, 5, 1, 0)];
        let at = Instant::now();
        assert_eq!(usage(&all, &[Some((9, 7))], |_| None, at), [None]);
        assert_eq!(owners(&all, &HashMap::from([(9, 0)])), [None, None, None]);
    }

    #[test]
    fn processes_that_are_looked_at_again_are_those_that_run_then() {
        let mut processes = Processes::default();
        let own = i32::try_from(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let find = |all: &[Process], pid| all.iter().find(|process| process.pid == pid).copied();
        let all = processes.all();
        assert_eq!(find(&all, pid).unwrap().parent, own);
        assert!(processes.shared(&find(&all, own).unwrap()).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        let all = processes.all();
        assert!(find(&all, pid).is_none() && find(&all, own).is_some());
        assert!(!processes.open.contains_key(&pid));
    }
}
