//! The command line: `commands/` has a file per subcommand, `flags/` the options that several have
//! in common, `resolve/` what options stand for, and `terminal/` how answers are shown.
//!
//! Only here are arguments parsed, the environment read and anything printed.

mod commands;
mod environment;
mod flags;
mod resolve;
mod terminal;

use std::panic;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use crate::cli::commands::Command;
use crate::cli::environment::Environment;
use crate::cli::terminal::print;
use crate::failure::{Class, Failure};

const EXIT_CODES: &str = "\
Exit codes: 0 ok; 1 the answer is no; 2 usage or unreadable input; 3 Hub or network;
4 SDK, executor or device missing; 5 compilation failed; 6 out of memory or disk;
70 a bug of neuronc; 130 interrupted.";

/// Takes a Hugging Face model to a served AWS Inferentia or Trainium endpoint.
#[derive(Debug, Parser)]
#[command(name = "neuronc", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Runs the command of this process and gives its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print::usage(&error),
    };
    let run = || cli.command.run(&Environment::read()?, Cli::command);
    match panic::catch_unwind(run) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => print::failure(&error),
        Err(_) => {
            let bug = Failure::new(Class::Bug, "neuronc stopped in a way that it should not")
                .help("please report the command and the message above");
            print::failure(&bug.into())
        }
    }
}
