//! The `coracle` binary: what was asked on the command line, and the boxes it takes.

mod apply;
mod cli;
mod config;
mod data_dir;
mod platform;
mod up;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coracle: {error:#}");
            ExitCode::FAILURE
        }
    }
}
