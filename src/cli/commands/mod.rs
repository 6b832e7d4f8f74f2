//! One file per subcommand, each with its arguments and its `run`.

mod bench;
mod chips;
mod completions;
mod doctor;
mod explain;
mod key;
mod migrate;
mod place;
mod rehearse;
mod report;
mod serve;
mod top;
mod trace;
mod verify;

use anyhow::Result;
use clap::Subcommand;

use crate::cli::environment::Environment;

/// The subcommands, in the order in which `neuronc --help` lists them.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    Trace(Box<trace::TraceArgs>),
    Rehearse(Box<rehearse::RehearseArgs>),
    Report(report::ReportArgs),
    Verify(verify::VerifyArgs),
    Explain(explain::ExplainArgs),
    Doctor(doctor::DoctorArgs),
    Serve(serve::ServeArgs),
    Top(top::TopArgs),
    Bench(Box<bench::BenchArgs>),
    Place(place::PlaceArgs),
    Chips(chips::ChipsArgs),
    Migrate(migrate::MigrateArgs),
    Key(key::KeyArgs),
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Runs the subcommand; `program` gives the whole command line, for completions.
    pub(in crate::cli) fn run(
        self,
        environment: &Environment,
        program: fn() -> clap::Command,
    ) -> Result<()> {
        match self {
            Self::Trace(args) => trace::run(&args, environment),
            Self::Rehearse(args) => rehearse::run(&args, environment),
            Self::Report(args) => report::run(&args),
            Self::Verify(args) => verify::run(&args, environment),
            Self::Explain(args) => explain::run(&args),
            Self::Doctor(args) => doctor::run(&args, environment),
            Self::Serve(args) => serve::run(&args, environment),
            Self::Top(args) => top::run(&args, environment),
            Self::Bench(args) => bench::run(&args, environment),
            Self::Place(args) => place::run(&args, environment),
            Self::Chips(args) => chips::run(&args),
            Self::Migrate(args) => migrate::run(&args),
            Self::Key(args) => key::run(&args),
            Self::Completions(args) => completions::run(&args, program()),
        }
    }
}
