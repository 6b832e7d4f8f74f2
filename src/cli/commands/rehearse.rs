//! `neuronc rehearse`: does all of a compilation but the compilation.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::environment::Environment;
use crate::cli::flags::plan::PlanFlags;
use crate::cli::resolve::planner::{Planned, Planner};
use crate::cli::terminal::interrupt;
use crate::cli::terminal::print::{self, AnswerFormat};
use crate::cli::terminal::progress_bars::Bars;
use crate::cli::terminal::wrap::wrap;
use crate::compiler::compilation::Compilation;
use crate::coverage::estimate::OperatorSupport;
use crate::executor::interpreter::Interpreter;
use crate::failure::{Class, Failure};
use crate::rehearse::{self, Lowering, NotLowered, Rehearsal, RehearsedBucket, Xla, gib};

const EXAMPLES: &str = "\
Examples:
  neuronc rehearse sentence-transformers/all-MiniLM-L6-v2 --chip inf2
  neuronc rehearse ./my-model --chip trn1 --auto-cast all --sdk ./venv-with-torch-xla

Exit codes: 0 nothing stands against compiling; 1 something does; 2 the model or an option cannot be
used; 3 Hub or network; 4 an executor is missing; 5 tracing or lowering failed; 6 out of memory or
disk; 130 interrupted.";

/// Do all of a compilation but the compilation: trace, check operators, estimate memory, lower.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct RehearseArgs {
    #[command(flatten)]
    planning: PlanFlags,

    /// Keep graphs, HLO and XLA's results in this folder, which must not exist.
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,

    /// How the result is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,
}

/// Limit for tracing, and for lowering.
const DEADLINE: Duration = Duration::from_secs(2 * 60 * 60);

pub(in crate::cli) fn run(args: &RehearseArgs, environment: &Environment) -> Result<()> {
    interrupt::clean_up_on_signals()?;
    let profile = args.planning.profile()?;
    if profile.compiler.kind.is_host() {
        return Err(Failure::usage(format!(
            "there is nothing to rehearse for chip `{}`",
            profile.name
        ))
        .why("libtorch on this machine compiles for it")
        .help("trace the model with `neuronc trace`, or give `--chip inf2`")
        .into());
    }
    let arguments = args.planning.arguments(&profile)?;
    let mut environment = environment.clone();
    environment.places.sdk.clone_from(&args.planning.sdk);
    let mut bars = Bars::new();
    let planner = Planner {
        flags: &args.planning,
        environment: &environment,
        sdk: None,
        self_contained: false,
    };
    let planned = planner.plan(arguments, &mut bars)?;
    planned.fetch(&mut bars)?;
    let rehearsal = args.rehearse(&planned, &environment, &bars)?;
    match args.format {
        AnswerFormat::Text => print::answer(&text(&rehearsal))?,
        AnswerFormat::Json => print::json(&rehearsal)?,
    }
    if rehearsal.passed {
        Ok(())
    } else {
        Err(Failure::new(
            Class::Negative,
            format!("something stands against compiling for {}", rehearsal.chip),
        )
        .why(rehearsal.problems.join("\n"))
        .help("smaller buckets need less memory; `neuronc report --for` shows every operator")
        .into())
    }
}

impl RehearseArgs {
    fn rehearse(
        &self,
        planned: &Planned,
        environment: &Environment,
        bars: &Bars,
    ) -> Result<Rehearsal> {
        let places = &environment.places;
        let temporary = tempfile::tempdir_in(&places.temporary).context("creating a folder")?;
        let _registration = crate::cleanup::folder(temporary.path());
        let folder = match &self.output {
            None => temporary.path().to_owned(),
            Some(folder) => {
                std::fs::create_dir(folder).map_err(|error| {
                    let shown = folder.display();
                    Failure::usage(format!("the folder `{shown}` cannot be made"))
                        .why(error.to_string())
                        .help("give `-o` a folder that does not exist, in one that does")
                })?;
                std::path::absolute(folder)?
            }
        };
        let compilation = Compilation {
            plan: &planned.plan,
            profile: planned.profile,
            model: &planned.snapshot.folder,
            weight_files: &planned.checkpoint.weight_files,
            tracer: planned.tool.clone(),
            jobs: 1,
            trace_deadline: DEADLINE,
            temporary: temporary.path(),
        };
        let interpreter = self.interpreter(planned, environment)?;
        let xla = interpreter.as_ref().map(|interpreter| Xla {
            interpreter,
            deadline: DEADLINE,
        });
        let bar = bars.buckets(planned.plan.buckets.len(), "tracing");
        let mut progress = |progress| bar.compilation(progress);
        rehearse::rehearse(
            &compilation,
            xla.map_err(Clone::clone),
            &folder,
            &places.root,
            &mut progress,
        )
    }

    /// The interpreter that lowers, or the reason why there is none. It is an error where one that the user
    /// names cannot.
    fn interpreter(
        &self,
        planned: &Planned,
        environment: &Environment,
    ) -> Result<Result<Interpreter, NotLowered>> {
        if !planned.profile.compiler.kind.lowers_through_xla() {
            return Ok(Err(NotLowered::NotHlo));
        }
        match (environment.places.xla(), &self.planning.sdk) {
            (Ok(interpreter), _) => Ok(Ok(interpreter)),
            (Err(error), Some(_)) => Err(error),
            (Err(_), None) => Ok(Err(NotLowered::NoInterpreter)),
        }
    }
}

fn text(rehearsal: &Rehearsal) -> String {
    let mut text = headline(rehearsal);
    text.push_str(&format!(
        "\n{:>8}  {:>9}  {:>8}  {:>9}  {:>8}  {:>9}  {:>10}\n",
        "bucket", "operators", "on chip", "not known", "HLO", "not known", "XLA off by"
    ));
    let buckets = &rehearsal.buckets;
    buckets
        .iter()
        .for_each(|bucket| text.push_str(&row(bucket)));
    let sections = [
        ("operators", operators(rehearsal)),
        ("memory, estimated", memory(rehearsal)),
        (
            "arguments of the compiler",
            vec![rehearsal.compiler_args.join(" ")],
        ),
        ("against it", rehearsal.problems.clone()),
        ("proven", rehearsal.proven.clone()),
        ("not proven", rehearsal.not_proven.clone()),
    ];
    for (title, lines) in sections {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}\n"));
        }
        for line in lines {
            text.push_str(&wrap("  ", &line));
            text.push('\n');
        }
    }
    text
}

fn headline(rehearsal: &Rehearsal) -> String {
    let Rehearsal { model, chip, .. } = rehearsal;
    let buckets = print::counted(rehearsal.buckets.len(), "bucket");
    let lowered = rehearsal.buckets.iter().filter(|b| b.lowering.is_some());
    if rehearsal.passed {
        format!(
            "nothing stands against compiling {model} for {chip}\n\
             {buckets} traced, {} lowered, none compiled\n",
            lowered.count()
        )
    } else {
        format!(
            "{model} will hardly compile for {chip}: {} in {buckets}\n",
            print::counted(rehearsal.problems.len(), "problem")
        )
    }
}

/// Operators that stay on the host or are on no list of the compiler, over all buckets.
fn operators(rehearsal: &Rehearsal) -> Vec<String> {
    let (mut host, mut unknown) = (BTreeMap::new(), BTreeMap::new());
    for bucket in &rehearsal.buckets {
        for entry in &bucket.on_host {
            let most = host.entry(&entry.operator).or_insert(0);
            *most = entry.count.max(*most);
        }
        for entry in bucket
            .lowering
            .iter()
            .flat_map(|lowering| &lowering.operators)
        {
            if entry.state != OperatorSupport::Supported {
                let most = unknown.entry(&entry.operator).or_insert(0);
                *most = entry.count.max(*most);
            }
        }
    }
    let mut lines = Vec::new();
    for (title, entries) in [
        ("on the host", host),
        ("HLO on no list of the compiler", unknown),
    ] {
        let counted: Vec<String> = entries
            .iter()
            .map(|(name, count)| format!("{name} ({count})"))
            .collect();
        if !counted.is_empty() {
            lines.push(format!("{title}: {}", counted.join(", ")));
        }
    }
    lines
}

fn memory(rehearsal: &Rehearsal) -> Vec<String> {
    let buckets = rehearsal.buckets.iter();
    let most = buckets.map(|bucket| bucket.compile_memory).max();
    let host = rehearsal
        .host_memory
        .map_or("an unknown amount".to_owned(), gib);
    vec![
        format!(
            "on the chip: {} of the {} of a core, for each copy of the model",
            gib(rehearsal.device_memory.each()),
            gib(rehearsal.core_memory)
        ),
        format!(
            "to compile the largest bucket: {} of the {host} that this machine has free",
            gib(most.unwrap_or(0))
        ),
    ]
}

fn row(known: &RehearsedBucket) -> String {
    let operators = &known.estimate.operators;
    let lowering = known.lowering.as_ref();
    let count = |of: &dyn Fn(&Lowering) -> String| lowering.map_or_else(|| "-".to_owned(), of);
    let sum = |lowering: &Lowering, unknown: bool| {
        let wanted = lowering
            .operators
            .iter()
            .filter(|entry| !unknown || entry.state != OperatorSupport::Supported);
        wanted.map(|entry| entry.count).sum::<usize>().to_string()
    };
    format!(
        "{:>8}  {:>9}  {:>8}  {:>9}  {:>8}  {:>9}  {:>10}\n",
        known.bucket.to_string(),
        operators.chip + operators.host + operators.not_known,
        operators.chip,
        operators.not_known,
        count(&|lowering| sum(lowering, false)),
        count(&|lowering| sum(lowering, true)),
        count(&|lowering| format!("{:.1e}", lowering.difference.max_abs)),
    )
}
