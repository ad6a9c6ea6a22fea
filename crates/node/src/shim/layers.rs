//! A copy-on-write view of a directory tree, made of overlay mounts: one for the root and, for the machine's own root, one for each
//! disk mounted below it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::stat::{Mode, SFlag, makedev, mknod},
};

use super::{Failure, failure::Step, mountinfo};

/// Places of the machine's root that a container has of its own, empty: what is there belongs to the processes of the machine.
pub(super) const FRESH: [(&str, u32); 2] = [("/tmp", 0o1777), ("/run", 0o755)];
/// Places that are mounted anew in every container.
const SPECIAL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// One overlay mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// The directory on the machine.
    lower: PathBuf,
    /// Where its view is in the container.
    pub at: PathBuf,
    /// Where what is written goes.
    upper: PathBuf,
    work: PathBuf,
}

impl Layer {
    /// A view of `lower` at `at`, which keeps what is written in `store`.
    pub fn new(lower: &Path, at: &Path, store: &Path) -> Self {
        Self { lower: lower.to_owned(), at: at.to_owned(), upper: store.join("upper"), work: store.join("work") }
    }

    /// Mounts it below `root`.
    pub fn mount(&self, root: &Path, flags: MsFlags) -> Result<(), Failure> {
        let at = below(root, &self.at);
        for dir in [&self.upper, &self.work, &at] {
            fs::create_dir_all(dir).step(|| format!("make {}", dir.display()))?;
        }
        same_owner(&self.lower, &self.upper)?;
        let options = [("lowerdir", &self.lower), ("upperdir", &self.upper), ("workdir", &self.work)];
        let options = options.map(|(name, path)| format!("{name}={}", escape(path))).join(",");
        let overlay = |options: &str| mount(Some("overlay"), &at, Some("overlay"), flags, Some(options));
        // What a container writes outside its volumes ends with it, so waiting for the disk would be for nothing. Kernels before
        // 5.10 do not know the option.
        overlay(&format!("{options},volatile"))
            .or_else(|_| overlay(&options))
            .step(|| format!("mount an overlay of {}", self.lower.display()))
    }

    /// Makes `path`, as the container names it, not be there. Before mounting.
    fn hide(&self, path: &Path) -> Result<(), Failure> {
        let Ok(inside) = path.strip_prefix(&self.at) else { return Ok(()) };
        fs::create_dir_all(&self.upper).step(|| format!("make {}", self.upper.display()))?;
        let mut parent = PathBuf::new();
        for part in inside.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            let copy = self.upper.join(&parent);
            if !copy.exists() {
                fs::create_dir(&copy).step(|| format!("make {}", copy.display()))?;
                same_owner(&self.lower.join(&parent), &copy)?;
            }
        }
        let whiteout = self.upper.join(inside);
        mknod(&whiteout, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).step(|| format!("hide {}", path.display()))
    }
}

/// The layers of the machine's own root, without what a container must not see.
pub(super) fn of_machine(mounts: &str, disks: &str, hidden: &Path, store: &Path) -> Result<Vec<Layer>, Failure> {
    let layers = plan(mounts, disks, hidden, store);
    let fresh = FRESH.iter().map(|(path, _)| Path::new(path));
    for path in fresh.clone().chain([hidden]) {
        let inside_another = fresh.clone().any(|other| other != path && path.starts_with(other));
        // The innermost layer that holds it.
        let layer = layers.iter().rev().find(|layer| path.starts_with(&layer.at));
        if let Some(layer) = layer.filter(|_| !inside_another && !path.is_symlink()) {
            layer.hide(path)?;
        }
    }
    Ok(layers)
}

/// One layer for the root and each disk mounted below it, outermost first.
fn plan(mounts: &str, disks: &str, hidden: &Path, store: &Path) -> Vec<Layer> {
    let outside = SPECIAL.iter().chain(FRESH.iter().map(|(path, _)| path)).map(Path::new).chain([hidden]);
    let mut places: Vec<PathBuf> = mountinfo::parse(mounts)
        .into_iter()
        .filter(|mount| mount.at != Path::new("/") && is_disk(&mount.kind, disks))
        .filter(|mount| mount.at.is_absolute() && !outside.clone().any(|path| mount.at.starts_with(path)))
        .map(|mount| mount.at)
        .collect();
    places.sort();
    places.dedup();
    let places = [PathBuf::from("/")].into_iter().chain(places).enumerate();
    places.map(|(number, at)| Layer::new(&at, &at, &store.join(number.to_string()))).collect()
}

/// Whether `/proc/filesystems` lists the type as one on a block device; ZFS keeps its devices to itself.
fn is_disk(kind: &str, disks: &str) -> bool {
    kind == "zfs" || disks.lines().any(|line| !line.starts_with("nodev") && line.trim() == kind)
}

/// `path`, which is absolute in a container, as seen from outside.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Keeps what is mounted here from appearing anywhere else.
pub(super) fn make_private() -> Result<(), Failure> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).step(|| "make the mounts private".to_owned())
}

fn same_owner(of: &Path, to: &Path) -> Result<(), Failure> {
    let what = || format!("copy the owner of {}", of.display());
    let metadata = fs::metadata(of).step(what)?;
    chown(to, Some(metadata.uid()), Some(metadata.gid())).step(what)?;
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode())).step(what)
}

/// An overlay option's text: a colon separates directories, a comma options.
fn escape(path: &Path) -> String {
    let mut out = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, '\\' | ':' | ',') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_below_the_root_get_layers_and_the_rest_does_not() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /home rw - xfs /dev/sdb1 rw\n\
            3 1 0:1 / /proc rw - proc proc rw\n4 1 0:2 / /dev/shm rw - tmpfs tmpfs rw\n\
            5 1 8:3 / /tmp rw - ext4 /dev/sdc1 rw\n6 1 8:4 / /var/lib/coracle rw - ext4 /dev/sdd1 rw\n\
            7 1 8:2 / /home rw - xfs /dev/sdb1 rw\n";
        let disks = "nodev\tproc\nnodev\ttmpfs\n\text4\n\txfs\n";
        let layers = plan(mounts, disks, Path::new("/var/lib/coracle"), Path::new("/s"));
        let places: Vec<_> = layers.iter().map(|layer| layer.at.to_str().unwrap()).collect();
        assert_eq!(places, ["/", "/home"]);
    }

    #[test]
    fn separators_in_paths_are_escaped() {
        assert_eq!(escape(Path::new("/a:b,c\\d")), "/a\\:b\\,c\\\\d");
    }
}
