//! Who a container's programs are: user, groups, capabilities and privileges, from its security context and the accounts in its
//! root file system.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::{Gid, Uid, setgroups, setresgid, setresuid, setsid},
};

use super::{Failure, console, failure::Step, program::Program, run::environment, seccomp::Filter};
use crate::runtime::{ContainerSpec, Security};

/// The kernel's names, each at the place of its number.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// What a container may have unless its security context says otherwise, as container runtimes agree.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
const ALL: &str = "ALL";
/// The most of an account file that is read, in bytes.
const ACCOUNTS: u64 = 1 << 20;

/// The numbers of the capabilities that a container keeps.
///
/// # Errors
/// Names a capability that the kernel does not have.
fn kept(security: &Security) -> Result<BTreeSet<usize>, Failure> {
    let every = 0..CAPABILITIES.len();
    if security.privileged {
        return Ok(every.collect());
    }
    let number = |name: &String| {
        let found = CAPABILITIES.iter().position(|known| known.eq_ignore_ascii_case(name));
        found.ok_or(io::Error::from(io::ErrorKind::InvalidInput)).step(|| format!("find the capability {name:?}"))
    };
    let numbers = |list: &[String]| list.iter().filter(|name| *name != ALL).map(number).collect::<Result<Vec<_>, _>>();
    let says_all = |list: &[String]| list.iter().any(|name| name == ALL);
    let mut kept: BTreeSet<usize> = if says_all(&security.drop_capabilities) {
        BTreeSet::new()
    } else if says_all(&security.add_capabilities) {
        every.collect()
    } else {
        every.filter(|number| CAPABILITIES.get(*number).is_some_and(|name| DEFAULT.contains(name))).collect()
    };
    kept.extend(numbers(&security.add_capabilities)?);
    for number in numbers(&security.drop_capabilities)? {
        kept.remove(&number);
    }
    Ok(kept)
}

/// A user with its groups and home directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    home: String,
}

/// Who the program is: `runAsGroup`, else the user's own group in the root file system's `/etc/passwd`, else root's; and the
/// groups that its `/etc/group` names the user in, beside those of the pod (`supplementalGroupsPolicy: Merge`).
fn identity(security: &Security, passwd: &str, group: &str) -> Identity {
    let uid = security.uid.unwrap_or(0);
    // name:password:uid:gid:comment:home:shell
    let account = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|text| text.parse().ok()) == Some(uid));
    let field = |number: usize| account.as_ref().and_then(|fields| fields.get(number)).copied().unwrap_or_default();
    let name = field(0);
    let gid = security.gid.or_else(|| field(3).parse().ok()).unwrap_or(0);
    let mut groups = security.groups.clone();
    // name:password:gid:member,member…
    for line in group.lines().filter(|_| !name.is_empty()) {
        let fields: Vec<&str> = line.split(':').collect();
        if let [_, _, id, members] = fields.as_slice()
            && members.split(',').any(|member| member == name)
            && let Ok(id) = id.parse()
        {
            groups.push(id);
        }
    }
    groups.sort_unstable();
    groups.dedup();
    let home = if field(5).is_empty() { "/" } else { field(5) };
    Identity { uid, gid, groups, home: home.to_owned() }
}

/// What a program of a container does before it begins, besides becoming its user.
#[derive(Default)]
pub(super) struct Latecomer {
    /// The files of the container's cgroups that it joins by.
    pub groups: Vec<File>,
    /// Whether it ends when the process that starts it does.
    pub tied: bool,
    /// Whether its standard input is a terminal, which becomes its session's.
    pub terminal: bool,
    /// What it is executed from if its path does not lead to it.
    pub program: Option<File>,
}

/// A command that runs `argv` as the container's user, with its environment, from its working directory. The caller must be in the
/// container already, as root, and have one thread.
pub(super) fn command(spec: &ContainerSpec, argv: &[String], mut late: Latecomer) -> Result<Command, Failure> {
    let identity = identity(&spec.security, &accounts("/etc/passwd"), &accounts("/etc/group"));
    let kept = kept(&spec.security)?;
    let mut command = Command::new(argv.first().map_or("", String::as_str));
    let mut environment = environment(spec, late.terminal);
    environment.entry("HOME").or_insert(&identity.home);
    command.args(argv.iter().skip(1)).env_clear().envs(&environment).current_dir(usable(&spec.workdir));
    let program = late.program.take().map(|file| Program::new(file, argv, &environment)).transpose()?;
    let no_new_privileges = spec.security.no_new_privileges;
    let has = |name: &str| kept.iter().any(|number| CAPABILITIES.get(*number) == Some(&name));
    let filter = (spec.security.seccomp && !spec.security.privileged).then(|| Filter::new(has));
    let oom_score_adj = spec.limits.oom_score_adj.to_string();
    let prepare = move || {
        // The container's first process blocks all signals for itself.
        SigSet::empty().thread_set_mask()?;
        for group in &mut late.groups {
            group.write_all(b"0")?;
        }
        setsid()?;
        if late.terminal {
            console::take()?;
        }
        // It matters only when the machine has no memory left.
        let _ = fs::write("/proc/self/oom_score_adj", &oom_score_adj);
        become_user(&identity, &kept, filter.as_ref(), no_new_privileges)?;
        // A change of the user would take this back.
        if late.tied {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
        }
        program.as_ref().map_or(Ok(()), Program::execute)
    };
    // SAFETY: the caller has one thread, so between fork and exec the child may do whatever the parent could.
    unsafe { command.pre_exec(prepare) };
    Ok(command)
}

/// The text of an account file. It comes with the image: it may not be there, be anything but a file, or have no end.
fn accounts(path: &str) -> String {
    let mut text = Vec::new();
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    if let Some(file) = file.ok().filter(|file| file.metadata().is_ok_and(|what| what.is_file())) {
        // Accounts that cannot be read are as good as none.
        let _ = file.take(ACCOUNTS).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn usable(workdir: &Path) -> &Path {
    if workdir.as_os_str().is_empty() { Path::new("/") } else { workdir }
}

/// Gives up what the container must not have. The user comes last of what needs privileges.
fn become_user(
    identity: &Identity,
    kept: &BTreeSet<usize>,
    filter: Option<&Filter>,
    no_new_privileges: bool,
) -> io::Result<()> {
    for number in (0..CAPABILITIES.len()).filter(|number| !kept.contains(number)) {
        // SAFETY: PR_CAPBSET_DROP takes one number and touches no memory.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        // An older kernel does not know the newest capabilities; it cannot give them either.
        if dropped != 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
            return Err(io::Error::last_os_error());
        }
    }
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    filter.map_or(Ok(()), Filter::enforce)?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    if no_new_privileges {
        prctl::set_no_new_privs()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_account_file_makes_it_panic(passwd in "[a-z0-9:,\n]{0,200}", group in "[a-z0-9:,\n]{0,200}", uid: u32) {
            let identity = identity(&Security { uid: Some(uid), ..Security::default() }, &passwd, &group);
            prop_assert_eq!(identity.uid, uid);
        }
    }

    #[test]
    fn an_account_file_that_is_no_file_is_none() {
        assert!(!accounts("/etc/passwd").is_empty() || !Path::new("/etc/passwd").exists());
        assert_eq!(accounts("/dev/zero") + &accounts("/etc") + &accounts("/no/such/file"), "");
    }

    fn names(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security = Security { add_capabilities: list(add), drop_capabilities: list(drop), ..Security::default() };
        kept(&security).unwrap().into_iter().map(|number| CAPABILITIES[number]).collect()
    }

    #[test]
    fn capabilities_begin_with_the_default_set_and_all_means_all() {
        assert_eq!(names(&[], &[]).len(), DEFAULT.len());
        assert_eq!(names(&["NET_BIND_SERVICE"], &["ALL"]), ["NET_BIND_SERVICE"]);
        assert!(names(&["ALL"], &["SYS_ADMIN"]).len() == CAPABILITIES.len() - 1);
        assert!(!names(&[], &["NET_RAW"]).contains(&"NET_RAW"));
        let unknown = Security { add_capabilities: vec!["FLY".to_owned()], ..Security::default() };
        assert!(kept(&unknown).unwrap_err().to_string().contains("FLY"));
    }

    #[test]
    fn groups_come_from_the_account_files_and_the_pod() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/usr/sbin/nologin\n";
        let group = "web:x:34:\nlogs:x:40:adm,web\nother:x:41:adm\n";
        let of = |security: &Security| identity(security, passwd, group);
        let web = of(&Security { uid: Some(33), groups: vec![2000], ..Security::default() });
        assert_eq!((web.gid, web.groups, web.home.as_str()), (34, vec![40, 2000], "/var/www"));
        let unknown = of(&Security { uid: Some(1234), gid: Some(5), ..Security::default() });
        assert_eq!((unknown.uid, unknown.gid, unknown.home.as_str()), (1234, 5, "/"));
    }
}
