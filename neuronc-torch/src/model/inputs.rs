//! What a forward takes beside the weights, and what follows from it: penalties, masks, positions.

use anyhow::{Context as _, Result};
use neuronc::bucket::Input;
use tch::Tensor;

/// Added to what the mask hides. Not the smallest number of the type: that overflows where a chip or
/// a cast mode computes in a smaller type, and a row of nothing but infinities becomes NaN. Its
/// exponential is 0 in every type.
const HIDDEN: f64 = -30_000.0;

/// The inputs of a forward for one bucket, shaped as [`Input`] says.
pub struct Inputs<'a> {
    pub(super) ids: &'a Tensor,
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
    pub(super) fn bucket(&self) -> Result<(i64, i64)> {
        Ok(self.ids.size2()?)
    }

    /// The segment of each token, `[batch, sequence]`.
    pub(super) fn types(&self) -> Result<&'a Tensor> {
        present(Input::TokenTypeIds, self.types)
    }

    /// 0 for a token and [`HIDDEN`] for padding, `[batch, sequence]`, fp32.
    pub(super) fn penalties(&self) -> Result<Tensor> {
        Ok(self
            .mask_as_float()?
            .f_sub_scalar(1.0)?
            .f_mul_scalar(-HIDDEN)?)
    }

    pub(super) fn mask_as_float(&self) -> Result<Tensor> {
        Ok(self.mask.f_to_dtype(tch::Kind::Float, false, false)?)
    }

    /// `hidden[row, position[row]]` of every row: `[batch, sequence, size]` to `[batch, size]`.
    pub(super) fn select_position(&self, hidden: &Tensor) -> Result<Tensor> {
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
