//! Heads: the steps from the last hidden state to the output of the graph.

use anyhow::Result;
use neuronc::family::{EncoderPart, HeadStep};
use tch::Tensor;

use crate::model::inputs::Inputs;
use crate::model::layers::Layers;
use crate::model::pooling;

/// The output of `steps` on `hidden`, `[batch, sequence, hidden]`, in fp32.
pub(super) fn apply(
    steps: &[HeadStep],
    layers: &Layers,
    hidden: &Tensor,
    inputs: &Inputs,
) -> Result<Tensor> {
    let mut output = hidden.shallow_clone();
    for step in steps {
        output = take(step, layers, &output, inputs)?;
    }
    layers.numerics.leave(&output)
}

fn take(step: &HeadStep, layers: &Layers, input: &Tensor, inputs: &Inputs) -> Result<Tensor> {
    match step {
        HeadStep::Pool(pooling) => pooling::pool(&layers.numerics.leave(input)?, inputs, *pooling),
        HeadStep::Normalize => pooling::normalize(input),
        HeadStep::FirstToken => Ok(input.f_select(1, 0)?),
        HeadStep::TokenAtPosition => inputs.select_position(input),
        HeadStep::Dense {
            name, activation, ..
        } => {
            let output = layers.linear(name, input)?;
            match activation {
                Some(activation) => layers.numerics.activation(&output, *activation),
                None => Ok(output),
            }
        }
        HeadStep::Norm { name } => layers.norm(name, input),
        HeadStep::Decode { table, bias, .. } => {
            let words = EncoderPart::Words.name();
            let table = layers.table(table.as_deref().unwrap_or(words))?;
            let bias = layers.weights.get(bias)?;
            layers.numerics.linear(input, table, bias)
        }
    }
}
