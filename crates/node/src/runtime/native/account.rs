//! What a cgroup has used: the files of both versions, read and understood. Everything here takes texts or a directory, and knows
//! nothing of containers.
//!
//! Version 1 has CPU time in `cpuacct.usage` (nanoseconds) and memory in `memory.usage_in_bytes` and `memory.stat`, whose `total_`
//! lines include the groups below. Version 2 has CPU time in `cpu.stat` (`usage_usec`), which is there with no controller at all,
//! and memory in `memory.current` and `memory.stat`.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::cgroup::Version;
use crate::runtime::usage::Memory;

/// The value of a line `name value`.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// CPU time in nanoseconds, from the file that [`cpu_file`] names.
pub(super) fn cpu_nanos(version: Version, text: &str) -> Option<u64> {
    match version {
        Version::One => text.trim().parse().ok(),
        Version::Two => value(text, "usage_usec")?.checked_mul(1000),
    }
}

/// Memory, from the files that [`memory_files`] names.
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
fn memory_files(version: Version) -> [&'static str; 2] {
    match version {
        Version::One => ["memory.usage_in_bytes", "memory.stat"],
        Version::Two => ["memory.current", "memory.stat"],
    }
}

/// The CPU time of a group; `None` if the group or what counts it is not there.
pub(super) fn read_cpu(version: Version, group: &Path) -> Option<u64> {
    cpu_nanos(version, &read(&group.join(cpu_file(version))).ok()?)
}

/// The memory of a group; `None` if the group or what counts it is not there.
pub(super) fn read_memory(version: Version, group: &Path) -> Option<Memory> {
    let [usage, stat] = memory_files(version);
    memory(version, &read(&group.join(usage)).ok()?, &read(&group.join(stat)).ok()?)
}

/// The kernel says at most a page of such a file at once, and no such file is longer than two.
const USUAL: usize = 8192;

/// A whole file. Its size is not asked for: the kernel does not know it before it has written the text.
fn read(path: &Path) -> io::Result<String> {
    let mut text = Vec::with_capacity(USUAL);
    File::open(path)?.read_to_end(&mut text)?;
    String::from_utf8(text).map_err(io::Error::other)
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
        assert_eq!(read_cpu(Version::Two, Path::new("/nonexistent")), None);
        let more = memory(Version::Two, "5\n", "anon 1\ninactive_file 9\n").unwrap();
        assert_eq!(more.working_set, 0, "a file's pages that are counted already");
    }
}
