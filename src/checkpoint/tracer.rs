//! The tracer of a model, which turns it into graphs, and how it is chosen.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bucket::Input;
use crate::failure::{Failure, known_names};
use crate::family::{self, Head, ModelSpec};
use crate::recipe::Task;

/// The tracer of a model: whose forward function is traced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "tracer", rename_all = "kebab-case")]
pub enum Tracer {
    /// neuronc's own, of one of its families; `neuronc-torch` traces it.
    Native { spec: ModelSpec },
    /// The one of transformers; a Python interpreter that has it traces it.
    Transformers { model_type: String },
    /// A TorchScript file is the graph of every bucket, as it is.
    Torchscript { file: String },
}

/// The tracers that a user can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TracerChoice {
    Native,
    Transformers,
    Torchscript,
}

/// The tracer that a user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestedTracer {
    /// None: native where the family is one of ours, else transformers.
    Automatic,
    Native,
    Transformers,
    /// A TorchScript file in the model's folder, and what it takes, in its order.
    Torchscript {
        file: String,
        inputs: Vec<Input>,
    },
}

impl FromStr for TracerChoice {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "native" => Ok(Self::Native),
            "transformers" => Ok(Self::Transformers),
            "torchscript" => Ok(Self::Torchscript),
            other => Err(
                Failure::usage(format!("tracer `{other}` is unknown")).help(known_names(
                    other,
                    ["native", "transformers", "torchscript"],
                )),
            ),
        }
    }
}

impl Tracer {
    /// The specification of a model that neuronc traces itself.
    pub fn spec(&self) -> Option<&ModelSpec> {
        match self {
            Tracer::Native { spec } => Some(spec),
            Tracer::Transformers { .. } | Tracer::Torchscript { .. } => None,
        }
    }
}

/// The number of tokens that the positions of a model cover, under the names that configs have for it.
pub(super) fn positions_of(config: &Value) -> usize {
    let names = ["max_position_embeddings", "n_positions"];
    let found = names.iter().find_map(|name| config.get(name)?.as_u64());
    found
        .and_then(|positions| usize::try_from(positions).ok())
        .unwrap_or(usize::MAX)
}

/// The position that is asked for is neuronc's own input: the wrapper around the file takes it.
pub(super) fn torchscript_inputs(named: &[Input], head: &Head) -> Vec<Input> {
    let mut inputs = named.to_vec();
    if head.task() == Task::FillMask && !inputs.contains(&Input::Position) {
        inputs.push(Input::Position);
    }
    inputs
}

/// The model type of a model that transformers traces: asked for, or of no family of ours.
pub(super) fn for_transformers(config: &Value, tracer: &RequestedTracer) -> Option<String> {
    let model_type = config.get("model_type")?.as_str()?;
    let chosen = match tracer {
        RequestedTracer::Transformers => true,
        RequestedTracer::Automatic => !family::is_native(model_type),
        RequestedTracer::Native | RequestedTracer::Torchscript { .. } => false,
    };
    chosen.then(|| model_type.to_owned())
}
