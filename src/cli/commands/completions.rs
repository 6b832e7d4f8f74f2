//! `neuronc completions`: prints the completions of a shell.

use anyhow::Result;
use clap_complete::Shell;

use crate::cli::terminal::print;

const EXAMPLES: &str = "\
Example:
  neuronc completions bash > ~/.local/share/bash-completion/completions/neuronc

Exit codes: 0 printed; 2 unknown shell.";

/// Print the completions of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct CompletionsArgs {
    /// The shell to complete in.
    shell: Shell,
}

pub(in crate::cli) fn run(args: &CompletionsArgs, mut program: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "neuronc", &mut script);
    print::answer(&String::from_utf8_lossy(&script))
}
