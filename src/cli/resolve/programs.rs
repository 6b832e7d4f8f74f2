//! The programs that a chip and a tracer need.

use anyhow::Result;

use crate::checkpoint::{Checkpoint, Tracer};
use crate::compiler::compilation::TracerProgram;
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

/// The program that traces the model. Where Python traces, it is the SDK's interpreter, if there is one.
pub(in crate::cli) fn tracer(
    checkpoint: &Checkpoint,
    sdk: Option<&Interpreter>,
    places: &Places,
) -> Result<TracerProgram> {
    match (&checkpoint.tracer, sdk) {
        (Tracer::Native { .. }, _) => places.torch().map(TracerProgram::Torch),
        (_, Some(interpreter)) => Ok(TracerProgram::Python(interpreter.clone())),
        (Tracer::Transformers { .. }, None) => places.transformers().map(TracerProgram::Python),
        (Tracer::Torchscript { .. }, None) => places.python_torch().map(TracerProgram::Python),
    }
}
