//! The layers that encoders and heads are made of, with their weights by name.

use anyhow::Result;
use neuronc::family::{NormKind, NormSpec};
use tch::Tensor;

use crate::cast::Numerics;
use crate::model::weights::Weights;

/// The weights of a model, and how layers compute with them.
#[derive(Clone, Copy)]
pub(super) struct Layers<'a> {
    pub(super) weights: &'a Weights<'a>,
    pub(super) numerics: Numerics,
    pub(super) norm: NormSpec,
}

impl<'a> Layers<'a> {
    /// The table `name`, `[rows, size]`, as it is stored.
    pub(super) fn table(&self, name: &str) -> Result<&'a Tensor> {
        self.weights.get(&format!("{name}.weight"))
    }

    /// The rows `ids` of the table `name`: `[batch, sequence]` to `[batch, sequence, size]`.
    pub(super) fn look_up(&self, name: &str, ids: &Tensor) -> Result<Tensor> {
        let rows = Tensor::f_embedding(self.table(name)?, ids, -1, false, false)?;
        // A table that is a decoder as well is stored in the type of the decoder.
        self.numerics.enter(&rows)
    }

    /// The linear layer `name` over the last axis.
    pub(super) fn linear(&self, name: &str, input: &Tensor) -> Result<Tensor> {
        let weight = self.weights.get(&format!("{name}.weight"))?;
        let bias = self.weights.get(&format!("{name}.bias"))?;
        self.numerics.linear(input, weight, bias)
    }

    /// The norm `name` over the last axis.
    pub(super) fn norm(&self, name: &str, input: &Tensor) -> Result<Tensor> {
        match self.norm.kind {
            NormKind::Layer => {
                let scale = self.weights.get(&format!("{name}.weight"))?;
                let shift = self.weights.get(&format!("{name}.bias"))?;
                self.numerics
                    .layer_norm(input, scale, shift, self.norm.epsilon)
            }
        }
    }
}
