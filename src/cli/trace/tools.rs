//! The programs that `neuronc trace` needs for a chip and a tracer.

use anyhow::Result;

use crate::checkpoint::{Checkpoint, Tracer};
use crate::cli::environment::Environment;
use crate::compiler::Tool;
use crate::executor::interpreter::Interpreter;
use crate::executor::probe::Places;
use crate::profile::{ChipProfile, CompilerKind};

/// The interpreter of the SDK that compiles for `profile`; `None` where libtorch on the host runs the
/// graphs.
pub(crate) fn sdk(profile: &ChipProfile, places: &Places) -> Result<Option<Interpreter>> {
    match profile.compiler.kind {
        CompilerKind::Libtorch => Ok(None),
        CompilerKind::TorchNeuron | CompilerKind::TorchNeuronx => places.sdk(profile).map(Some),
    }
}

/// What traces the model: transformers traces in the SDK's interpreter where there is one.
pub(crate) fn tracer(
    checkpoint: &Checkpoint,
    sdk: Option<&Interpreter>,
    environment: &Environment,
) -> Result<Tool> {
    match (&checkpoint.tracer, sdk) {
        (Tracer::Native { .. } | Tracer::Torchscript { .. }, _) => {
            environment.places.torch().map(Tool::Torch)
        }
        (Tracer::Transformers { .. }, Some(interpreter)) => Ok(Tool::Python(interpreter.clone())),
        (Tracer::Transformers { .. }, None) => environment.places.transformers().map(Tool::Python),
    }
}
