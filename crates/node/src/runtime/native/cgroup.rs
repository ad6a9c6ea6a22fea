//! Resource limits and accounts: one cgroup for each container, side by side in one group of this Coracle's own, so that weights compare all
//! containers of the machine with each other. Versions 1 and 2, and both at once.

mod adjust;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    super::{Limits, usage::Usage},
    account::Account,
};
use crate::shim::mountinfo::{self, Mounted};

/// The period of CPU bandwidth, 100 ms, in microseconds.
const PERIOD: u64 = 100_000;
/// The group of the shims, which have no limits.
const SHIMS: &str = "shims";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    mount: PathBuf,
    /// Those of [`LIMITS`] and [`ACCOUNT`] that it has.
    controllers: Vec<&'static str>,
}

/// What limits go through.
const LIMITS: [&str; 3] = ["cpu", "memory", "pids"];
/// What counts CPU time in version 1; in version 2 every group does.
const ACCOUNT: &str = "cpuacct";

/// The machine's hierarchies. Version 1 puts each controller into one of its own, beside which systemd's counts too: it decides
/// which unit a process belongs to. What version 2 has is in a file, read by the caller.
fn hierarchies(mounts: &[Mounted], version_2_has: &dyn Fn(&Path) -> String) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for mount in mounts {
        let has = |text: &[String]| {
            let known = LIMITS.into_iter().chain([ACCOUNT]);
            known.filter(|c| text.iter().any(|o| o == c)).collect::<Vec<_>>()
        };
        let (version, controllers) = match mount.kind.as_str() {
            "cgroup" => (Version::One, has(&mount.options)),
            "cgroup2" => {
                let list = version_2_has(&mount.at);
                (Version::Two, has(&list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()))
            }
            _ => continue,
        };
        let wanted = !controllers.is_empty()
            || version == Version::Two
            || mount.options.iter().any(|option| option == "name=systemd");
        // A second mount of the same controllers, such as a container's, shows the same groups.
        let known = |h: &Hierarchy| h.version == version && (version == Version::Two || h.controllers == controllers);
        if wanted && !found.iter().any(known) {
            found.push(Hierarchy { version, mount: mount.at.clone(), controllers });
        }
    }
    found
}

/// What to write where for these limits.
fn settings(version: Version, controllers: &[&str], limits: &Limits) -> Vec<(&'static str, String)> {
    let has = |name| controllers.contains(&name);
    // The kubelet's rule; the kernel's least is 2.
    let shares = (limits.cpu_request_millis.saturating_mul(1024) / 1000).clamp(2, 262_144);
    let quota = limits.cpu_millis.map(|millis| (millis.saturating_mul(PERIOD) / 1000).max(1000));
    // The container's first process counts too.
    let pids = limits.pids.map(|n| n.saturating_add(1).to_string());
    let memory = limits.memory_bytes.map(|n| n.to_string());
    let mut all = Vec::new();
    if has("cpu") {
        match version {
            Version::One => {
                all.push(("cpu.shares", shares.to_string()));
                all.extend(quota.map(|_| ("cpu.cfs_period_us", PERIOD.to_string())));
                all.extend(quota.map(|quota| ("cpu.cfs_quota_us", quota.to_string())));
            }
            Version::Two => {
                // The kernel's range of shares, 2 to 262144, mapped to that of weights, 1 to 10000.
                all.push(("cpu.weight", (1 + (shares - 2) * 9999 / 262_142).to_string()));
                all.extend(quota.map(|quota| ("cpu.max", format!("{quota} {PERIOD}"))));
            }
        }
    }
    if let Some(memory) = memory.filter(|_| has("memory")) {
        match version {
            Version::One => {
                all.push(("memory.limit_in_bytes", memory.clone()));
                all.push(("memory.memsw.limit_in_bytes", memory));
            }
            Version::Two => {
                all.push(("memory.max", memory));
                all.push(("memory.swap.max", "0".to_owned()));
                // A container that is half killed helps nobody.
                all.push(("memory.oom.group", "1".to_owned()));
            }
        }
    }
    all.extend(pids.filter(|_| has("pids")).map(|pids| ("pids.max", pids)));
    all
}

/// Settings that a kernel may lack, with no effect on what is promised.
const OPTIONAL: [&str; 3] = ["memory.memsw.limit_in_bytes", "memory.swap.max", "memory.oom.group"];

/// This Coracle's cgroups.
pub(super) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    group: String,
    /// The containers' accounts that were read last.
    accounts: Mutex<HashMap<String, Account>>,
}

/// Accounts that are kept open, of three files each.
const ACCOUNTS: usize = 512;

impl Cgroups {
    /// Finds the machine's hierarchies; `group` names this Coracle's own group in each.
    ///
    /// # Errors
    /// When the mounts cannot be read.
    pub fn open(group: String) -> io::Result<Self> {
        let mounts = mountinfo::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        let has = |at: &Path| fs::read_to_string(at.join("cgroup.controllers")).unwrap_or_default();
        Ok(Self { hierarchies: hierarchies(&mounts, &has), group, accounts: Mutex::default() })
    }

    /// The limits that cannot be set here.
    pub fn missing(&self) -> Vec<&'static str> {
        let here = |name: &&str| self.hierarchies.iter().any(|h| h.controllers.contains(name) && self.root(h).is_ok());
        LIMITS.into_iter().filter(|name| !here(name)).collect()
    }

    /// Makes the group in one hierarchy, unless it is there and gives the groups below all that the hierarchy has.
    ///
    /// # Errors
    /// When it cannot be made, or its controllers cannot be had: those of version 2 only go below a group in which nothing runs, which a
    /// container's own root of the hierarchy is not. Nothing is left of it then: containers have no limits from it, and are started
    /// all the same.
    fn root(&self, hierarchy: &Hierarchy) -> io::Result<PathBuf> {
        let root = hierarchy.mount.join(&self.group);
        if root.exists() && (hierarchy.version == Version::One || gives(&root, &hierarchy.controllers)) {
            return Ok(root);
        }
        make(&root)?;
        if hierarchy.version == Version::Two {
            let enabled = [&hierarchy.mount, &root].into_iter().try_for_each(|dir| enable(dir, &hierarchy.controllers));
            if let Err(error) = enabled {
                // The kernel refuses while anything is in it.
                let _ = fs::remove_dir(&root);
                return Err(error);
            }
        }
        Ok(root)
    }

    /// Makes the cgroups of a container; gives their directories.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub fn create(&self, name: &str, limits: &Limits) -> io::Result<Vec<PathBuf>> {
        let mut dirs = Vec::new();
        for hierarchy in &self.hierarchies {
            let Ok(root) = self.root(hierarchy) else { continue };
            let dir = root.join(name);
            make(&dir)?;
            for (file, value) in settings(hierarchy.version, &hierarchy.controllers, limits) {
                adjust::write(&dir, file, &value)?;
            }
            dirs.push(dir);
        }
        Ok(dirs)
    }

    /// The cgroups of the shims.
    ///
    /// # Errors
    /// As [`Cgroups::create`].
    pub fn shims(&self) -> io::Result<Vec<PathBuf>> {
        let make_in = |hierarchy: &Hierarchy| {
            let dir = self.root(hierarchy).ok()?.join(SHIMS);
            Some(make(&dir).map(|()| dir))
        };
        self.hierarchies.iter().filter_map(make_in).collect()
    }

    /// What containers have used, in their order; `None` for those that are not there, or where this machine does not count both
    /// CPU time and memory.
    pub fn usage<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<Option<Usage>> {
        let mut before = std::mem::take(&mut *self.accounts());
        // What is asked for no more is let go.
        let mut kept = HashMap::new();
        let read = |name: &str| {
            let mut account = before.remove(name).or_else(|| self.account(name))?;
            let at = Instant::now();
            let (cpu_nanos, memory) = account.read()?;
            if kept.len() < ACCOUNTS {
                kept.insert(name.to_owned(), account);
            }
            Some(Usage { at, cpu_nanos, memory })
        };
        let all = names.map(read).collect();
        *self.accounts() = kept;
        all
    }

    fn account(&self, name: &str) -> Option<Account> {
        let dir = |h: &Hierarchy| (h.version, h.mount.join(&self.group).join(name));
        let with = |controller: &str| self.hierarchies.iter().find(|h| h.controllers.contains(&controller)).map(dir);
        let unified = || self.hierarchies.iter().find(|h| h.version == Version::Two).map(dir);
        let (version, memory) = with("memory")?;
        let memory = (version, memory.as_path());
        let open = |(version, cpu): (Version, PathBuf)| Account::open((version, &cpu), memory).ok();
        // A container that was started before its CPU time was counted by version 1 is in version 2 where that is mounted too.
        with(ACCOUNT).and_then(open).or_else(|| unified().and_then(open))
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a container's cgroups, if they are there and empty.
    pub fn remove(&self, name: &str) {
        self.accounts().remove(name);
        for hierarchy in &self.hierarchies {
            // A process that is still ending keeps it for a moment: the next start or removal takes it away.
            let _ = fs::remove_dir(hierarchy.mount.join(&self.group).join(name));
        }
    }

    /// Removes all cgroups in which nothing runs, and in the end the group itself; says whether that is gone everywhere.
    pub fn sweep(&self) -> bool {
        let mut gone = true;
        for hierarchy in &self.hierarchies {
            let root = hierarchy.mount.join(&self.group);
            for entry in fs::read_dir(&root).into_iter().flatten().filter_map(Result::ok) {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let _ = fs::remove_dir(entry.path());
                }
            }
            // The kernel refuses while anything is in it.
            let _ = fs::remove_dir(&root);
            gone &= !root.exists();
        }
        gone
    }
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(e.kind(), format!("make the cgroup {}: {e}", dir.display())))
        }
        _ => Ok(()),
    }
}

/// Whether the groups below have these controllers.
fn gives(dir: &Path, controllers: &[&str]) -> bool {
    let given = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
    controllers.iter().all(|name| given.split_whitespace().any(|one| one == *name))
}

/// Lets the groups below have these controllers.
fn enable(dir: &Path, controllers: &[&str]) -> io::Result<()> {
    for name in controllers {
        fs::write(dir.join("cgroup.subtree_control"), format!("+{name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            memory_bytes: Some(1 << 20),
            cpu_millis: Some(250),
            cpu_request_millis: 100,
            pids: Some(9),
            oom_score_adj: 0,
        }
    }

    #[test]
    fn limits_become_the_files_of_either_version() {
        let of =
            |version| settings(version, &LIMITS, &limits()).iter().map(|(f, v)| format!("{f}={v}")).collect::<Vec<_>>();
        let one = [
            "cpu.shares=102",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=25000",
            "memory.limit_in_bytes=1048576",
            "memory.memsw.limit_in_bytes=1048576",
            "pids.max=10",
        ];
        assert_eq!(of(Version::One), one);
        let two = [
            "cpu.weight=4",
            "cpu.max=25000 100000",
            "memory.max=1048576",
            "memory.swap.max=0",
            "memory.oom.group=1",
            "pids.max=10",
        ];
        assert_eq!(of(Version::Two), two);
        let none = settings(Version::One, &LIMITS, &Limits::default());
        assert_eq!(none, [("cpu.shares", "2".to_owned())]);
        assert!(settings(Version::Two, &[], &limits()).is_empty());
    }

    #[test]
    fn controllers_that_cannot_be_had_are_missing_and_hinder_no_container() {
        let mount = tempfile::tempdir().unwrap();
        // What the kernel refuses: it is no file that can be written.
        let refused = mount.path().join("cgroup.subtree_control");
        fs::create_dir(&refused).unwrap();
        let hierarchy = Hierarchy { version: Version::Two, mount: mount.path().into(), controllers: LIMITS.into() };
        let cgroups = Cgroups { hierarchies: vec![hierarchy], group: "coracle".to_owned(), accounts: Mutex::default() };
        assert_eq!(cgroups.missing(), LIMITS);
        assert_eq!(cgroups.create("c", &limits()).unwrap(), [""; 0].map(PathBuf::from));
        // One that was left without them is not taken for one that has them.
        fs::create_dir(mount.path().join("coracle")).unwrap();
        assert_eq!(cgroups.missing(), LIMITS);
        fs::remove_dir(&refused).unwrap();
        assert!(cgroups.missing().is_empty());
        assert_eq!(cgroups.create("c", &limits()).unwrap(), [mount.path().join("coracle/c")]);
    }

    #[test]
    fn hierarchies_of_both_versions_are_found_once_each() {
        let mounts = mountinfo::parse(
            "1 0 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpuacct,cpu\n\
             2 0 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             3 0 0:2 / /elsewhere rw - cgroup cgroup rw,memory\n\
             4 0 0:3 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n\
             5 0 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
             6 0 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        let found = hierarchies(&mounts, &|_| "cpuset pids".to_owned());
        let text: Vec<_> = found.iter().map(|h| (h.mount.to_str().unwrap(), h.controllers.join(","))).collect();
        let expected = [
            ("/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"),
            ("/sys/fs/cgroup/memory", "memory"),
            ("/sys/fs/cgroup/systemd", ""),
            ("/sys/fs/cgroup/unified", "pids"),
        ];
        assert_eq!(text, expected.map(|(mount, list)| (mount, list.to_owned())));
    }
}
