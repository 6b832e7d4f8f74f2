//! The forward functions of the native families, with every weight as an argument.
//!
//! One file per family, as in `neuronc::family`, which says which weights and inputs a family takes
//! and in which order; [`pooling`] is what sentence-transformers adds to any of them. Sizes are read
//! from the example inputs and become constants of the graph. Start with [`Model::forward`].

mod bert;
mod pooling;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use neuronc::bucket::Input;
use neuronc::family::{Family, Head};
use neuronc::profile::Attention;
use tch::Tensor;

use crate::cast::Numerics;

/// Added to what the mask hides. Not the smallest number of the type: that overflows where a chip or
/// a cast mode computes in a smaller type, and a row of nothing but infinities becomes NaN. Its
/// exponential is 0 in every type.
const HIDDEN: f64 = -30_000.0;

/// Everything that decides which operators a forward consists of, but the sizes of the bucket.
#[derive(Debug, Clone)]
pub struct Model {
    pub family: Family,
    pub head: Head,
    pub attention: Attention,
    pub numerics: Numerics,
}

impl Model {
    /// The output of the head for one bucket, fp32, shaped as [`Head`] says. Fails when a weight or
    /// an input is missing, and when libtorch refuses an operator, such as for an id beyond the
    /// vocabulary.
    pub fn forward(&self, weights: &Weights, inputs: &Inputs) -> Result<Tensor> {
        match &self.family {
            Family::Bert(config) => bert::forward(config, self, weights, inputs),
        }
    }

    /// Token ids are below this.
    pub fn vocabulary(&self) -> usize {
        match &self.family {
            Family::Bert(config) => config.vocab_size,
        }
    }

    /// Segment ids are below this.
    pub fn segments(&self) -> usize {
        match &self.family {
            Family::Bert(config) => config.type_vocab_size,
        }
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
    types: &'a Tensor,
    position: Option<&'a Tensor>,
}

impl<'a> Inputs<'a> {
    /// `tensors` are in the order `order`; only the position may be missing.
    pub fn new(order: &[Input], tensors: &'a [Tensor]) -> Result<Self> {
        let of = |wanted: Input| {
            let mut pairs = order.iter().zip(tensors);
            pairs
                .find(|(input, _)| **input == wanted)
                .map(|(_, tensor)| tensor)
        };
        let needed = |wanted| of(wanted).with_context(|| format!("input {wanted:?} is missing"));
        Ok(Self {
            ids: needed(Input::InputIds)?,
            mask: needed(Input::AttentionMask)?,
            types: needed(Input::TokenTypeIds)?,
            position: of(Input::Position),
        })
    }

    /// Batch and sequence of the bucket.
    fn bucket(&self) -> Result<(i64, i64)> {
        Ok(self.ids.size2()?)
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
        let Some(position) = self.position else {
            bail!("input {:?} is missing", Input::Position);
        };
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
