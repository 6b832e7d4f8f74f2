//! Makes the plan that options ask for.

use anyhow::Result;

use crate::arguments::ParsedArguments;
use crate::checkpoint::{Checkpoint, Tracer};
use crate::cli::environment::Environment;
use crate::cli::flags::plan::PlanFlags;
use crate::cli::resolve::tracer::requested_tracer;
use crate::cli::resolve::{checkpoint_files, model, programs};
use crate::cli::terminal::print;
use crate::cli::terminal::progress_bars::Bars;
use crate::compiler::compilation::TracerProgram;
use crate::executor::describe;
use crate::executor::interpreter::Interpreter;
use crate::executor::job::{DescribeJob, PROTOCOL};
use crate::hub::{self, Snapshot};
use crate::plan::{self, Plan, PlanOptions};
use crate::profile::ChipProfile;

/// A plan, with the files and programs that it was made from.
pub(in crate::cli) struct Planned<'a> {
    pub(in crate::cli) plan: Plan,
    pub(in crate::cli) profile: &'a ChipProfile,
    pub(in crate::cli) checkpoint: Checkpoint,
    pub(in crate::cli) snapshot: Snapshot,
    /// The program that traces the model.
    pub(in crate::cli) tool: TracerProgram,
}

impl Planned<'_> {
    /// Fetches every file that tracing needs.
    pub(in crate::cli) fn fetch(&self, bars: &mut Bars) -> Result<()> {
        let names = checkpoint_files::needed(&self.checkpoint);
        let mut show = |progress: hub::DownloadProgress<'_>| bars.download(progress);
        match self.tool {
            TracerProgram::Torch(_) => self.snapshot.fetch(&names, &mut show)?,
            TracerProgram::Python(_) => self.snapshot.fetch_for_python(&names, &mut show)?,
        };
        Ok(())
    }
}

/// The options and the surroundings from which a plan is made.
pub(in crate::cli) struct Planner<'a> {
    pub(in crate::cli) flags: &'a PlanFlags,
    pub(in crate::cli) environment: &'a Environment,
    /// The interpreter of the chip's SDK, where one was found.
    pub(in crate::cli) sdk: Option<&'a Interpreter>,
    pub(in crate::cli) self_contained: bool,
}

impl Planner<'_> {
    /// The plan for the chip that `arguments` are for. Downloads the small files that decide it.
    pub(in crate::cli) fn plan<'p>(
        &self,
        arguments: ParsedArguments<'p>,
        bars: &mut Bars,
    ) -> Result<Planned<'p>> {
        let (flags, environment, sdk) = (self.flags, self.environment, self.sdk);
        let version = compiler_version(arguments.profile(), sdk);
        let arguments = arguments.check(version.as_deref())?;
        let profile = arguments.profile();
        let asked_tracer = requested_tracer(flags)?;
        let (recipe, source) = model::recipe_and_source(flags, &asked_tracer)?;
        let snapshot = hub::open(&source, &environment.hub(flags.offline))?;
        let task = flags.task.or(recipe.task);
        let mut checkpoint =
            checkpoint_files::load_checkpoint(&snapshot, task, &asked_tracer, bars)?;
        self.announce(&checkpoint);
        let tool = programs::tracer(&checkpoint, sdk, &environment.places)?;
        if let (TracerProgram::Python(interpreter), Tracer::Transformers { .. }) =
            (&tool, &checkpoint.tracer)
        {
            describe(&mut checkpoint, interpreter, &snapshot, environment, bars)?;
        }
        let model = checkpoint_files::identity(&snapshot, &checkpoint)?;
        let options = PlanOptions {
            batch_sizes: flags.batch_size.clone(),
            sequence_lengths: flags.sequence_length.clone(),
            self_contained: self.self_contained,
            versions: sdk
                .map(|sdk| sdk.probed.packages.clone())
                .unwrap_or_default(),
        };
        Ok(Planned {
            plan: plan::plan(&recipe, arguments, &checkpoint, model, &options)?,
            profile,
            checkpoint,
            snapshot,
            tool,
        })
    }

    /// Prints which tracer was chosen, where the user did not choose.
    fn announce(&self, checkpoint: &Checkpoint) {
        if let (None, Tracer::Transformers { model_type }) = (self.flags.tracer, &checkpoint.tracer)
        {
            print::remark(&format!(
                "note: `{model_type}` is not a family of neuronc; transformers traces it"
            ));
        }
    }
}

/// The version of the compiler on this machine, where one was found.
fn compiler_version(profile: &ChipProfile, sdk: Option<&Interpreter>) -> Option<String> {
    let package = profile.compiler.package.as_ref()?;
    sdk?.probed.packages.get(package).cloned()
}

/// Asks transformers for the inputs of the model's forward.
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
