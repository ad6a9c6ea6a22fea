//! A container's root file system: the copy-on-write view, what is mounted on it, and the step into it.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::Path,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::statvfs::{FsFlags, statvfs},
    unistd::{chdir, fchdir, pivot_root},
};

use super::{
    Failure,
    failure::Step,
    layers::{self, FRESH, Layer},
    program,
    record::Confinement,
    special,
};
use crate::runtime::{ContainerSpec, Mount, RootFs};

/// Something of the machine, opened before the machine's root is left.
struct Source {
    file: File,
    is_dir: bool,
}

impl Source {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::options().read(true).custom_flags(libc::O_PATH).open(path);
        let file = file.step(|| format!("open {}", path.display()))?;
        let is_dir = file.metadata().step(|| format!("look at {}", path.display()))?.is_dir();
        Ok(Self { file, is_dir })
    }

    /// Opens what is to be mounted; a directory is made where nothing is, as container runtimes do: a `hostPath` without a type is not
    /// looked at before.
    fn made(path: &Path) -> Result<Self, Failure> {
        if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            fs::create_dir_all(path).step(|| format!("make {}", path.display()))?;
        }
        Self::open(path)
    }

    /// Mounts it at `target`, which is made if it is not there.
    fn bind(&self, target: &Path, flags: MsFlags) -> Result<(), Failure> {
        let made = if self.is_dir { fs::create_dir_all(target) } else { touch(target) };
        made.step(|| format!("make {}", target.display()))?;
        let source = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(source.as_str()), target, None::<&str>, bind, None::<&str>)
            .step(|| format!("mount {}", target.display()))?;
        restrict(target, flags)
    }
}

/// Enters a new mount namespace in which the container's root file system is the root; gives the image's own program, if it has one.
pub(super) fn enter(spec: &ContainerSpec, confinement: &Confinement, dir: &Path) -> Result<Option<File>, Failure> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP).step(|| "make a mount namespace".to_owned())?;
    layers::make_private()?;
    let privileged = spec.security.privileged;
    let nodev = if privileged { MsFlags::empty() } else { MsFlags::MS_NODEV };
    let mut mounts: Vec<&Mount> = spec.mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.target.components().count());
    let sources = mounts.iter().map(|mount| Source::made(&mount.source)).collect::<Result<Vec<_>, _>>()?;
    let devices = special::DEVICES.iter().map(|path| Source::open(Path::new(path))).collect::<Result<Vec<_>, _>>()?;
    let (machine_dev, shm) = (Source::open(Path::new("/dev"))?, Source::open(&confinement.pod.join(super::SHM))?);
    let own = if program::is_meant(spec, &spec.argv) { program::open(spec, dir)? } else { None };
    let program = unseen(spec, &confinement.hidden);
    let root = dir.join("root");
    let layers = mount_layers(spec, confinement, dir, &root, nodev)?;

    let old = File::open("/").step(|| "open the machine's root".to_owned())?;
    chdir(&root).step(|| format!("enter {}", root.display()))?;
    // With the same directory twice, the old root lies on top of the new one until it is taken away below.
    pivot_root(".", ".").step(|| "change the root".to_owned())?;
    special::proc_and_sys(privileged)?;
    if privileged {
        machine_dev.bind(Path::new("/dev"), MsFlags::empty())?;
    } else {
        special::dev()?;
        for (device, path) in devices.iter().zip(special::DEVICES) {
            device.bind(Path::new(path), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC)?;
        }
    }
    shm.bind(Path::new("/dev/shm"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC)?;
    special::cgroups(&confinement.cgroups, privileged);
    own_files(spec, confinement)?;
    if let (Some(source), Some(path)) = (program, spec.argv.first().map(Path::new))
        && !path.exists()
    {
        source.bind(path, nodev | MsFlags::MS_RDONLY)?;
    }
    for (mount, source) in mounts.iter().zip(&sources) {
        let read_only = if mount.read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        source.bind(&mount.target, nodev | read_only)?;
    }
    // As container runtimes do; a read-only volume may refuse, and then starting the program says so.
    let _ = fs::create_dir_all(&spec.workdir);
    if !privileged {
        special::mask()?;
    }
    fchdir(&old).step(|| "return to the machine's root".to_owned())?;
    umount2(".", MntFlags::MNT_DETACH).step(|| "leave the machine's root".to_owned())?;
    chdir("/").step(|| "enter the new root".to_owned())?;
    if spec.security.read_only_root {
        for layer in &layers {
            restrict(&layer.at, MsFlags::MS_RDONLY)?;
        }
    }
    Ok(own)
}

/// A program of the machine that may not be in the view, because it is in a place that containers have of their own.
fn unseen(spec: &ContainerSpec, hidden: &Path) -> Option<Source> {
    let path = Path::new(spec.argv.first()?);
    let fresh = FRESH.iter().any(|(place, _)| path.starts_with(place));
    let real = path.canonicalize().ok()?;
    if spec.rootfs != RootFs::Host || !fresh || real.starts_with(hidden) || !real.is_file() {
        return None;
    }
    Source::open(&real).ok()
}

fn mount_layers(
    spec: &ContainerSpec,
    confinement: &Confinement,
    dir: &Path,
    root: &Path,
    flags: MsFlags,
) -> Result<Vec<Layer>, Failure> {
    let store = dir.join("layers");
    let layers = match &spec.rootfs {
        RootFs::Directory(lower) => vec![Layer::new(lower, Path::new("/"), &store.join("0"))],
        RootFs::Host => {
            let read = |path: &str| fs::read_to_string(path).step(|| format!("read {path}"));
            let (mounts, disks) = (read("/proc/self/mountinfo")?, read("/proc/filesystems")?);
            layers::of_machine(&mounts, &disks, &confinement.hidden, &store)?
        }
    };
    let mut mounted = Vec::new();
    for layer in layers {
        match layer.mount(root, flags) {
            Ok(()) => mounted.push(layer),
            // Some file systems, such as a boot partition's FAT, cannot be below an overlay; the place stays empty.
            Err(_) if !mounted.is_empty() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(mounted)
}

/// Empty directories and files that the container has of its own.
fn own_files(spec: &ContainerSpec, confinement: &Confinement) -> Result<(), Failure> {
    if spec.rootfs == RootFs::Host {
        for (path, mode) in FRESH.map(|(path, mode)| (Path::new(path), mode)) {
            let made = fs::create_dir_all(path);
            let set = made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
            set.step(|| format!("make {}", path.display()))?;
        }
    }
    for (path, text) in &confinement.files {
        // A link, such as that of a resolver's daemon, is replaced: what it names is not there.
        let _ = fs::remove_file(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
        made.step(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Adds restrictions to a mount; what it has already stays.
pub(super) fn restrict(at: &Path, flags: MsFlags) -> Result<(), Failure> {
    let has = statvfs(at).step(|| format!("look at the mount {}", at.display()))?.flags();
    let same = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    let kept = same.into_iter().filter(|(flag, _)| has.contains(*flag)).fold(flags, |all, (_, flag)| all | flag);
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | kept;
    mount(None::<&str>, at, None::<&str>, remount, None::<&str>).step(|| format!("restrict {}", at.display()))
}

/// Makes an empty file, with the directories above it, unless there is something.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create(path).map(drop)
}
