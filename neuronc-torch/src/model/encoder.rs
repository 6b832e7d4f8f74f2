//! The encoder of any family: embeddings, and layers of attention and feed-forward.

use anyhow::Result;
use neuronc::family::{EncoderPart, EncoderSpec, FeedForwardKind, NormPlace, PositionSpec};
use neuronc::profile::Attention;
use tch::Tensor;

use crate::cast::Heads;
use crate::model::inputs::Inputs;
use crate::model::layers::Layers;

/// An encoder with its weights.
pub(super) struct Encoder<'a> {
    pub(super) spec: &'a EncoderSpec,
    pub(super) attention: Attention,
    pub(super) layers: Layers<'a>,
}

impl Encoder<'_> {
    /// The last hidden state, `[batch, sequence, hidden]`.
    pub(super) fn encode(&self, inputs: &Inputs) -> Result<Tensor> {
        let (batch, sequence) = inputs.bucket()?;
        let mask = inputs.penalties()?.f_view([batch, 1, 1, sequence])?;
        let mask = self.layers.numerics.enter(&mask)?;
        let mut hidden = self.embed(inputs)?;
        for layer in 0..self.spec.layers {
            hidden = self.layer(layer, &hidden, &mask)?;
        }
        Ok(hidden)
    }

    fn embed(&self, inputs: &Inputs) -> Result<Tensor> {
        let layers = &self.layers;
        let words = layers.look_up(EncoderPart::Words.name(), inputs.ids)?;
        let types = self.token_types(inputs)?;
        let positions = self.positions(inputs)?;
        // Everything is looked up before it is added: the order is part of a graph's bytes.
        let mut sum = words;
        for term in types.iter().chain([&positions]) {
            sum = sum.f_add(term)?;
        }
        layers.norm(EncoderPart::EmbeddingNorm.name(), &sum)
    }

    fn token_types(&self, inputs: &Inputs) -> Result<Option<Tensor>> {
        if self.spec.token_types.is_none() {
            return Ok(None);
        }
        let types = inputs.types()?;
        let table = EncoderPart::TokenTypes.name();
        self.layers.look_up(table, types).map(Some)
    }

    /// The embeddings of the places of a bucket, `[sequence, hidden]`.
    fn positions(&self, inputs: &Inputs) -> Result<Tensor> {
        let (_, sequence) = inputs.bucket()?;
        match self.spec.positions {
            PositionSpec::Absolute { offset, .. } => {
                let table = self.layers.table(EncoderPart::Positions.name())?;
                // Padding is on the right, so that every text has the same rows: a slice, which all
                // chips have, in place of indices that are computed from the mask.
                let offset = i64::try_from(offset)?;
                Ok(table.f_slice(0, offset, offset + sequence, 1)?)
            }
        }
    }

    fn layer(&self, layer: usize, hidden: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let norm =
            |part: EncoderPart, input: &Tensor| self.layers.norm(&part.name_in(layer), input);
        match self.spec.norm.place {
            NormPlace::Post => {
                let attended = self.attend(layer, hidden, mask)?.f_add(hidden)?;
                let hidden = norm(EncoderPart::AttentionNorm, &attended)?;
                let output = self.feed_forward(layer, &hidden)?.f_add(&hidden)?;
                norm(EncoderPart::FeedForwardNorm, &output)
            }
        }
    }

    fn attend(&self, layer: usize, hidden: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, sequence, size) = hidden.size3()?;
        let count = i64::try_from(self.spec.attention.heads)?;
        let heads = |part: EncoderPart| -> Result<Tensor> {
            let all = self.layers.linear(&part.name_in(layer), hidden)?;
            Ok(all
                .f_view([batch, sequence, count, size / count])?
                .f_transpose(1, 2)?)
        };
        let heads = Heads {
            query: heads(EncoderPart::Query)?,
            key: heads(EncoderPart::Key)?,
            value: heads(EncoderPart::Value)?,
        };
        let context = match self.attention {
            Attention::Fused => self.layers.numerics.attention(&heads, mask)?,
            Attention::Explicit => self.attend_explicitly(&heads, mask)?,
        };
        let context = context
            .f_transpose(1, 2)?
            .f_reshape([batch, sequence, size])?;
        let output = EncoderPart::AttentionOutput.name_in(layer);
        self.layers.linear(&output, &context)
    }

    fn attend_explicitly(&self, heads: &Heads, mask: &Tensor) -> Result<Tensor> {
        let numerics = self.layers.numerics;
        let size = self.spec.hidden / self.spec.attention.heads;
        // Scaled before the product, whose sums would not always fit fp16.
        let query = heads.query.f_mul_scalar((size as f64).sqrt().recip())?;
        let scores = numerics.matmul(&query, &heads.key.f_transpose(-2, -1)?)?;
        let shares = numerics.softmax(&scores.f_add(mask)?)?;
        numerics.matmul(&shares, &heads.value)
    }

    fn feed_forward(&self, layer: usize, hidden: &Tensor) -> Result<Tensor> {
        let spec = self.spec.feed_forward;
        let linear =
            |part: EncoderPart, input: &Tensor| self.layers.linear(&part.name_in(layer), input);
        match spec.kind {
            FeedForwardKind::Plain => {
                let inner = linear(EncoderPart::FeedForwardIn, hidden)?;
                let inner = self.layers.numerics.activation(&inner, spec.activation)?;
                linear(EncoderPart::FeedForwardOut, &inner)
            }
        }
    }
}
