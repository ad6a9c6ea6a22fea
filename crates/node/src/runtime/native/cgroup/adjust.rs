//! Other limits for a container that runs. Containers lie side by side, so there is no group of the whole pod whose limits would have
//! to be raised before theirs and lowered after.

use std::{fs, io, path::Path};

use super::{
    super::{super::Limits, account},
    Cgroups, OPTIONAL, Version, settings,
};

/// The file of the memory limit.
fn limit_file(version: Version) -> &'static str {
    match version {
        Version::One => "memory.limit_in_bytes",
        Version::Two => "memory.max",
    }
}

/// The files in the order in which the kernel takes them. In version 1 memory with swap is never less than memory: it is raised first
/// and lowered last.
fn ordered(mut files: Vec<(&'static str, String)>, raises: bool) -> Vec<(&'static str, String)> {
    let at = |name: &str| files.iter().position(|(file, _)| *file == name);
    if let (true, Some(memory), Some(swap)) = (raises, at("memory.limit_in_bytes"), at("memory.memsw.limit_in_bytes")) {
        files.swap(memory, swap);
    }
    files
}

impl Cgroups {
    /// Gives a container other limits. What is not limited any more stays as it was: a resize never takes a limit away.
    ///
    /// # Errors
    /// Names the file that could not be written. A memory limit below what is in use is refused before anything is written: the
    /// kernel would end the container for it.
    pub fn adjust(&self, name: &str, limits: &Limits) -> io::Result<()> {
        let groups = || self.hierarchies.iter().map(|h| (h, h.mount.join(&self.group).join(name)));
        let mut raises = true;
        for (hierarchy, dir) in groups().filter(|(h, _)| h.controllers.contains(&"memory")) {
            let Some(bytes) = limits.memory_bytes else { continue };
            raises = now(&dir, limit_file(hierarchy.version)).is_some_and(|limit| limit <= bytes);
            if !raises {
                squeeze(hierarchy.version, &dir, bytes)?;
            }
        }
        for (hierarchy, dir) in groups().filter(|(_, dir)| dir.exists()) {
            let files = settings(hierarchy.version, &hierarchy.controllers, limits);
            for (file, value) in ordered(files, raises) {
                write(&dir, file, &value)?;
            }
            if hierarchy.version == Version::Two && !raises {
                // It only helped to make room; a kernel that has no such file made none.
                let _ = fs::write(dir.join(HIGH), "max");
            }
        }
        Ok(())
    }
}

/// What version 2 takes memory back at, without ending anybody.
const HIGH: &str = "memory.high";

/// Makes sure that no more than this is in use.
fn squeeze(version: Version, dir: &Path, bytes: u64) -> io::Result<()> {
    let [usage, stat] = account::memory_files(version);
    let read = |file: &str| fs::read_to_string(dir.join(file));
    let held = account::memory(version, &read(usage)?, &read(stat)?);
    let refused = |held: u64| {
        Err(io::Error::other(format!("the memory limit of {bytes} bytes is below the {held} bytes that are in use")))
    };
    if let Some(held) = held.map(|memory| memory.working_set).filter(|held| *held > bytes) {
        return refused(held);
    }
    if version == Version::Two && fs::write(dir.join(HIGH), bytes.to_string()).is_ok() {
        // The kernel has taken back what it could by now.
        if let Some(held) = now(dir, usage).filter(|held| *held > bytes) {
            let _ = fs::write(dir.join(HIGH), "max");
            return refused(held);
        }
    }
    Ok(())
}

/// The number in a file; `None` for none, or no limit.
fn now(dir: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

/// Writes one setting, unless the kernel may lack it.
pub(super) fn write(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = dir.join(file);
    match fs::write(&path, value) {
        Err(e) if !OPTIONAL.contains(&file) => {
            Err(io::Error::new(e.kind(), format!("write {value} to {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Mutex};

    use super::{super::Hierarchy, *};

    fn limits(memory: u64) -> Limits {
        Limits { memory_bytes: Some(memory), cpu_millis: Some(500), cpu_request_millis: 250, ..Limits::default() }
    }

    /// A group of plain files, which say what a kernel's would.
    fn group(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroups) {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir_all(mount.path().join("coracle/c")).unwrap();
        for (file, text) in files {
            fs::write(mount.path().join("coracle/c").join(file), text).unwrap();
        }
        let hierarchy = Hierarchy { version, mount: mount.path().to_owned(), controllers: vec!["cpu", "memory"] };
        let accounts = Mutex::new(HashMap::new());
        (mount, Cgroups { hierarchies: vec![hierarchy], group: "coracle".to_owned(), accounts })
    }

    #[test]
    fn limits_are_written_in_either_version() {
        for (version, limit, cpu, quota) in [
            (Version::One, "memory.limit_in_bytes", "cpu.cfs_quota_us", "50000"),
            (Version::Two, "memory.max", "cpu.max", "50000 100000"),
        ] {
            let (dir, cgroups) = group(version, &[(limit, "1000")]);
            cgroups.adjust("c", &limits(2000)).unwrap();
            let read = |file| fs::read_to_string(dir.path().join("coracle/c").join(file)).unwrap();
            assert_eq!((read(limit), read(cpu)), ("2000".to_owned(), quota.to_owned()));
        }
    }

    #[test]
    fn a_limit_below_what_is_in_use_is_refused_and_nothing_is_written() {
        let one = [("memory.limit_in_bytes", "9000"), ("memory.usage_in_bytes", "5000"), ("memory.stat", STAT)];
        let two = [("memory.max", "9000"), ("memory.current", "5000"), ("memory.stat", STAT)];
        for (version, files) in [(Version::One, one), (Version::Two, two)] {
            let (dir, cgroups) = group(version, &files);
            let refused = cgroups.adjust("c", &limits(3000)).unwrap_err().to_string();
            assert_eq!(refused, "the memory limit of 3000 bytes is below the 4000 bytes that are in use");
            let limit = fs::read_to_string(dir.path().join("coracle/c").join(limit_file(version))).unwrap();
            assert_eq!(limit, "9000");
            assert!(!dir.path().join("coracle/c/cpu.max").exists());
        }
    }

    const STAT: &str = "anon 4000\ninactive_file 1000\ntotal_rss 4000\ntotal_inactive_file 1000\n";

    #[test]
    fn memory_with_swap_is_raised_first_and_lowered_last() {
        let of = |raises| {
            let files = ordered(settings(Version::One, &["memory"], &limits(1)), raises);
            files.into_iter().map(|(file, _)| file).collect::<Vec<_>>()
        };
        let down = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
        assert_eq!(of(false), down);
        assert_eq!(of(true), [down[1], down[0]]);
    }
}
