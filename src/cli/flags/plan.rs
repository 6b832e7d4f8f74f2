//! The options of `trace` and `rehearse` that say which model is compiled for which chip.

use std::path::PathBuf;

use anyhow::Result;

use crate::arguments::ParsedArguments;
use crate::bucket::Input;
use crate::checkpoint::TracerChoice;
use crate::cli::flags::compiler::CompilerFlags;
use crate::profile::{self, ChipProfile};
use crate::recipe::Task;

/// The model, the chip, the buckets and the tools.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PlanFlags {
    /// A Hub id (`org/name`), a model folder, the name of a recipe, or a recipe file.
    pub(in crate::cli) model: String,

    /// The chip to compile for.
    #[arg(long, default_value = "cpu")]
    pub(in crate::cli) chip: String,

    /// A chip profile of your own, instead of one that neuronc has.
    #[arg(long, value_name = "FILE", conflicts_with = "chip")]
    pub(in crate::cli) profile: Option<PathBuf>,

    /// A branch, tag, pull request or commit of the model on the Hub.
    #[arg(long)]
    pub(in crate::cli) revision: Option<String>,

    /// What the model is asked to do [default: what its config says].
    #[arg(long)]
    pub(in crate::cli) task: Option<Task>,

    /// Rows of a batch; each with every sequence length makes a bucket [default: recipe or profile].
    #[arg(long, value_delimiter = ',', value_name = "N,N,...")]
    pub(in crate::cli) batch_size: Option<Vec<usize>>,

    /// Tokens of a row [default: recipe or profile].
    #[arg(long, value_delimiter = ',', value_name = "N,N,...")]
    pub(in crate::cli) sequence_length: Option<Vec<usize>>,

    /// The Neuron SDK, or a Python with transformers: a virtual environment or an interpreter
    /// [default: the places that the profile names, then `python3` on PATH].
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) sdk: Option<PathBuf>,

    /// What traces the model: native, transformers or torchscript [default: native for the families
    /// of neuronc, else transformers].
    #[arg(long)]
    pub(in crate::cli) tracer: Option<TracerChoice>,

    /// What a TorchScript file takes, in its order; MODEL is the file, beside config.json and
    /// tokenizer.json [default: input_ids,attention_mask].
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME,...")]
    pub(in crate::cli) inputs: Option<Vec<Input>>,

    /// Use only what the Hub cache holds.
    #[arg(long)]
    pub(in crate::cli) offline: bool,

    #[command(flatten)]
    pub(in crate::cli) compiler: CompilerFlags,
}

impl PlanFlags {
    pub(in crate::cli) fn profile(&self) -> Result<ChipProfile> {
        match &self.profile {
            Some(file) => profile::load_file(file),
            None => profile::load(&self.chip),
        }
    }

    /// The compiler arguments; a mistake shows before anything else is done.
    pub(in crate::cli) fn arguments<'a>(
        &self,
        profile: &'a ChipProfile,
    ) -> Result<ParsedArguments<'a>> {
        self.compiler.typed().parse(profile)
    }
}
