//! From the options that say what is compiled for which chip to a plan: what `trace` and `rehearse`
//! have in common.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::arguments::{self, Asked};
use crate::bucket::Input;
use crate::checkpoint::{self, Checkpoint, Tracer, TracerChoice};
use crate::cli::compiler_flags::CompilerFlags;
use crate::cli::environment::Environment;
use crate::cli::output;
use crate::cli::progress::Bars;
use crate::cli::{model_files, model_source, tools};
use crate::compiler::Tool;
use crate::executor::describe;
use crate::executor::interpreter::Interpreter;
use crate::executor::job::{DescribeJob, PROTOCOL};
use crate::failure::Failure;
use crate::files;
use crate::hub::{self, Snapshot, Source};
use crate::plan::{self, Options, Plan};
use crate::profile::{self, ChipProfile};
use crate::recipe::{Recipe, Task};

/// What is compiled, and how.
#[derive(Debug, clap::Args)]
pub(super) struct PlanFlags {
    /// A Hub id (`org/name`), a model folder, the name of a recipe, or a recipe file.
    model: String,

    /// The chip to compile for.
    #[arg(long, default_value = "cpu")]
    chip: String,

    /// A chip profile of your own, instead of one that neuronc has.
    #[arg(long, value_name = "FILE", conflicts_with = "chip")]
    profile: Option<PathBuf>,

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

    /// The Neuron SDK, or a Python with transformers: a virtual environment or an interpreter
    /// [default: the places that the profile names, then `python3` on PATH].
    #[arg(long, value_name = "PATH")]
    pub(super) sdk: Option<PathBuf>,

    /// What traces the model: native, transformers or torchscript [default: native for the families
    /// of neuronc, else transformers].
    #[arg(long)]
    tracer: Option<TracerChoice>,

    /// What a TorchScript file takes, in its order; MODEL is the file, beside config.json and
    /// tokenizer.json [default: input_ids,attention_mask].
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME,...")]
    inputs: Option<Vec<Input>>,

    /// Use only what the Hub cache holds.
    #[arg(long)]
    offline: bool,

    #[command(flatten)]
    compiler: CompilerFlags,
}

/// A plan, and what it was made of.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) profile: ChipProfile,
    pub(super) checkpoint: Checkpoint,
    pub(super) snapshot: Snapshot,
    /// What traces the model.
    pub(super) tool: Tool,
}

impl Planned {
    /// Fetches every file that tracing needs.
    pub(super) fn fetch(&self, bars: &mut Bars) -> Result<()> {
        let names = model_files::needed(&self.checkpoint);
        let mut show = |progress: hub::Progress<'_>| bars.download(progress);
        match self.tool {
            Tool::Torch(_) => self.snapshot.fetch(&names, &mut show)?,
            Tool::Python(_) => self.snapshot.fetch_for_python(&names, &mut show)?,
        };
        Ok(())
    }
}

impl PlanFlags {
    pub(super) fn profile(&self) -> Result<ChipProfile> {
        match &self.profile {
            Some(file) => profile::load_file(file),
            None => profile::load(&self.chip),
        }
    }

    /// What is asked of the tracer.
    fn tracer(&self) -> Result<checkpoint::Asked> {
        let path = Path::new(&self.model);
        let ends = path.extension();
        let is_file = ends.is_some_and(|end| end == "pt" || end == "pth") && path.is_file();
        let asked = match (self.tracer, is_file) {
            (Some(TracerChoice::Torchscript) | None, true) => checkpoint::Asked::Torchscript {
                file: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                inputs: self
                    .inputs
                    .clone()
                    .unwrap_or_else(|| vec![Input::InputIds, Input::AttentionMask]),
            },
            (Some(TracerChoice::Torchscript), false) => {
                return Err(
                    Failure::usage(format!("`{}` is no TorchScript file", self.model))
                        .why("`--tracer torchscript` takes the path of a `.pt` file")
                        .help("give the file, with config.json and tokenizer.json beside it")
                        .into(),
                );
            }
            (Some(TracerChoice::Native | TracerChoice::Transformers), true) => {
                return Err(
                    Failure::usage(format!("`{}` is a TorchScript file", self.model))
                        .why("it holds the traced model, and no other tracer reads it")
                        .help("leave out `--tracer`, or give the model's folder")
                        .into(),
                );
            }
            (Some(TracerChoice::Native), _) => checkpoint::Asked::Native,
            (Some(TracerChoice::Transformers), _) => checkpoint::Asked::Transformers,
            (None, false) => checkpoint::Asked::Nothing,
        };
        match (&asked, &self.inputs) {
            (checkpoint::Asked::Torchscript { .. }, _) | (_, None) => Ok(asked),
            (_, Some(_)) => Err(Failure::usage("`--inputs` is for TorchScript files")
                .why("what other models take is known")
                .help("leave it out, or give a `.pt` file")
                .into()),
        }
    }

    /// Where the model's files are: those of a TorchScript file lie beside it.
    fn source(&self, tracer: &checkpoint::Asked) -> Result<(Recipe, Source)> {
        let path = Path::new(&self.model);
        match tracer {
            checkpoint::Asked::Torchscript { .. } => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                let folder = std::path::absolute(files::parent(path))?;
                Ok((
                    Recipe::for_model(&name, &name, None),
                    Source::Folder(folder),
                ))
            }
            _ => model_source::resolve(&self.model, self.revision.as_deref()),
        }
    }

    /// What is asked of the compiler; a mistake shows before anything else is done.
    pub(super) fn asked(&self, profile: &ChipProfile) -> Result<Asked> {
        self.compiler.request().read(profile)
    }
}

/// What a plan is made with, beside the options.
pub(super) struct Planner<'a> {
    pub(super) flags: &'a PlanFlags,
    pub(super) environment: &'a Environment,
    /// The interpreter of the chip's SDK, where one was found.
    pub(super) sdk: Option<&'a Interpreter>,
    pub(super) self_contained: bool,
}

impl Planner<'_> {
    /// The plan for `profile`. Downloads the small files that decide it.
    pub(super) fn plan(&self, profile: ChipProfile, bars: &mut Bars) -> Result<Planned> {
        let (flags, environment, sdk) = (self.flags, self.environment, self.sdk);
        let asked = flags.asked(&profile)?;
        let version = compiler_version(&profile, sdk);
        arguments::resolve(&profile, &asked, version.as_deref())?;
        let asked_tracer = flags.tracer()?;
        let (recipe, source) = flags.source(&asked_tracer)?;
        let snapshot = hub::open(&source, &environment.hub(flags.offline))?;
        let task = flags.task.or(recipe.task);
        let mut checkpoint = model_files::read_checkpoint(&snapshot, task, &asked_tracer, bars)?;
        self.announce(&checkpoint);
        let tool = tools::tracer(&checkpoint, sdk, &environment.places)?;
        if let (Tool::Python(interpreter), Tracer::Transformers { .. }) =
            (&tool, &checkpoint.tracer)
        {
            describe(&mut checkpoint, interpreter, &snapshot, environment, bars)?;
        }
        let model = model_files::identity(&snapshot, &checkpoint)?;
        let options = Options {
            batch_sizes: flags.batch_size.clone(),
            sequence_lengths: flags.sequence_length.clone(),
            arguments: asked,
            compiler_version: version,
            self_contained: self.self_contained,
            versions: sdk
                .map(|sdk| sdk.probed.packages.clone())
                .unwrap_or_default(),
        };
        Ok(Planned {
            plan: plan::plan(&recipe, &profile, &checkpoint, model, &options)?,
            profile,
            checkpoint,
            snapshot,
            tool,
        })
    }

    /// Says which tracer was chosen where nobody asked for it.
    fn announce(&self, checkpoint: &Checkpoint) {
        if let (None, Tracer::Transformers { model_type }) = (self.flags.tracer, &checkpoint.tracer)
        {
            output::remark(&format!(
                "note: `{model_type}` is not a family of neuronc; transformers traces it"
            ));
        }
    }
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
