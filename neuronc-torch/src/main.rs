//! The program `neuronc-torch`: one word says what to be; the rest arrives on stdin.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use neuronc::executor::job::PROTOCOL;
use neuronc_torch::failure::message_of;
use neuronc_torch::{LIBTORCH_VERSION, trace, worker};

/// Also what libtorch allocates with: it takes and returns megabytes in every run, which glibc's allocator
/// answers with a tenth of the time of a small run, and with half as much memory again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: neuronc-torch trace | worker | --version; `neuronc` starts it";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", message_of(&error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.next()) {
        (Some("trace"), None) => trace::run(io::stdin(), io::stdout()),
        (Some("worker"), None) => {
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            worker::run(UnixStream::from(stdin.context("taking stdin as a socket")?))
        }
        (Some("--version"), None) => Ok(writeln!(
            io::stdout(),
            "neuronc-torch {} (libtorch {LIBTORCH_VERSION}, protocol {PROTOCOL})",
            env!("CARGO_PKG_VERSION")
        )?),
        _ => bail!(USAGE),
    }
}
