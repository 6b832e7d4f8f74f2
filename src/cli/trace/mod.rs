//! `neuronc trace`.

mod answer;
mod tools;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::arguments::{self, Asked};
use crate::bundle::draft::Existing;
use crate::bundle::manifest::Manifest;
use crate::bundle::{Bundle, Check};
use crate::checkpoint::{Checkpoint, Tracer, TracerChoice};
use crate::cli::compiler_flags::CompilerFlags;
use crate::cli::environment::Environment;
use crate::cli::output::{self, Format};
use crate::cli::progress::Bars;
use crate::cli::trace::answer::{TracedBucket, Work, print_plan, print_result};
use crate::cli::{duration, interrupt, model_files, model_source};
use crate::compiler::{self, Compilation, Neuron, Progress, Target, Tool, memory};
use crate::executor::describe;
use crate::executor::interpreter::Interpreter;
use crate::executor::job::{DescribeJob, PROTOCOL};
use crate::hub::{self, Snapshot};
use crate::plan::{self, Options, Plan};
use crate::profile::{self, ChipProfile};
use crate::recipe::Task;

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
pub(super) struct Args {
    /// A Hub id (`org/name`), a model folder, the name of a recipe, or a recipe file.
    model: String,

    /// The chip to trace for.
    #[arg(long, default_value = "cpu")]
    chip: String,

    /// A chip profile of your own, instead of one that neuronc has.
    #[arg(long, value_name = "FILE", conflicts_with = "chip")]
    profile: Option<PathBuf>,

    /// Where the bundle goes [default: NAME-CHIP].
    #[arg(short, long, value_name = "BUNDLE")]
    output: Option<PathBuf>,

    /// A branch, tag, pull request or commit of the model on the Hub.
    #[arg(long)]
    revision: Option<String>,

    /// What the model is asked to do [default: what its config says].
    #[arg(long)]
    task: Option<Task>,

    /// Rows of a batch; each with every sequence length makes a bucket [default: recipe or profile].
    #[arg(long, value_delimiter = ',', value_name = "N,N,...")]
    batch_size: Option<Vec<usize>>,

    /// Tokens of a row [default: recipe or profile].
    #[arg(long, value_delimiter = ',', value_name = "N,N,...")]
    sequence_length: Option<Vec<usize>>,

    /// Also write TorchScript files with the weights inside, for other programs.
    #[arg(long)]
    self_contained: bool,

    /// The Neuron SDK, or a Python with transformers: a virtual environment or an interpreter
    /// [default: the places that the profile names, then `python3` on PATH].
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,

    /// What traces the model [default: native for the families of neuronc, else transformers].
    #[arg(long)]
    tracer: Option<TracerChoice>,

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

    /// Use only what the Hub cache holds.
    #[arg(long)]
    offline: bool,

    /// Print the plan; download nothing but the small files that decide it.
    #[arg(long)]
    dry_run: bool,

    /// How the plan or the result is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    #[command(flatten)]
    compiler: CompilerFlags,
}

/// Tracing is stopped when it takes longer.
const TRACE_DEADLINE: Duration = Duration::from_secs(2 * 60 * 60);

pub(super) fn run(args: &Args, environment: &Environment) -> Result<()> {
    let start = Instant::now();
    interrupt::clean_up_on_signals()?;
    let profile = args.profile()?;
    // A wrong argument shows before an SDK is looked for and before anything is downloaded.
    let asked = args.compiler.request().read(&profile)?;
    let (recipe, source) = model_source::resolve(&args.model, args.revision.as_deref())?;
    let mut environment = environment.clone();
    environment.places.sdk.clone_from(&args.sdk);
    // A missing SDK shows before anything is downloaded.
    let sdk = match args.dry_run {
        true => None,
        false => tools::sdk(&profile, &environment.places)?,
    };
    let version = compiler_version(&profile, sdk.as_ref());
    arguments::resolve(&profile, &asked, version.as_deref())?;

    let mut bars = Bars::new();
    let snapshot = hub::open(&source, &environment.hub(args.offline))?;
    let task = args.task.or(recipe.task);
    let mut checkpoint = model_files::read_checkpoint(&snapshot, task, args.tracer, &mut bars)?;
    let tool = tools::tracer(&checkpoint, sdk.as_ref(), &environment)?;
    if let Tool::Python(interpreter) = &tool {
        args.announce(&checkpoint);
        describe(
            &mut checkpoint,
            interpreter,
            &snapshot,
            &environment,
            &mut bars,
        )?;
    }
    let model = model_files::identity(&snapshot, &checkpoint)?;
    let options = args.options(asked, version, sdk.as_ref());
    let plan = plan::plan(&recipe, &profile, &checkpoint, model, &options)?;
    let place = args.place(&plan);
    if args.dry_run {
        return print_plan(&plan, &profile, &place, args.format);
    }
    if !args.force && is_up_to_date(&place, &plan)? {
        return print_result(&Bundle::open(&place, Check::Sizes)?, None, args.format);
    }
    let names = model_files::needed(&checkpoint);
    snapshot.fetch(&names, &mut |progress| bars.download(progress))?;
    let compilation = Compilation {
        plan: &plan,
        profile: &profile,
        model: &snapshot.folder,
        weight_files: &checkpoint.weight_files,
        tracer: tool,
        jobs: args.jobs(sdk.is_some()),
        trace_deadline: TRACE_DEADLINE,
        temporary: &environment.places.temporary,
    };
    let target = Target {
        place: &place,
        existing: match args.force {
            true => Existing::ReplaceBundle,
            false => Existing::Keep,
        },
    };
    let sdk = sdk.map(|sdk| (sdk, &environment));
    let (bundle, traced) = args.compile(&compilation, target, sdk, &bars)?;
    let work = Work {
        took: start.elapsed(),
        traced,
    };
    print_result(&bundle, Some(work), args.format)
}

/// The version of the compiler of this machine, where one was found.
fn compiler_version(profile: &ChipProfile, sdk: Option<&Interpreter>) -> Option<String> {
    let package = profile.compiler.package.as_ref()?;
    sdk?.probed.packages.get(package).cloned()
}

/// Asks transformers what the model's forward takes.
fn describe(
    checkpoint: &mut Checkpoint,
    interpreter: &Interpreter,
    snapshot: &Snapshot,
    environment: &Environment,
    bars: &mut Bars,
) -> Result<()> {
    let names: Vec<&str> = checkpoint
        .tokenizer_files
        .iter()
        .map(String::as_str)
        .collect();
    snapshot.fetch(&names, &mut |progress| bars.download(progress))?;
    let job = DescribeJob {
        protocol: PROTOCOL,
        folder: snapshot.folder.clone(),
        head: checkpoint.head.clone(),
    };
    let described = describe::describe(interpreter, &job, &environment.places.temporary)?;
    checkpoint.inputs = described.inputs;
    checkpoint.pad_id = described.pad_id;
    checkpoint.max_tokens = checkpoint.max_tokens.min(described.max_tokens);
    Ok(())
}

impl Args {
    /// Says which tracer was chosen where nobody asked for it.
    fn announce(&self, checkpoint: &Checkpoint) {
        if let (None, Tracer::Transformers { model_type }) = (self.tracer, &checkpoint.tracer) {
            output::remark(&format!(
                "note: `{model_type}` is not a family of neuronc; transformers traces it"
            ));
        }
    }

    /// Compilers need memory rather than processors, which has a budget of its own.
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
        target: Target,
        sdk: Option<(Interpreter, &Environment)>,
        bars: &Bars,
    ) -> Result<(Bundle, Vec<TracedBucket>)> {
        let buckets = compilation.plan.buckets.len();
        let bar = bars.buckets(buckets, "loading");
        let mut done = Vec::new();
        let for_chip = sdk.is_some();
        let mut on_progress = |progress| {
            bar.compilation(progress);
            let (Progress::Traced { bucket, millis } | Progress::Compiled { bucket, millis }) =
                progress
            else {
                return;
            };
            let compiles = matches!(progress, Progress::Compiled { .. });
            if compiles || !for_chip {
                done.push(TracedBucket { bucket, millis });
            }
        };
        let Some((interpreter, environment)) = sdk else {
            let bundle = compiler::for_host(compilation, target, &mut on_progress)?;
            return Ok((bundle, done));
        };
        let show = |bucket, bytes: &[u8]| bars.compiler_output(bucket, bytes);
        let places = &environment.places;
        let neuron = Neuron {
            interpreter,
            work: environment.work(),
            memory: memory::available(&places.root).unwrap_or(u64::MAX),
            device: places.has_device(),
            analyze: self.analyze,
            deadline: self.compile_timeout,
            watch: self.verbose.then_some(&show),
        };
        let bundle = compiler::for_neuron(compilation, &neuron, target, &mut on_progress)?;
        Ok((bundle, done))
    }

    fn profile(&self) -> Result<ChipProfile> {
        match &self.profile {
            Some(file) => profile::load_file(file),
            None => profile::load(&self.chip),
        }
    }

    fn options(
        &self,
        arguments: Asked,
        compiler_version: Option<String>,
        sdk: Option<&Interpreter>,
    ) -> Options {
        Options {
            batch_sizes: self.batch_size.clone(),
            sequence_lengths: self.sequence_length.clone(),
            arguments,
            compiler_version,
            versions: sdk
                .map(|sdk| sdk.probed.packages.clone())
                .unwrap_or_default(),
            self_contained: self.self_contained,
        }
    }

    fn place(&self, plan: &Plan) -> PathBuf {
        let default = || PathBuf::from(format!("{}-{}", plan.name, plan.chip));
        self.output.clone().unwrap_or_else(default)
    }
}

/// True when `place` holds the complete bundle of this very plan.
fn is_up_to_date(place: &Path, plan: &Plan) -> Result<bool> {
    if !Bundle::is_at(place) || Manifest::read(place)?.plan_key != plan.key()? {
        return Ok(false);
    }
    Bundle::open(place, Check::Sizes).map(|_| true)
}
