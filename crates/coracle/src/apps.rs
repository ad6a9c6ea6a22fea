//! The reference services built into the binary: a pod whose image is one of these runs this binary in that role.

use std::{
    ffi::{CString, OsString},
    os::unix::ffi::OsStrExt,
    process::ExitCode,
};

use nix::sys::prctl;

/// The first argument that selects this role.
pub const ROLE: &str = "app";

type Run = fn() -> std::io::Result<()>;

/// Image name (without a tag) and the program.
const APPS: &[(&str, Run)] = &[
    ("hello", hello::run),
    ("infer", infer::run),
    ("llm", llm::run),
    ("sample", sample::run),
    ("zapora", zapora::run),
];

/// The images built in: name, and the arguments that make this binary run it.
pub fn images() -> impl Iterator<Item = (&'static str, Vec<String>)> {
    APPS.iter().map(|(name, _)| (*name, vec![ROLE.to_owned(), (*name).to_owned()]))
}

/// Runs the service named by the first argument.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let name = args.next().unwrap_or_default();
    let Some((_, run)) = APPS.iter().find(|(app, _)| *app == name) else {
        eprintln!("coracle: there is no built-in service {name:?}");
        return ExitCode::from(2);
    };
    // It is what `ps` shows. A container in which it cannot be set shows this binary's name.
    let _ = CString::new(name.as_bytes()).map(|name| prctl::set_name(&name));
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", name.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}
