//! `seccompProfile: RuntimeDefault`: system calls that ordinary programs do not make, refused as container runtimes refuse them
//! unless the container has the capability that they are for.
//!
//! The filter refuses what is listed, where container runtimes allow what is listed; calls newer than the list do not exist.

use std::io;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, ENOSYS, EPERM, SECCOMP_MODE_FILTER,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, sock_filter, sock_fprog,
};

/// The kernel's numbers for the two architectures, as its audit system has them.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
/// The newest call known here (`mseal`).
const NEWEST: u32 = 462;
/// Where the kernel puts the call's number, its architecture and its first argument.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST: u32 = 16;
/// Every flag of `clone` that makes a namespace.
const NAMESPACES: u32 = 0x7E02_0000;

/// Calls, and the capabilities each of which allows them.
const REFUSED: &[(&[&str], &[libc::c_long])] = &[
    (
        &["SYS_ADMIN"],
        &[
            libc::SYS_fanotify_init,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fsopen,
            libc::SYS_fspick,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_quotactl,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_umount2,
            libc::SYS_unshare,
        ],
    ),
    (&["SYS_ADMIN", "BPF"], &[libc::SYS_bpf]),
    (&["SYS_ADMIN", "PERFMON"], &[libc::SYS_perf_event_open]),
    (&["SYS_ADMIN", "SYSLOG"], &[libc::SYS_syslog]),
    (&["DAC_READ_SEARCH"], &[libc::SYS_open_by_handle_at]),
    (&["SYS_BOOT"], &[libc::SYS_reboot]),
    (&["SYS_MODULE"], &[libc::SYS_delete_module, libc::SYS_finit_module, libc::SYS_init_module]),
    (
        &["SYS_NICE"],
        &[
            libc::SYS_get_mempolicy,
            libc::SYS_mbind,
            libc::SYS_migrate_pages,
            libc::SYS_move_pages,
            libc::SYS_set_mempolicy,
        ],
    ),
    (&["SYS_PACCT"], &[libc::SYS_acct]),
    (&["SYS_PTRACE"], &[libc::SYS_kcmp, libc::SYS_pidfd_getfd]),
    #[cfg(target_arch = "x86_64")]
    (&["SYS_RAWIO"], &[libc::SYS_ioperm, libc::SYS_iopl]),
    (&["SYS_TIME"], &[libc::SYS_clock_settime, libc::SYS_settimeofday]),
    (&["SYS_TTY_CONFIG"], &[libc::SYS_vhangup]),
    (
        &[],
        &[
            libc::SYS_add_key,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_io_uring_setup,
            libc::SYS_kexec_file_load,
            libc::SYS_kexec_load,
            libc::SYS_keyctl,
            libc::SYS_pivot_root,
            libc::SYS_request_key,
            libc::SYS_swapoff,
            libc::SYS_swapon,
            libc::SYS_userfaultfd,
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    (&[], &[libc::SYS__sysctl, libc::SYS_sysfs, libc::SYS_uselib, libc::SYS_ustat]),
];

/// A filter, ready to be put in force.
#[derive(Clone)]
pub(super) struct Filter(Vec<sock_filter>);

impl Filter {
    /// The filter of a container that keeps the capabilities that `has` names.
    pub fn new(has: impl Fn(&str) -> bool) -> Self {
        // Calls of another architecture (32 bits) do not exist; nor do those not known here, which have older ones to fall back to.
        let mut code = vec![load(ARCH), jump(BPF_JEQ, ARCHITECTURE, 1, 0), refuse(ENOSYS)];
        code.extend([load(NUMBER), jump(BPF_JGT, NEWEST, 0, 1), refuse(ENOSYS)]);
        for (capabilities, calls) in REFUSED {
            if !capabilities.iter().any(|name| has(name)) {
                for call in *calls {
                    code.extend([jump(BPF_JEQ, number(*call), 0, 1), refuse(EPERM)]);
                }
            }
        }
        if !has("SYS_ADMIN") {
            // What clone3 makes is in memory, where a filter cannot look.
            code.extend([jump(BPF_JEQ, number(libc::SYS_clone3), 0, 1), refuse(ENOSYS)]);
            code.extend([jump(BPF_JEQ, number(libc::SYS_clone), 0, 3), load(FIRST)]);
            code.extend([jump(BPF_JSET, NAMESPACES, 0, 1), refuse(EPERM)]);
        }
        code.push(answer(SECCOMP_RET_ALLOW));
        Self(code)
    }

    /// Puts it in force for this process and what it becomes and starts. Needs CAP_SYS_ADMIN.
    pub fn enforce(&self) -> io::Result<()> {
        let length = u16::try_from(self.0.len()).map_err(io::Error::other)?;
        let program = sock_fprog { len: length, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: the kernel copies the program, which lives until the call returns, and does not write to it.
        let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k }
}

/// Loads a word of what the kernel tells about the call.
fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

/// Goes on `yes` or `no` instructions further after comparing the loaded word.
fn jump(compare: u32, with: u32, yes: u8, no: u8) -> sock_filter {
    instruction(BPF_JMP | compare | BPF_K, yes, no, with)
}

fn answer(what: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, what)
}

fn refuse(error: i32) -> sock_filter {
    answer(SECCOMP_RET_ERRNO | u32::try_from(error).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says to a call: what the kernel does with these few instructions.
    fn run(filter: &Filter, arch: u32, call: libc::c_long, argument: u32) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = filter.0[at];
            at += 1;
            match u32::from(code) {
                c if c == BPF_RET | BPF_K => return k,
                c if c & 7 == BPF_LD => {
                    let words = [(NUMBER, number(call)), (ARCH, arch), (FIRST, argument)];
                    word = words.into_iter().find(|(offset, _)| *offset == k).unwrap().1;
                }
                c => {
                    let holds = match c & 0xf0 {
                        BPF_JEQ => word == k,
                        BPF_JGT => word > k,
                        _ => word & k != 0,
                    };
                    at += usize::from(if holds { jt } else { jf });
                }
            }
        }
    }

    #[test]
    fn calls_are_refused_unless_the_container_has_their_capability() {
        let (plain, admin) = (Filter::new(|_| false), Filter::new(|name| name == "SYS_ADMIN"));
        let eperm = SECCOMP_RET_ERRNO | 1;
        let says = |filter: &Filter, call, argument| run(filter, ARCHITECTURE, call, argument);
        for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_setresuid, libc::SYS_futex] {
            assert_eq!(says(&plain, call, 0), SECCOMP_RET_ALLOW);
        }
        assert_eq!((says(&plain, libc::SYS_mount, 0), says(&admin, libc::SYS_mount, 0)), (eperm, SECCOMP_RET_ALLOW));
        assert_eq!((says(&plain, libc::SYS_keyctl, 0), says(&admin, libc::SYS_keyctl, 0)), (eperm, eperm));
        let new_user = u32::try_from(libc::CLONE_NEWUSER).unwrap();
        assert_eq!(says(&plain, libc::SYS_clone, u32::try_from(libc::CLONE_VM).unwrap()), SECCOMP_RET_ALLOW);
        assert_eq!(
            (says(&plain, libc::SYS_clone, new_user), says(&admin, libc::SYS_clone, new_user)),
            (eperm, SECCOMP_RET_ALLOW)
        );
    }

    #[test]
    fn calls_of_other_architectures_and_the_future_do_not_exist() {
        let filter = Filter::new(|_| true);
        let none = SECCOMP_RET_ERRNO | u32::try_from(ENOSYS).unwrap();
        assert_eq!(run(&filter, 0x4000_0003, libc::SYS_read, 0), none);
        assert_eq!(run(&filter, ARCHITECTURE, 100_000, 0), none);
    }
}
