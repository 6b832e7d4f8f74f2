//! The BERT family: embeddings, encoder layers, heads.

use anyhow::{Result, bail};
use neuronc::family::Head;
use neuronc::family::bert::BertConfig;
use neuronc::profile::Attention;
use tch::Tensor;

use crate::cast::{Heads, Numerics};
use crate::model::{Inputs, Model, Weights, pooling};

/// The output of `model.head` on top of the encoder, fp32.
pub(super) fn forward(
    config: &BertConfig,
    model: &Model,
    weights: &Weights,
    inputs: &Inputs,
) -> Result<Tensor> {
    let bert = Bert {
        config,
        attention: model.attention,
        numerics: model.numerics,
        weights,
    };
    let hidden = bert.encode(inputs)?;
    let output = bert.head(&model.head, &hidden, inputs)?;
    model.numerics.leave(&output)
}

struct Bert<'a> {
    config: &'a BertConfig,
    attention: Attention,
    numerics: Numerics,
    weights: &'a Weights<'a>,
}

impl Bert<'_> {
    /// The last hidden state, `[batch, sequence, hidden]`.
    fn encode(&self, inputs: &Inputs) -> Result<Tensor> {
        let (batch, sequence) = inputs.bucket()?;
        let mask = inputs.penalties()?.f_view([batch, 1, 1, sequence])?;
        let mask = self.numerics.enter(&mask)?;
        let mut hidden = self.embed(inputs)?;
        for layer in 0..self.config.num_hidden_layers {
            hidden = self.layer(&format!("encoder.layer.{layer}"), &hidden, &mask)?;
        }
        Ok(hidden)
    }

    fn embed(&self, inputs: &Inputs) -> Result<Tensor> {
        let (_, sequence) = inputs.bucket()?;
        let words = self.look_up("word", inputs.ids)?;
        let types = self.look_up("token_type", inputs.types)?;
        let positions = self.weights.get("embeddings.position_embeddings.weight")?;
        let positions = positions.f_slice(0, 0, sequence, 1)?;
        let sum = words.f_add(&types)?.f_add(&positions)?;
        self.layer_norm("embeddings.LayerNorm", &sum)
    }

    fn look_up(&self, table: &str, ids: &Tensor) -> Result<Tensor> {
        let table = self
            .weights
            .get(&format!("embeddings.{table}_embeddings.weight"))?;
        // A table that is a decoder as well is stored in the type of the decoder.
        self.numerics
            .enter(&Tensor::f_embedding(table, ids, -1, false, false)?)
    }

    fn layer(&self, name: &str, hidden: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let context = self.attend(&format!("{name}.attention.self"), hidden, mask)?;
        let attended = self.linear(&format!("{name}.attention.output.dense"), &context)?;
        let hidden = self.layer_norm(
            &format!("{name}.attention.output.LayerNorm"),
            &attended.f_add(hidden)?,
        )?;
        let inner = self.linear(&format!("{name}.intermediate.dense"), &hidden)?;
        let inner = self.numerics.activation(&inner, self.config.hidden_act)?;
        let output = self.linear(&format!("{name}.output.dense"), &inner)?;
        self.layer_norm(&format!("{name}.output.LayerNorm"), &output.f_add(&hidden)?)
    }

    fn attend(&self, name: &str, hidden: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, sequence, size) = hidden.size3()?;
        let count = i64::try_from(self.config.num_attention_heads)?;
        let heads = |part: &str| -> Result<Tensor> {
            let all = self.linear(&format!("{name}.{part}"), hidden)?;
            Ok(all
                .f_view([batch, sequence, count, size / count])?
                .f_transpose(1, 2)?)
        };
        let heads = Heads {
            query: heads("query")?,
            key: heads("key")?,
            value: heads("value")?,
        };
        let context = match self.attention {
            Attention::Fused => self.numerics.attention(&heads, mask)?,
            Attention::Explicit => self.attend_explicitly(&heads, mask)?,
        };
        Ok(context
            .f_transpose(1, 2)?
            .f_reshape([batch, sequence, size])?)
    }

    fn attend_explicitly(&self, heads: &Heads, mask: &Tensor) -> Result<Tensor> {
        let size = self.config.hidden_size / self.config.num_attention_heads;
        // Scaled before the product, whose sums would not always fit fp16.
        let query = heads.query.f_mul_scalar((size as f64).sqrt().recip())?;
        let scores = self
            .numerics
            .matmul(&query, &heads.key.f_transpose(-2, -1)?)?;
        let shares = self.numerics.softmax(&scores.f_add(mask)?)?;
        self.numerics.matmul(&shares, &heads.value)
    }

    fn head(&self, head: &Head, hidden: &Tensor, inputs: &Inputs) -> Result<Tensor> {
        match head {
            Head::FeatureExtraction { pooling, normalize } => {
                let hidden = self.numerics.leave(hidden)?;
                match (pooling, normalize) {
                    (None, false) => Ok(hidden),
                    (None, true) => {
                        bail!("only the embedding of a text is scaled, and no pooling makes one")
                    }
                    (Some(pooling), false) => pooling::pool(&hidden, inputs, *pooling),
                    (Some(pooling), true) => {
                        pooling::normalize(&pooling::pool(&hidden, inputs, *pooling)?)
                    }
                }
            }
            Head::QuestionAnswering => self.linear("qa_outputs", hidden),
            Head::TokenClassification { .. } => self.linear("classifier", hidden),
            Head::TextClassification { .. } => {
                let pooled = self.linear("pooler.dense", &hidden.f_select(1, 0)?)?;
                self.linear("classifier", &pooled.f_tanh()?)
            }
            Head::FillMask { tied } => {
                self.vocabulary_logits(&inputs.select_position(hidden)?, *tied)
            }
        }
    }

    fn vocabulary_logits(&self, hidden: &Tensor, tied: bool) -> Result<Tensor> {
        let inner = self.linear("cls.predictions.transform.dense", hidden)?;
        let inner = self.numerics.activation(&inner, self.config.hidden_act)?;
        let inner = self.layer_norm("cls.predictions.transform.LayerNorm", &inner)?;
        let decoder = self.weights.get(match tied {
            true => "embeddings.word_embeddings.weight",
            false => "cls.predictions.decoder.weight",
        })?;
        let bias = self.weights.get("cls.predictions.bias")?;
        self.numerics.linear(&inner, decoder, bias)
    }

    fn linear(&self, name: &str, input: &Tensor) -> Result<Tensor> {
        let weight = self.weights.get(&format!("{name}.weight"))?;
        let bias = self.weights.get(&format!("{name}.bias"))?;
        self.numerics.linear(input, weight, bias)
    }

    fn layer_norm(&self, name: &str, input: &Tensor) -> Result<Tensor> {
        let scale = self.weights.get(&format!("{name}.weight"))?;
        let shift = self.weights.get(&format!("{name}.bias"))?;
        self.numerics
            .layer_norm(input, scale, shift, self.config.layer_norm_eps)
    }
}
