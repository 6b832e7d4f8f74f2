//! `neuronc trace`: plans, traces and compiles a model, and seals the bundle.

mod answer;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bundle::draft::Existing;
use crate::bundle::manifest::Manifest;
use crate::bundle::{Bundle, Check};
use crate::cli::commands::trace::answer::{
    PlannedFor, TraceOutcome, TracedBucket, print_plan, print_result,
};
use crate::cli::environment::Environment;
use crate::cli::flags::duration;
use crate::cli::flags::plan::PlanFlags;
use crate::cli::resolve::planner::Planner;
use crate::cli::resolve::programs;
use crate::cli::terminal::interrupt;
use crate::cli::terminal::print::AnswerFormat;
use crate::cli::terminal::progress_bars::Bars;
use crate::compiler;
use crate::compiler::compilation::{BundleTarget, Compilation, LocalDevice, Neuron};
use crate::compiler::progress::CompilationProgress;
use crate::executor::interpreter::Interpreter;
use crate::executor::probe::Places;
use crate::failure::{Class, Failure};
use crate::host_memory::HostMemory;
use crate::placement::machine::Machine;
use crate::placement::model;
use crate::plan::Plan;

const EXAMPLES: &str = "\
Examples:
  neuronc trace sentence-transformers/all-MiniLM-L6-v2 --batch-size 1,8 --sequence-length 32,128
  neuronc trace ./my-model --chip cpu --auto-cast matmult -o my-model.bundle
  neuronc trace bert-base-uncased-squad2 --dry-run
  neuronc trace all-minilm-l6-v2 --chip inf2 --compiler-args '--auto-cast all -O3' --dry-run

Exit codes: 0 traced, or nothing to do; 2 the model or an option cannot be used; 3 Hub or network;
4 the compiler's SDK is missing; 5 tracing failed; 6 out of memory or disk; 130 interrupted.";

/// Trace a model into one artifact per bucket and seal them into a bundle.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct TraceArgs {
    #[command(flatten)]
    planning: PlanFlags,

    /// Where the bundle goes [default: NAME-CHIP].
    #[arg(short, long, value_name = "BUNDLE")]
    output: Option<PathBuf>,

    /// Also write TorchScript files with the weights inside, for other programs.
    #[arg(long)]
    self_contained: bool,

    /// Buckets that are worked on at the same time [default: 1 on cpu; else one for each processor,
    /// as far as memory allows].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// How long the compilation of one bucket may take, such as 90s, 45m or 2h.
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = duration::parse)]
    compile_timeout: Duration,

    /// Also ask the SDK's `analyze` which operators it supports.
    #[arg(long)]
    analyze: bool,

    /// Show what the compiler prints.
    #[arg(short, long)]
    verbose: bool,

    /// Trace even if the bundle is up to date, and replace a bundle of another plan.
    #[arg(long)]
    force: bool,

    /// Print the plan; download nothing but the small files that decide it.
    #[arg(long)]
    dry_run: bool,

    /// How the plan or the result is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,
}

/// Limit for tracing all buckets.
const TRACE_DEADLINE: Duration = Duration::from_secs(2 * 60 * 60);

pub(in crate::cli) fn run(args: &TraceArgs, environment: &Environment) -> Result<()> {
    let start = Instant::now();
    interrupt::clean_up_on_signals()?;
    let profile = args.planning.profile()?;
    let arguments = args.planning.arguments(&profile)?;
    let mut environment = environment.clone();
    environment.places.sdk.clone_from(&args.planning.sdk);
    // Before anything is downloaded, so that a missing SDK costs no time.
    let sdk = match programs::sdk(&profile, &environment.places) {
        // The plan has then the versions of the SDK that the profile names, and says so.
        Err(error) if args.goes_without_sdk(&error) => None,
        found => found?,
    };
    let mut bars = Bars::new();
    let planner = Planner {
        flags: &args.planning,
        environment: &environment,
        sdk: sdk.as_ref(),
        self_contained: args.self_contained,
    };
    let planned = planner.plan(arguments, &mut bars)?;
    let plan = &planned.plan;
    let place = args.place(plan);
    if args.dry_run {
        let planned = PlannedFor {
            plan,
            profile: planned.profile,
            sdk: sdk.as_ref().map(|sdk| sdk.path.as_path()),
            place: &place,
        };
        return print_plan(&planned, args.format);
    }
    if !args.force && is_up_to_date(&place, plan)? {
        return print_result(&Bundle::open(&place, Check::Sizes)?, None, args.format);
    }
    planned.fetch(&mut bars)?;
    let compilation = Compilation {
        plan,
        profile: planned.profile,
        model: &planned.snapshot.folder,
        weight_files: &planned.checkpoint.weight_files,
        tracer: planned.tool.clone(),
        jobs: args.jobs(sdk.is_some()),
        trace_deadline: TRACE_DEADLINE,
        temporary: &environment.places.temporary,
    };
    let target = BundleTarget {
        place: &place,
        existing: if args.force {
            Existing::ReplaceBundle
        } else {
            Existing::Keep
        },
    };
    let sdk = sdk.map(|sdk| (sdk, &environment));
    let (bundle, traced) = args.compile(&compilation, target, sdk, &bars)?;
    let outcome = TraceOutcome {
        took: start.elapsed(),
        traced,
    };
    print_result(&bundle, Some(outcome), args.format)
}

impl TraceArgs {
    /// True where a missing SDK is no error: to print a plan, and only where the user names no SDK.
    fn goes_without_sdk(&self, error: &anyhow::Error) -> bool {
        self.dry_run && self.planning.sdk.is_none() && Failure::class_of(error) == Class::Executor
    }

    /// Largest number of buckets at the same time. Compilers are limited by memory rather than by processors,
    /// and their memory has a budget of its own.
    fn jobs(&self, neuron: bool) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        match (self.jobs, neuron) {
            (Some(jobs), _) => jobs.get(),
            (None, true) => processors(),
            (None, false) => 1,
        }
    }

    fn compile(
        &self,
        compilation: &Compilation,
        target: BundleTarget,
        sdk: Option<(Interpreter, &Environment)>,
        bars: &Bars,
    ) -> Result<(Bundle, Vec<TracedBucket>)> {
        let buckets = compilation.plan.buckets.len();
        let bar = bars.buckets(buckets, "loading");
        let mut done = Vec::new();
        let for_chip = sdk.is_some();
        let mut on_progress = |progress| {
            bar.compilation(progress);
            let (CompilationProgress::Traced { bucket, millis }
            | CompilationProgress::Compiled { bucket, millis }) = progress
            else {
                return;
            };
            let compiles = matches!(progress, CompilationProgress::Compiled { .. });
            if compiles || !for_chip {
                done.push(TracedBucket { bucket, millis });
            }
        };
        let Some((interpreter, environment)) = sdk else {
            let bundle = compiler::for_host(compilation, target, &mut on_progress)?;
            return Ok((bundle, done));
        };
        let show = |bucket, line: &str| bars.compiler_output(bucket, line);
        let places = &environment.places;
        let neuron = Neuron {
            interpreter,
            work: environment.work(),
            memory: HostMemory::read(&places.root).usable().unwrap_or(u64::MAX),
            device: device(compilation, places)?,
            analyze: self.analyze,
            deadline: self.compile_timeout,
            watch: self.verbose.then_some(&show),
        };
        let bundle = compiler::for_neuron(compilation, &neuron, target, &mut on_progress)?;
        Ok((bundle, done))
    }

    fn place(&self, plan: &Plan) -> PathBuf {
        let default = || PathBuf::from(format!("{}-{}", plan.name, plan.chip));
        self.output.clone().unwrap_or_else(default)
    }
}

/// The Neuron chip of this machine for a compilation; `None` where it has none.
fn device(compilation: &Compilation, places: &Places) -> Result<Option<LocalDevice>> {
    if !places.has_device() {
        return Ok(None);
    }
    let (plan, profile) = (compilation.plan, compilation.profile);
    let core_size = model::core_size(plan, profile)?;
    let cores = Machine::with_devices(profile, places.devices(), core_size)?.cores;
    let alone = model::unplaced(plan, profile)?;
    Ok(Some(LocalDevice {
        copies: (cores / alone.width) as usize,
        environment: alone.environment,
    }))
}

/// True when `place` holds the complete bundle of this plan.
fn is_up_to_date(place: &Path, plan: &Plan) -> Result<bool> {
    if !Bundle::is_at(place) || Manifest::read(place)?.plan_key != plan.key()? {
        return Ok(false);
    }
    Bundle::open(place, Check::Sizes).map(|_| true)
}
