//! From token embeddings to the embedding of a text, as sentence-transformers does it; in fp32.

use anyhow::Result;
use neuronc::family::Pooling;
use tch::Tensor;

use crate::model::inputs::Inputs;

/// Keeps the mean of a row that is all padding finite.
const TOKENS_MIN: f64 = 1e-9;

/// Keeps the direction of a vector of zeros finite.
const LENGTH_MIN: f64 = 1e-12;

/// `[batch, sequence, hidden]` to `[batch, hidden]`.
pub(super) fn pool(hidden: &Tensor, inputs: &Inputs, pooling: Pooling) -> Result<Tensor> {
    Ok(match pooling {
        Pooling::Mean => {
            let mask = inputs.mask_as_float()?.f_unsqueeze(-1)?;
            let sum = hidden.f_mul(&mask)?.f_sum_dim_intlist(1, false, None)?;
            let tokens = mask.f_sum_dim_intlist(1, false, None)?;
            sum.f_div(&tokens.f_clamp_min(TOKENS_MIN)?)?
        }
        Pooling::Cls => hidden.f_select(1, 0)?,
        Pooling::Max => {
            let penalties = inputs.penalties()?.f_unsqueeze(-1)?;
            hidden.f_add(&penalties)?.f_amax(1, false)?
        }
    })
}

/// Each row of `[batch, hidden]` scaled to length 1.
pub(super) fn normalize(embeddings: &Tensor) -> Result<Tensor> {
    let squares = embeddings.f_mul(embeddings)?;
    let length = squares.f_sum_dim_intlist(-1, true, None)?.f_sqrt()?;
    Ok(embeddings.f_div(&length.f_clamp_min(LENGTH_MIN)?)?)
}
