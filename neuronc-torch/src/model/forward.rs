//! From the specification of a model, with weights and inputs, to its output.

use anyhow::Result;
use neuronc::family::ModelSpec;
use neuronc::profile::Attention;
use tch::Tensor;

use crate::cast::Numerics;
use crate::model::encoder::Encoder;
use crate::model::heads;
use crate::model::inputs::Inputs;
use crate::model::layers::Layers;
use crate::model::weights::Weights;

/// Everything that decides which operators a forward consists of, but the sizes of the bucket.
#[derive(Debug, Clone)]
pub struct Forward {
    pub spec: ModelSpec,
    pub attention: Attention,
    pub numerics: Numerics,
}

impl Forward {
    /// The output of the head for one bucket, fp32, shaped as [`neuronc::family::Head`] says. Fails
    /// when a weight or an input is missing, and when libtorch refuses an operator, such as for an id
    /// beyond the vocabulary.
    pub fn output(&self, weights: &Weights, inputs: &Inputs) -> Result<Tensor> {
        let layers = Layers {
            weights,
            numerics: self.numerics,
            norm: self.spec.encoder.norm,
        };
        let encoder = Encoder {
            spec: &self.spec.encoder,
            attention: self.attention,
            layers,
        };
        let hidden = encoder.encode(inputs)?;
        heads::apply(&self.spec.head, &layers, &hidden, inputs)
    }
}
