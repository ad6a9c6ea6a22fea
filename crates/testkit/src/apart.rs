//! Namespaces of a test's own.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::process::Command;

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::Uid,
};

use crate::find;

/// Runs `test` in network and mount namespaces of its own, so that it changes nothing on the machine; says so if it cannot.
///
/// # Panics
/// As `test` does, and where a namespace cannot be made.
pub fn apart(test: impl FnOnce() + Send + 'static) {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: making namespaces needs root");
    }
    let missing = ["ip", "bash"].into_iter().find(|program| find(program).is_none());
    if let Some(program) = missing {
        return eprintln!("skipped: there is no {program} on this machine");
    }
    let alone = move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        test();
    };
    // What this thread starts is in its namespaces too.
    std::thread::spawn(alone).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
