//! What the kernel says of processes.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, bail};

/// A process of ours; it ends with its value.
#[derive(Debug)]
pub struct Process(pub Child);

impl Process {
    pub fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        command.spawn().map(Self).with_context(|| format!("start {:?}", command.get_program()))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal by name and waits for the end.
    pub fn stop(&mut self, signal: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status()?;
        self.0.wait()?;
        if sent.success() { Ok(()) } else { bail!("process {} could not be signalled", self.pid()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            // There is nobody to tell.
            _ = self.stop("TERM");
        }
    }
}

/// User and system time of processes so far.
pub fn cpu(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut ticks = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
        // The name, in parentheses, may hold anything.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>()).unwrap_or_default();
        let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        ticks += field(11) + field(12);
    }
    // The kernel's unit for user space, USER_HZ, is 100 on every architecture there is.
    Ok(Duration::from_millis(ticks * 10))
}

/// Proportional set size in KiB of a process.
pub fn pss(pid: u32) -> anyhow::Result<u64> {
    rollup(pid, "Pss:")
}

/// What of [`pss`] is no page of a file.
pub fn pss_anonymous(pid: u32) -> anyhow::Result<u64> {
    rollup(pid, "Pss_Anon:")
}

fn rollup(pid: u32, field: &str) -> anyhow::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| format!("process {pid}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix(field));
    let size = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    size.with_context(|| format!("no {field} in smaps_rollup"))
}

/// A port that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The path as text, for arguments and configuration files.
pub fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
