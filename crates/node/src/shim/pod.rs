//! What the containers of one pod share: network, IPC and UTS namespaces, each kept by a bind mount in the pod's directory so that
//! it outlives every process, and shared memory.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::sethostname,
};

use super::{Failure, IPC, NET, SHM, UTS, failure::Step, layers, record};
use crate::runtime::{SandboxSpec, native::SANDBOX_SPEC};

/// Shared memory of a pod, as container runtimes size it.
const SHM_OPTIONS: &str = "mode=1777,size=64m";

/// Makes the namespaces of the pod whose files are in `dir`.
pub(super) fn make(dir: &Path) -> Result<(), Failure> {
    let spec: SandboxSpec = record::read(dir, SANDBOX_SPEC)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let mut kinds = CloneFlags::CLONE_NEWIPC;
    let mut names = vec![IPC];
    if !spec.host_network {
        kinds |= CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
        names.extend([NET, UTS]);
    }
    unshare(kinds).step(|| "make the pod's namespaces".to_owned())?;
    if !spec.host_network {
        sethostname(&spec.hostname).step(|| "set the pod's host name".to_owned())?;
        // As container runtimes have it, so that any user may serve port 80 and ping. Older kernels lack the settings.
        let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
        let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    }
    for name in names {
        let file = dir.join(name);
        File::create(&file).step(|| format!("make {}", file.display()))?;
        let namespace = format!("/proc/self/ns/{name}");
        mount(Some(namespace.as_str()), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .step(|| format!("keep the pod's {name} namespace"))?;
    }
    let shm = dir.join(SHM);
    fs::create_dir_all(&shm).step(|| format!("make {}", shm.display()))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("shm"), &shm, Some("tmpfs"), flags, Some(SHM_OPTIONS)).step(|| "make the pod's shared memory".to_owned())
}

/// Tries everything that the machine might not allow; what it makes goes away with this process.
pub(super) fn check(dir: &Path) -> Result<(), Failure> {
    let kinds = [
        ("mount", CloneFlags::CLONE_NEWNS),
        ("network", CloneFlags::CLONE_NEWNET),
        ("IPC", CloneFlags::CLONE_NEWIPC),
        ("UTS", CloneFlags::CLONE_NEWUTS),
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
        ("PID", CloneFlags::CLONE_NEWPID),
    ];
    for (name, kind) in kinds {
        unshare(kind).step(|| format!("make a {name} namespace"))?;
    }
    layers::make_private()?;
    layers::Layer::new(Path::new("/"), Path::new("/"), &dir.join("0")).mount(&dir.join("root"), MsFlags::empty())
}
