//! What the machine has left, and when to look before it is time: the kernel says when programs wait for memory.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use nix::sys::statvfs::statvfs;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    plan::{Reading, Readings},
    settings::Signal,
};
use crate::figures::machine;

/// The kernel's file about waiting for memory.
const PRESSURE: &str = "/proc/pressure/memory";
/// To be told when somebody waited for memory for 150 ms within 2 s. Windows of whole twos are allowed to everybody.
const TRIGGER: &str = "some 150000 2000000";
/// The most directory entries that are counted for one pod.
const MOST_ENTRIES: usize = 1_000_000;

/// Reads the machine's memory, and the disk with this directory.
pub(super) fn read(data_dir: &Path) -> Readings {
    let mut readings = Readings::new();
    let (memory, held) = machine::held();
    let used = held.working_set;
    // Without /proc/meminfo nothing is known.
    if memory > 0 && used > 0 {
        readings.insert(Signal::Memory, Reading { available: memory.saturating_sub(used), capacity: memory });
    }
    if let Ok(disk) = statvfs(data_dir) {
        let (size, inodes) = (disk.fragment_size(), disk.files());
        let bytes = |blocks| size.saturating_mul(blocks);
        let reading = Reading { available: bytes(disk.blocks_available()), capacity: bytes(disk.blocks()) };
        // What containers write is on the same disk.
        readings.extend([(Signal::Disk, reading), (Signal::ImageDisk, reading)]);
        // Some file systems make them as they are needed.
        if inodes > 0 {
            let reading = Reading { available: disk.files_available(), capacity: inodes };
            readings.extend([(Signal::Inodes, reading), (Signal::ImageInodes, reading)]);
        }
    }
    readings.extend(processes().map(|reading| (Signal::Processes, reading)));
    readings
}

/// How many processes and threads there may be, and how many of these there are not yet (the kubelet's sum).
fn processes() -> Option<Reading> {
    let number = |file: &str| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let numbers = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"].map(number);
    let capacity = numbers.into_iter().flatten().min()?;
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    // The fourth field: how many run, of how many.
    let there: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(Reading { available: capacity.saturating_sub(there), capacity })
}

/// What is told by the kernel when memory runs short; `None` where it does not do that.
pub(super) struct Alarm(AsyncFd<File>);

impl Alarm {
    /// Asks to be told.
    pub fn set() -> Option<Self> {
        let set = || -> io::Result<AsyncFd<File>> {
            let mut file = File::options().read(true).write(true).open(PRESSURE)?;
            // The kernel takes text that ends with a zero.
            file.write_all(format!("{TRIGGER}\0").as_bytes())?;
            // SAFETY: a file keeps its one descriptor open for as long as it lives, and the wrapper owns the file.
            Ok(unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }?)
        };
        let told = |error: &io::Error| tracing::debug!("{PRESSURE}: {error}: memory is only looked at now and then");
        set().inspect_err(told).ok().map(Self)
    }

    /// Resolves when memory runs short, every other second at most.
    pub async fn rings(&self) {
        match self.0.ready(Interest::PRIORITY).await {
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => {
                tracing::debug!("{PRESSURE}: {error}");
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Bytes and entries below a directory, on its own disk.
pub(super) fn disk_usage(root: &Path) -> (u64, u64) {
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    let Ok(device) = fs::symlink_metadata(root).map(|meta| meta.dev()) else { return (0, 0) };
    let mut left = vec![root.to_owned()];
    let mut most = MOST_ENTRIES;
    while let Some(path) = left.pop() {
        // What goes while it is counted counts for nothing.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.dev() != device || most == 0 {
            continue;
        }
        most -= 1;
        bytes = bytes.saturating_add(meta.blocks().saturating_mul(512));
        entries += 1;
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    (bytes, entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_a_disk_and_room_for_processes() {
        let dir = tempfile::tempdir().unwrap();
        let readings = read(dir.path());
        for signal in [Signal::Memory, Signal::Disk, Signal::ImageDisk, Signal::Processes] {
            let Reading { available, capacity } = readings[&signal];
            assert!(available > 0 && available < capacity, "{signal:?}: {available} of {capacity}");
        }
    }

    #[test]
    fn what_files_take_up_is_counted_with_their_directories() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), vec![7; 100_000]).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("c")).unwrap();
        let (bytes, entries) = disk_usage(dir.path());
        assert_eq!(entries, 4);
        assert!((100_000..1_000_000).contains(&bytes), "{bytes}");
        assert_eq!(disk_usage(&dir.path().join("nothing")), (0, 0));
    }
}
