//! What every container has mounted beside its files: `/proc`, `/sys`, a small `/dev`, its own cgroups, and covers over what of the
//! kernel it must not see or change.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use nix::mount::{MsFlags, mount};

use super::{Failure, failure::Step, rootfs::restrict};

/// The machine's devices that every container has.
pub(super) const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
/// Covered, as container runtimes do: they tell about the machine or let it be disturbed.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Made read-only: settings of the whole machine.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn quiet() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

/// Mounts a file system that needs no device.
fn virtual_fs(kind: &str, at: &str, flags: MsFlags, options: Option<&str>) -> Result<(), Failure> {
    fs::create_dir_all(at).step(|| format!("make {at}"))?;
    mount(Some(kind), at, Some(kind), flags, options).step(|| format!("mount {at}"))
}

/// `/proc` of the container's own PID namespace and `/sys` of its network namespace.
pub(super) fn proc_and_sys(privileged: bool) -> Result<(), Failure> {
    virtual_fs("proc", "/proc", quiet(), None)?;
    let read_only = if privileged { MsFlags::empty() } else { MsFlags::MS_RDONLY };
    virtual_fs("sysfs", "/sys", quiet() | read_only, None)
}

/// A `/dev` with nothing but terminals and links; the devices are bound into it one by one, because devices that a container makes
/// have no effect on any of its mounts.
pub(super) fn dev() -> Result<(), Failure> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    virtual_fs("tmpfs", "/dev", flags, Some("mode=755,size=65536k"))?;
    let terminals = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    virtual_fs("devpts", "/dev/pts", terminals, Some("newinstance,ptmxmode=0666,mode=0620,gid=5"))?;
    // Kernels may be built without POSIX message queues.
    let _ = virtual_fs("mqueue", "/dev/mqueue", quiet(), None);
    let links = [
        ("pts/ptmx", "/dev/ptmx"),
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ];
    for (to, at) in links {
        symlink(to, at).step(|| format!("make {at}"))?;
    }
    Ok(())
}

/// The container's own cgroups, where language runtimes look for their limits. Without them those runtimes size themselves by the
/// machine, so failure is not worth more than that.
pub(super) fn cgroups(groups: &[PathBuf], privileged: bool) {
    let flags = quiet() | if privileged { MsFlags::empty() } else { MsFlags::MS_RDONLY };
    let top = "/sys/fs/cgroup";
    // A group's directory is <mount>/<group>/<name>: the mount's last part names the controllers in version 1.
    let mounts = groups.iter().filter_map(|group| group.parent()?.parent()).collect::<Vec<_>>();
    if let [only] = mounts.as_slice()
        && *only == Path::new(top)
    {
        let _ = virtual_fs("cgroup2", top, flags, None);
        return;
    }
    if virtual_fs("tmpfs", top, quiet(), Some("mode=755,size=64k")).is_err() {
        return;
    }
    for name in mounts.iter().filter_map(|mount| mount.file_name()?.to_str()) {
        let at = format!("{top}/{name}");
        let _ = match name {
            "systemd" => Ok(()),
            "unified" => virtual_fs("cgroup2", &at, flags, None),
            controllers => virtual_fs("cgroup", &at, flags, Some(controllers)),
        };
    }
    let _ = restrict(Path::new(top), MsFlags::MS_RDONLY);
}

/// Covers what a container must not see and makes read-only what it must not change.
pub(super) fn mask() -> Result<(), Failure> {
    for path in MASKED.map(Path::new).into_iter().filter(|path| path.exists()) {
        let covered = if path.is_dir() {
            mount(Some("tmpfs"), path, Some("tmpfs"), quiet() | MsFlags::MS_RDONLY, Some("size=0"))
        } else {
            mount(Some("/dev/null"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        };
        covered.step(|| format!("cover {}", path.display()))?;
    }
    for path in READ_ONLY.map(Path::new).into_iter().filter(|path| path.exists()) {
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(path), path, None::<&str>, bind, None::<&str>).step(|| format!("cover {}", path.display()))?;
        restrict(path, MsFlags::MS_RDONLY)?;
    }
    Ok(())
}
