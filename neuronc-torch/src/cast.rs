//! Cast modes: which operators run in which float type, so that no model has to know.

use anyhow::Result;
use neuronc::cast::{Cast, CastMode, CastType};
use neuronc::family::Activation;
use neuronc::family::weights::WeightUse;
use tch::{Kind, Tensor};

/// The float types of a forward function, and the operators in them.
///
/// Between operators activations have the type of everything that is not a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numerics {
    matmul: Kind,
    other: Kind,
}

/// Query, key and value of an attention, each `[batch, heads, sequence, size]`.
pub struct Heads {
    pub query: Tensor,
    pub key: Tensor,
    pub value: Tensor,
}

impl Numerics {
    pub const FP32: Numerics = Numerics {
        matmul: Kind::Float,
        other: Kind::Float,
    };

    /// The types that `cast` asks for.
    pub fn of(cast: Cast) -> Self {
        let smaller = match cast.to {
            CastType::Bf16 => Kind::BFloat16,
            CastType::Fp16 => Kind::Half,
        };
        match cast.mode {
            CastMode::None => Self::FP32,
            CastMode::Matmult => Self {
                matmul: smaller,
                other: Kind::Float,
            },
            CastMode::All => Self {
                matmul: smaller,
                other: smaller,
            },
        }
    }

    /// The type in which a bundle holds a weight.
    pub fn stored(self, used_as: WeightUse) -> Kind {
        match used_as {
            WeightUse::Matmul => self.matmul,
            WeightUse::Embedding | WeightUse::Other => self.other,
        }
    }

    /// `input` on its way into the encoder.
    pub fn enter(self, input: &Tensor) -> Result<Tensor> {
        to(input, self.other)
    }

    /// `output` on its way out of the graph: always fp32.
    pub fn leave(self, output: &Tensor) -> Result<Tensor> {
        to(output, Kind::Float)
    }

    /// `[.., inputs]` to `[.., outputs]` by a weight `[outputs, inputs]` and a bias `[outputs]`.
    ///
    /// The bias is added before the sum is rounded, as libtorch does within one operator.
    pub fn linear(self, input: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let bias = to(bias, self.matmul)?;
        let output = to(input, self.matmul)?.f_linear(&to(weight, self.matmul)?, Some(&bias))?;
        to(&output, self.other)
    }

    /// The product of the last two axes.
    pub fn matmul(self, left: &Tensor, right: &Tensor) -> Result<Tensor> {
        let product = to(left, self.matmul)?.f_matmul(&to(right, self.matmul)?)?;
        to(&product, self.other)
    }

    /// Attention as one operator; `mask` is added to the scores, which are scaled by the root of
    /// the head size.
    pub fn attention(self, heads: &Heads, mask: &Tensor) -> Result<Tensor> {
        let output = Tensor::f_scaled_dot_product_attention(
            &to(&heads.query, self.matmul)?,
            &to(&heads.key, self.matmul)?,
            &to(&heads.value, self.matmul)?,
            Some(&to(mask, self.matmul)?),
            0.0,
            false,
            None,
            false,
        )?;
        to(&output, self.other)
    }

    /// Over the last axis.
    pub fn softmax(self, scores: &Tensor) -> Result<Tensor> {
        Ok(scores.f_softmax(-1, None)?)
    }

    pub fn activation(self, input: &Tensor, activation: Activation) -> Result<Tensor> {
        Ok(match activation {
            Activation::Gelu => input.f_gelu("none")?,
            Activation::GeluTanh => input.f_gelu("tanh")?,
            Activation::Relu => input.f_relu()?,
            Activation::Tanh => input.f_tanh()?,
        })
    }

    /// Over the last axis, with a scale and a shift of its size.
    pub fn layer_norm(
        self,
        input: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        epsilon: f64,
    ) -> Result<Tensor> {
        Ok(input.f_layer_norm(scale.size(), Some(scale), Some(shift), epsilon, false)?)
    }
}

/// `tensor` as `kind`; adds nothing to a trace when it is that already. Of tch's casts only this one
/// records no device.
fn to(tensor: &Tensor, kind: Kind) -> Result<Tensor> {
    if tensor.f_kind()? == kind {
        return Ok(tensor.shallow_clone());
    }
    Ok(tensor.f_to_dtype(kind, false, false)?)
}
