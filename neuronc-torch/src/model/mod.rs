//! The forward of a model of any family, with every weight as an argument.
//!
//! `neuronc::family` says what a model consists of, as data; here each kind of operator is
//! implemented once: [`encoder`] up to the last hidden state, [`heads`] from there to the output,
//! [`pooling`] what sentence-transformers adds, [`layers`] what all of them are made of. Sizes are
//! read from the example inputs and become constants of the graph. Start with [`Forward::output`].

mod encoder;
mod heads;
mod layers;
mod pooling;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use neuronc::bucket::Input;
use neuronc::family::ModelSpec;
use neuronc::profile::Attention;
use tch::Tensor;

use crate::cast::Numerics;
use crate::model::encoder::Encoder;
use crate::model::layers::Layers;

/// Added to what the mask hides. Not the smallest number of the type: that overflows where a chip or
/// a cast mode computes in a smaller type, and a row of nothing but infinities becomes NaN. Its
/// exponential is 0 in every type.
const HIDDEN: f64 = -30_000.0;

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

/// The weights of a forward by their names in bundles.
pub struct Weights<'a>(BTreeMap<&'a str, &'a Tensor>);

impl<'a> Weights<'a> {
    /// Fails when there are not as many tensors as names.
    pub fn new(names: &'a [String], tensors: &'a [Tensor]) -> Result<Self> {
        ensure!(
            names.len() == tensors.len(),
            "{} weights for {} names",
            tensors.len(),
            names.len()
        );
        let names = names.iter().map(String::as_str);
        Ok(Self(names.zip(tensors).collect()))
    }

    fn get(&self, name: &str) -> Result<&'a Tensor> {
        let weight = self.0.get(name).copied();
        weight.with_context(|| format!("the forward takes no weight `{name}`"))
    }
}

/// The inputs of a forward for one bucket, shaped as [`Input`] says.
pub struct Inputs<'a> {
    ids: &'a Tensor,
    mask: &'a Tensor,
    types: Option<&'a Tensor>,
    position: Option<&'a Tensor>,
}

impl<'a> Inputs<'a> {
    /// `tensors` are in the order `order`. Ids and mask must be there; the forward fails when it needs
    /// another that is not.
    pub fn new(order: &[Input], tensors: &'a [Tensor]) -> Result<Self> {
        let of = |wanted: Input| {
            let mut pairs = order.iter().zip(tensors);
            pairs
                .find(|(input, _)| **input == wanted)
                .map(|(_, tensor)| tensor)
        };
        let needed = |wanted| present(wanted, of(wanted));
        Ok(Self {
            ids: needed(Input::InputIds)?,
            mask: needed(Input::AttentionMask)?,
            types: of(Input::TokenTypeIds),
            position: of(Input::Position),
        })
    }

    /// Batch and sequence of the bucket.
    fn bucket(&self) -> Result<(i64, i64)> {
        Ok(self.ids.size2()?)
    }

    /// The segment of each token, `[batch, sequence]`.
    fn types(&self) -> Result<&'a Tensor> {
        present(Input::TokenTypeIds, self.types)
    }

    /// 0 for a token and [`HIDDEN`] for padding, `[batch, sequence]`, fp32.
    fn penalties(&self) -> Result<Tensor> {
        Ok(self
            .mask_as_float()?
            .f_sub_scalar(1.0)?
            .f_mul_scalar(-HIDDEN)?)
    }

    fn mask_as_float(&self) -> Result<Tensor> {
        Ok(self.mask.f_to_dtype(tch::Kind::Float, false, false)?)
    }

    /// `hidden[row, position[row]]` of every row: `[batch, sequence, size]` to `[batch, size]`.
    fn select_position(&self, hidden: &Tensor) -> Result<Tensor> {
        let position = present(Input::Position, self.position)?;
        // Row by row: a chip has `index_select` and no `gather`. A `split` would be shorter, but
        // torch-xla aborts when something indexes with a part of it.
        let rows = hidden.f_unbind(0)?;
        let positions = position.f_view([-1, 1])?.f_unbind(0)?;
        let selected: Result<Vec<Tensor>, _> = rows
            .iter()
            .zip(&positions)
            .map(|(row, position)| row.f_index_select(0, position))
            .collect();
        Ok(Tensor::f_cat(&selected?, 0)?)
    }
}

fn present(input: Input, tensor: Option<&Tensor>) -> Result<&Tensor> {
    tensor.with_context(|| format!("input {input:?} is missing"))
}
