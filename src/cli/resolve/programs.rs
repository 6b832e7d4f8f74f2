//! The programs that a chip and a tracer need.

use anyhow::Result;

use crate::checkpoint::{Checkpoint, Tracer};
use crate::compiler::Tool;
use crate::executor::interpreter::Interpreter;
use crate::executor::probe::Places;
use crate::profile::ChipProfile;

/// The interpreter of the SDK that compiles for `profile`; `None` where libtorch on the host runs the
/// graphs.
pub(in crate::cli) fn sdk(profile: &ChipProfile, places: &Places) -> Result<Option<Interpreter>> {
    if profile.compiler.kind.is_host() {
        return Ok(None);
    }
    places.compiler(profile).map(Some)
}

/// What traces the model: Python traces in the SDK's interpreter where there is one.
pub(in crate::cli) fn tracer(
    checkpoint: &Checkpoint,
    sdk: Option<&Interpreter>,
    places: &Places,
) -> Result<Tool> {
    match (&checkpoint.tracer, sdk) {
        (Tracer::Native { .. }, _) => places.torch().map(Tool::Torch),
        (_, Some(interpreter)) => Ok(Tool::Python(interpreter.clone())),
        (Tracer::Transformers { .. }, None) => places.transformers().map(Tool::Python),
        (Tracer::Torchscript { .. }, None) => places.python_torch().map(Tool::Python),
    }
}
