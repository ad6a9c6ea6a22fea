//! What a service manager and an administrator ask of a long-running process: to be told when it serves and which process it
//! is, and to start the next version of itself.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::PathBuf,
};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

const REPLACE: &str = "--replace";

/// Tells systemd, if it started this process (`Type=notify`), that this process serves and is the service's main one from now
/// on; where that is another one than systemd started, the unit needs `NotifyAccess=all`.
pub fn say_ready() {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = notify(&name, &format!("READY=1\nMAINPID={}\n", std::process::id())) {
        tracing::warn!("the service manager could not be told: {error}");
    }
}

fn notify(name: &OsStr, text: &str) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

/// Starts this program's file once more, as it is then, with the same arguments and `--replace`, at every SIGUSR2.
///
/// # Errors
/// The signal cannot be listened for, or this program's file is not known.
pub fn replace_at_signal() -> anyhow::Result<()> {
    let mut wanted = signal(SignalKind::user_defined2()).context("listen for SIGUSR2")?;
    // Now: when the file has been exchanged, the kernel says that it was deleted.
    let program = env::current_exe().context("find this program's own file")?;
    let arguments = successor_arguments(env::args_os().skip(1));
    tokio::spawn(async move {
        while wanted.recv().await.is_some() {
            start(&program, &arguments).await;
        }
    });
    Ok(())
}

/// It outlives this process if it takes over.
async fn start(program: &PathBuf, arguments: &[OsString]) {
    let ended = match tokio::process::Command::new(program).args(arguments).spawn() {
        Ok(mut child) => child.wait().await.map(|status| status.to_string()),
        Err(error) => Err(error),
    };
    match ended {
        Ok(status) => tracing::warn!("{}, which was to take over, ended: {status}", program.display()),
        Err(error) => tracing::warn!("start {}: {error}", program.display()),
    }
}

fn successor_arguments(own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let own = own.filter(|argument| argument != REPLACE);
    own.chain([REPLACE.into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_has_the_same_arguments_and_replaces_once() {
        let own = ["up", "--replace", "-f", "a.yaml"].map(OsString::from);
        assert_eq!(successor_arguments(own.into_iter()), ["up", "-f", "a.yaml", "--replace"]);
    }

    #[test]
    fn the_service_manager_is_told_at_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        notify(path.as_os_str(), "READY=1\n").unwrap();
        let mut text = [0; 32];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"READY=1\n");
    }
}
