//! What bcrypt costs by itself: a login can cost no less, in whatever language the rest is.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use super::sides::PASSWORD;
use crate::machine;

/// For how long hashes are made; the kernel counts CPU time in hundredths of a second.
const TIME: Duration = Duration::from_secs(1);

/// µs of CPU for a check of a password, with the library that zapora uses.
///
/// # Errors
/// The machine has no randomness.
pub fn ours(cost: u32) -> anyhow::Result<f64> {
    let hash = bcrypt::hash(PASSWORD, cost)?;
    let (began, me, mut checks) = (Instant::now(), [std::process::id()], 0_u32);
    let before = machine::cpu(&me)?;
    while began.elapsed() < TIME {
        ensure!(bcrypt::verify(PASSWORD, &hash)?, "bcrypt does not know its own hash");
        checks += 1;
    }
    Ok((machine::cpu(&me)? - before).as_secs_f64() * 1e6 / f64::from(checks))
}

/// The same with the library that FastAPI's side uses.
///
/// # Errors
/// Python cannot be run, or lacks the library.
pub fn theirs(python: &Path, cost: u32) -> anyhow::Result<f64> {
    let program = format!(
        "import bcrypt, time\n\
         password = b'{PASSWORD}'\n\
         digest = bcrypt.hashpw(password, bcrypt.gensalt({cost}))\n\
         checks, began, used = 0, time.monotonic(), time.process_time()\n\
         while time.monotonic() < began + {}:\n\
         \x20   assert bcrypt.checkpw(password, digest)\n\
         \x20   checks += 1\n\
         print((time.process_time() - used) / checks * 1e6)",
        TIME.as_secs()
    );
    let output = Command::new(python).args(["-c", &program]).output().context("run Python")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().context("read what Python measured")
}
