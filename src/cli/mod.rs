//! The command line: one file per subcommand, each with its arguments and its `run`.
//!
//! Only here are arguments parsed, the environment read and anything printed.

mod bench;
mod capacity;
mod chips;
mod compiler_flags;
mod completions;
mod doctor;
mod duration;
mod environment;
mod explain;
mod fold;
mod gate_flags;
mod interrupt;
mod key;
mod listen_flags;
mod migrate;
mod model_files;
mod model_source;
mod output;
mod place;
mod placing;
mod planning;
mod progress;
mod rehearse;
mod report;
mod runtime_flags;
mod screen;
mod serve;
mod simulating;
mod tools;
mod top;
mod trace;
mod verify;

use std::panic;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::cli::environment::Environment;
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

#[derive(Debug, Subcommand)]
enum Command {
    Trace(Box<trace::Args>),
    Rehearse(Box<rehearse::Args>),
    Report(report::Args),
    Verify(verify::Args),
    Explain(explain::Args),
    Doctor(doctor::Args),
    Serve(serve::Args),
    Top(top::Args),
    Bench(Box<bench::Args>),
    Place(place::Args),
    Chips(chips::Args),
    Migrate(migrate::Args),
    Key(key::Args),
    Completions(completions::Args),
}

/// Runs the command of this process and gives its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let outcome = panic::catch_unwind(|| run(cli.command));
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => output::failure(&error),
        Err(_) => {
            let bug = Failure::new(Class::Bug, "neuronc stopped in a way that it should not")
                .help("please report the command and the message above");
            output::failure(&bug.into())
        }
    }
}

fn run(command: Command) -> Result<()> {
    let environment = Environment::read()?;
    match command {
        Command::Trace(args) => trace::run(&args, &environment),
        Command::Rehearse(args) => rehearse::run(&args, &environment),
        Command::Report(args) => report::run(&args),
        Command::Verify(args) => verify::run(&args, &environment),
        Command::Explain(args) => explain::run(&args),
        Command::Doctor(args) => doctor::run(&args, &environment),
        Command::Serve(args) => serve::run(&args, &environment),
        Command::Top(args) => top::run(&args, &environment),
        Command::Bench(args) => bench::run(&args, &environment),
        Command::Place(args) => place::run(&args, &environment),
        Command::Chips(args) => chips::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}
