//! The shim as a program of its own, for this crate's tests; elsewhere the `coracle` binary is the shim.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::shim::main(std::env::args_os().skip(1))
}
