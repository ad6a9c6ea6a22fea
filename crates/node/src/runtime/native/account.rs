//! What a cgroup has used: the files of both versions, read and understood. Everything here takes texts or a directory, and knows
//! nothing of containers.
//!
//! Version 1 has CPU time in `cpuacct.usage` (nanoseconds) and memory in `memory.usage_in_bytes` and `memory.stat`, whose `total_`
//! lines include the groups below. Version 2 has CPU time in `cpu.stat` (`usage_usec`), which is there with no controller at all,
//! and memory in `memory.current` and `memory.stat`.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use super::cgroup::Version;
use crate::runtime::usage::Memory;

/// The value of a line `name value`.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// CPU time in nanoseconds, from its file.
pub(super) fn cpu_nanos(version: Version, text: &str) -> Option<u64> {
    match version {
        Version::One => text.trim().parse().ok(),
        Version::Two => value(text, "usage_usec")?.checked_mul(1000),
    }
}

/// Memory, from its two files.
pub(super) fn memory(version: Version, usage: &str, stat: &str) -> Option<Memory> {
    let prefix = match version {
        Version::One => "total_",
        Version::Two => "",
    };
    let anonymous = match version {
        Version::One => "rss",
        Version::Two => "anon",
    };
    let of = |name: &str| value(stat, &format!("{prefix}{name}"));
    let usage: u64 = usage.trim().parse().ok()?;
    Some(Memory {
        usage,
        // The kernel counts in batches for each CPU: the parts may be more than the whole for a moment.
        working_set: usage.saturating_sub(of("inactive_file")?),
        rss: of(anonymous)?,
        faults: (of("pgfault").unwrap_or(0), of("pgmajfault").unwrap_or(0)),
    })
}

/// The file that has the CPU time.
fn cpu_file(version: Version) -> &'static str {
    match version {
        Version::One => "cpuacct.usage",
        Version::Two => "cpu.stat",
    }
}

/// The files that have memory: what is held, and what it consists of.
pub(super) fn memory_files(version: Version) -> [&'static str; 2] {
    match version {
        Version::One => ["memory.usage_in_bytes", "memory.stat"],
        Version::Two => ["memory.current", "memory.stat"],
    }
}

/// The files of one group, kept open: reading them again costs a quarter of opening and reading them. A group that is removed
/// meanwhile has nothing to read any more.
pub(super) struct Account {
    cpu: (Version, File),
    memory: (Version, [File; 2]),
    last: Option<(u64, Memory)>,
}

impl Account {
    /// Opens the files of a group, which has a directory in the hierarchy of each controller.
    ///
    /// # Errors
    /// When the group or what counts it is not there.
    pub fn open(cpu: (Version, &Path), memory: (Version, &Path)) -> io::Result<Self> {
        let [usage, stat] = memory_files(memory.0).map(|name| File::open(memory.1.join(name)));
        let cpu = (cpu.0, File::open(cpu.1.join(cpu_file(cpu.0)))?);
        Ok(Self { cpu, memory: (memory.0, [usage?, stat?]), last: None })
    }

    /// CPU time and memory now; `None` if the group is gone. What memory consists of costs the kernel most: it is read again only
    /// if something ran, or the sum has changed.
    pub fn read(&mut self) -> Option<(u64, Memory)> {
        let cpu = cpu_nanos(self.cpu.0, &text(&self.cpu.1).ok()?)?;
        let (version, [usage, stat]) = &self.memory;
        let usage = text(usage).ok()?;
        let same = |last: &(u64, Memory)| last.0 == cpu && usage.trim().parse() == Ok(last.1.usage);
        let memory = match self.last.filter(same) {
            Some((_, memory)) => memory,
            None => memory(*version, &usage, &text(stat).ok()?)?,
        };
        self.last = Some((cpu, memory));
        self.last
    }
}

/// More than the kernel says in any such file.
const LARGEST: usize = 16 * 1024;

/// The text of a file of the kernel, which it makes anew for whoever reads from the beginning, whole in one answer.
fn text(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; LARGEST];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    String::from_utf8(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! golden {
        ($file:literal) => {
            include_str!(concat!("golden/", $file))
        };
    }

    #[test]
    fn version_1_is_read() {
        assert_eq!(cpu_nanos(Version::One, golden!("v1/cpuacct.usage")), Some(27_894_442));
        let read = memory(Version::One, golden!("v1/memory.usage_in_bytes"), golden!("v1/memory.stat"));
        let expected = Memory { usage: 3_887_104, working_set: 3_887_104 - 3_002_368, rss: 253_952, faults: (485, 0) };
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn version_2_is_read() {
        assert_eq!(cpu_nanos(Version::Two, golden!("v2/cpu.stat")), Some(29_338_000));
        let read = memory(Version::Two, golden!("v2/memory.current"), golden!("v2/memory.stat"));
        let expected = Memory { usage: 4_096_000, working_set: 4_096_000 - 2_990_080, rss: 258_048, faults: (490, 2) };
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn what_is_not_there_or_no_number_is_no_figure() {
        assert_eq!(cpu_nanos(Version::One, ""), None);
        assert_eq!(cpu_nanos(Version::Two, "user_usec 1\n"), None);
        assert_eq!(cpu_nanos(Version::Two, &format!("usage_usec {}\n", u64::MAX)), None);
        assert_eq!(memory(Version::Two, "max", "anon 1\ninactive_file 1\n"), None);
        assert_eq!(memory(Version::Two, "1", "anon 1\n"), None);
        let more = memory(Version::Two, "5\n", "anon 1\ninactive_file 9\n").unwrap();
        assert_eq!(more.working_set, 0, "a file's pages that are counted already");
    }

    #[test]
    fn an_account_is_read_again_from_open_files_and_ends_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let there = || Account::open((Version::Two, dir.path()), (Version::Two, dir.path()));
        assert!(there().is_err(), "no files");
        write("cpu.stat", "usage_usec 5\n");
        write("memory.current", "100\n");
        write("memory.stat", "anon 1\ninactive_file 40\n");
        let mut account = there().unwrap();
        assert_eq!(account.read().map(|(cpu, memory)| (cpu, memory.working_set)), Some((5000, 60)));
        write("memory.stat", "anon 1\ninactive_file 50\n");
        assert_eq!(account.read().unwrap().1.working_set, 60, "nothing ran, nothing changed");
        write("cpu.stat", "usage_usec 6\n");
        assert_eq!(account.read().unwrap().1.working_set, 50);
        write("cpu.stat", "");
        assert_eq!(account.read(), None);
    }
}
