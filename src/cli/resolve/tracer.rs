//! The tracer that options ask for.

use std::path::Path;

use anyhow::Result;

use crate::bucket::Input;
use crate::checkpoint::{self, TracerChoice};
use crate::cli::flags::plan::PlanFlags;
use crate::failure::Failure;

/// What the options ask of the tracer; refuses those that conflict.
pub(super) fn requested_tracer(flags: &PlanFlags) -> Result<checkpoint::RequestedTracer> {
    let path = Path::new(&flags.model);
    let ends = path.extension();
    let is_file = ends.is_some_and(|end| end == "pt" || end == "pth") && path.is_file();
    let asked = match (flags.tracer, is_file) {
        (Some(TracerChoice::Torchscript) | None, true) => {
            checkpoint::RequestedTracer::Torchscript {
                file: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                inputs: flags
                    .inputs
                    .clone()
                    .unwrap_or_else(|| vec![Input::InputIds, Input::AttentionMask]),
            }
        }
        (Some(TracerChoice::Torchscript), false) => {
            return Err(
                Failure::usage(format!("`{}` is not a TorchScript file", flags.model))
                    .why("`--tracer torchscript` takes the path of a `.pt` file")
                    .help("give the file, with config.json and tokenizer.json beside it")
                    .into(),
            );
        }
        (Some(TracerChoice::Native | TracerChoice::Transformers), true) => {
            return Err(
                Failure::usage(format!("`{}` is a TorchScript file", flags.model))
                    .why("it holds the traced model, and no other tracer reads it")
                    .help("leave out `--tracer`, or give the model's folder")
                    .into(),
            );
        }
        (Some(TracerChoice::Native), _) => checkpoint::RequestedTracer::Native,
        (Some(TracerChoice::Transformers), _) => checkpoint::RequestedTracer::Transformers,
        (None, false) => checkpoint::RequestedTracer::Automatic,
    };
    match (&asked, &flags.inputs) {
        (checkpoint::RequestedTracer::Torchscript { .. }, _) | (_, None) => Ok(asked),
        (_, Some(_)) => Err(Failure::usage("`--inputs` is for TorchScript files")
            .why("what other models take is known")
            .help("leave it out, or give a `.pt` file")
            .into()),
    }
}
