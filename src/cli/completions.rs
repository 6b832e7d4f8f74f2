//! `neuronc completions`.

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::{Cli, output};

const EXAMPLES: &str = "\
Example:
  neuronc completions bash > ~/.local/share/bash-completion/completions/neuronc

Exit codes: 0 printed; 2 unknown shell.";

/// Print the completions of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell to complete in.
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "neuronc", &mut script);
    output::answer(&String::from_utf8_lossy(&script))
}
