//! `neuronc trace`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::arguments::{self, Asked};
use crate::bucket::Bucket;
use crate::bundle::draft::Existing;
use crate::bundle::manifest::Manifest;
use crate::bundle::{Bundle, Check};
use crate::checkpoint::{self, Checkpoint};
use crate::cli::compiler_flags::CompilerFlags;
use crate::cli::environment::Environment;
use crate::cli::output::{self, Format, megabytes};
use crate::cli::progress::Bars;
use crate::cli::{interrupt, model_source};
use crate::compiler::memory;
use crate::compiler::{self, Compilation, Neuron, Target, Tool};
use crate::executor::interpreter::Interpreter;
use crate::files;
use crate::hub::{self, Digest, Listing, Snapshot};
use crate::plan::{self, Model, Options, Plan};
use crate::profile::{self, ChipProfile, CompilerKind};
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

    /// Buckets that are traced at the same time.
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: std::num::NonZeroUsize,

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
const DEADLINE: Duration = Duration::from_secs(2 * 60 * 60);

pub(super) fn run(args: &Args, environment: &Environment) -> Result<()> {
    let start = Instant::now();
    interrupt::clean_up_on_signals()?;
    let profile = args.profile()?;
    // A wrong argument shows before an SDK is looked for and before anything is downloaded.
    let asked = args.compiler.request().read(&profile)?;
    let (recipe, source) = model_source::resolve(&args.model, args.revision.as_deref())?;
    // A missing executor shows before anything is downloaded.
    let tools = match args.dry_run {
        true => None,
        false => Some(Tools::find(&profile, environment)?),
    };
    let mut bars = Bars::new();
    let snapshot = hub::open(&source, &environment.hub(args.offline))?;
    let checkpoint = read_checkpoint(&snapshot, args.task.or(recipe.task), &mut bars)?;
    let model = identity(&snapshot, &checkpoint)?;
    let plan = plan::plan(&recipe, &profile, &checkpoint, model, &args.options(asked))?;
    let place = args.place(&plan);
    let Some(tools) = tools else {
        return print_plan(&plan, &profile, &place, args.format);
    };
    if !args.force && is_up_to_date(&place, &plan)? {
        return print_result(&Bundle::open(&place, Check::Sizes)?, None, args.format);
    }
    snapshot.fetch(&needed(&checkpoint), &mut |progress| {
        bars.download(progress)
    })?;
    let compilation = Compilation {
        plan: &plan,
        model: &snapshot.folder,
        weight_files: &checkpoint.weight_files,
        profile: &profile,
        tracer: tools.tracer,
        jobs: args.jobs.get(),
        trace_deadline: DEADLINE,
        temporary: &environment.places.temporary,
    };
    let target = Target {
        place: &place,
        existing: match args.force {
            true => Existing::ReplaceBundle,
            false => Existing::Keep,
        },
    };
    let bar = bars.buckets(plan.buckets.len(), "loading");
    let mut traced = Vec::new();
    let mut progress = |progress| {
        bar.compilation(progress);
        if let compiler::Progress::Traced { bucket, millis } = progress {
            traced.push(TracedBucket { bucket, millis });
        }
    };
    let bundle = match tools.sdk {
        None => compiler::for_host(&compilation, target, &mut progress)?,
        Some(interpreter) => {
            let neuron = args.neuron(interpreter, environment);
            compiler::for_neuron(&compilation, &neuron, target, &mut progress)?
        }
    };
    drop(bar);
    let work = Work {
        took: start.elapsed(),
        traced,
    };
    print_result(&bundle, Some(work), args.format)
}

/// What traces and compiles.
struct Tools {
    tracer: Tool,
    /// Absent where libtorch on the host runs the graphs.
    sdk: Option<Interpreter>,
}

impl Tools {
    fn find(profile: &ChipProfile, environment: &Environment) -> Result<Self> {
        let places = &environment.places;
        let sdk = match profile.compiler.kind {
            CompilerKind::Libtorch => None,
            CompilerKind::TorchNeuron | CompilerKind::TorchNeuronx => Some(places.sdk(profile)?),
        };
        Ok(Self {
            tracer: Tool::Torch(places.torch()?),
            sdk,
        })
    }
}

impl Args {
    fn neuron<'a>(&self, interpreter: Interpreter, environment: &Environment) -> Neuron<'a> {
        let places = &environment.places;
        Neuron {
            interpreter,
            work: environment.work(),
            memory: memory::available(&places.root).unwrap_or(u64::MAX),
            device: places.has_device(),
            analyze: false,
            deadline: DEADLINE,
            watch: None,
        }
    }

    fn profile(&self) -> Result<ChipProfile> {
        match &self.profile {
            Some(file) => profile::load_file(file),
            None => profile::load(&self.chip),
        }
    }

    fn options(&self, arguments: Asked) -> Options {
        Options {
            batch_sizes: self.batch_size.clone(),
            sequence_lengths: self.sequence_length.clone(),
            arguments,
            compiler_version: None,
            self_contained: self.self_contained,
        }
    }

    fn place(&self, plan: &Plan) -> PathBuf {
        let default = || PathBuf::from(format!("{}-{}", plan.name, plan.chip));
        self.output.clone().unwrap_or_else(default)
    }
}

/// Fetches and reads the small files that say what the model is.
fn read_checkpoint(snapshot: &Snapshot, task: Option<Task>, bars: &mut Bars) -> Result<Checkpoint> {
    if snapshot.listing == Listing::Cached {
        output::remark(&format!(
            "note: the cache does not say what {} holds; files that are not in it count as absent",
            snapshot.source
        ));
    }
    let listed: Vec<&str> = snapshot
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    let names = checkpoint::small_files(listed.iter().copied());
    let paths = snapshot.fetch(&names, &mut |progress| bars.download(progress))?;
    let mut small = BTreeMap::new();
    for (name, path) in names.into_iter().zip(paths) {
        small.insert(name.to_owned(), files::read(&path)?);
    }
    Checkpoint::read(&small, &listed, task)
}

/// The files that tracing needs beside those that decided the plan.
fn needed(checkpoint: &Checkpoint) -> Vec<&str> {
    let names = checkpoint
        .tokenizer_files
        .iter()
        .chain(&checkpoint.weight_files);
    names.map(String::as_str).collect()
}

fn identity(snapshot: &Snapshot, checkpoint: &Checkpoint) -> Result<Model> {
    let listed = snapshot.files.iter().map(|file| file.path.as_str());
    let mut names = checkpoint::small_files(listed);
    names.extend(needed(checkpoint));
    let mut digests = BTreeMap::new();
    for name in names {
        let digest = match snapshot.file(name).and_then(|file| file.digest.as_ref()) {
            Some(Digest::GitBlob(hex)) => format!("git:{hex}"),
            _ => format!("sha256:{}", snapshot.sha256(name)?),
        };
        digests.insert(name.to_owned(), digest);
    }
    Ok(Model {
        id: match &snapshot.source {
            hub::Source::Hub { id, .. } => Some(id.clone()),
            hub::Source::Folder(_) => None,
        },
        commit: snapshot.commit.clone(),
        files: digests,
    })
}

/// True when `place` holds the complete bundle of this very plan.
fn is_up_to_date(place: &Path, plan: &Plan) -> Result<bool> {
    if !Bundle::is_at(place) || Manifest::read(place)?.plan_key != plan.key()? {
        return Ok(false);
    }
    Bundle::open(place, Check::Sizes).map(|_| true)
}

/// A plan as it is printed.
#[derive(Serialize)]
struct PlanAnswer<'a> {
    schema_version: u32,
    plan_key: String,
    place: &'a Path,
    plan: &'a Plan,
}

fn print_plan(plan: &Plan, profile: &ChipProfile, place: &Path, format: Format) -> Result<()> {
    let plan_key = plan.key()?;
    if format == Format::Json {
        return output::json(&PlanAnswer {
            schema_version: 1,
            plan_key,
            place,
            plan,
        });
    }
    let list = |items: Vec<String>| items.join(", ");
    let model = match (&plan.model.id, &plan.model.commit) {
        (Some(id), Some(commit)) => format!("{id} at {commit}"),
        _ => plan.name.clone(),
    };
    let digests = plan
        .model
        .files
        .iter()
        .map(|(name, digest)| format!("{name} ({digest:.20}...)"));
    let lines = [
        ("model", model),
        ("task", plan.head.task().to_string()),
        ("chip", plan.chip.clone()),
        (
            "buckets",
            list(plan.buckets.iter().map(ToString::to_string).collect()),
        ),
        ("longest input", format!("{} tokens", plan.max_tokens)),
        (
            "arguments",
            list(arguments::shown(profile, &plan.arguments)),
        ),
        (
            "files",
            digests.collect::<Vec<_>>().join("\n                 "),
        ),
        ("bundle", place.display().to_string()),
        ("plan key", plan_key),
    ];
    let mut text = format!(
        "would trace {} into {} buckets; nothing was traced\n",
        plan.name,
        plan.buckets.len()
    );
    for (label, value) in lines {
        text.push_str(&format!("  {label:15}{value}\n"));
    }
    output::answer(&text)
}

/// What was done.
struct Work {
    took: Duration,
    traced: Vec<TracedBucket>,
}

/// A bucket and the time that tracing and saving it took.
#[derive(Serialize)]
struct TracedBucket {
    bucket: Bucket,
    millis: u64,
}

/// The outcome as it is printed.
#[derive(Serialize)]
struct ResultAnswer<'a> {
    schema_version: u32,
    /// False when the bundle was up to date.
    traced: bool,
    bundle: &'a Path,
    plan_key: &'a str,
    /// Of the whole bundle.
    bytes: u64,
    /// What was traced now, in the order in which it was done.
    buckets: Vec<TracedBucket>,
}

/// `work` is absent when there was nothing to do.
fn print_result(bundle: &Bundle, work: Option<Work>, format: Format) -> Result<()> {
    let plan = &bundle.manifest.plan;
    if format == Format::Json {
        return output::json(&ResultAnswer {
            schema_version: 1,
            traced: work.is_some(),
            bundle: bundle.folder(),
            plan_key: &bundle.manifest.plan_key,
            bytes: bundle.bytes(),
            buckets: work.map_or_else(Vec::new, |work| work.traced),
        });
    }
    let shown = bundle.folder().display();
    let what = format!(
        "{} for {}, {} buckets, {}",
        plan.name,
        plan.chip,
        plan.buckets.len(),
        megabytes(bundle.bytes())
    );
    output::answer(&match work {
        Some(Work { took, .. }) => format!(
            "traced {what} in {:.1} s\n  bundle: {shown}\n  next:   neuronc verify {shown}",
            took.as_secs_f64()
        ),
        None => format!("up to date: {what}\n  bundle: {shown}"),
    })
}
