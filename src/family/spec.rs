//! The specification of a model: which operators its forward consists of, with every number, and
//! under which names checkpoints have the weights.
//!
//! A [`ModelSpec`] is plain data. It stands in the plan, so that the plan's key covers it, and in the
//! job of the tracer, which builds the forward of any family from it: a family has no code there.
//! Where families differ in a kind of operator, an enum has a variant for each kind, and
//! `neuronc-torch`'s `model/` an arm for it.

use serde::{Deserialize, Serialize};

use crate::bucket::Input;
use crate::family::head::Pooling;
use crate::family::names::EncoderNames;
use crate::sample::output::{OutputLayout, Per};
use crate::tensor::Dtype;

/// A model's forward, from the inputs of the graph to its output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The `model_type` of the family.
    pub family: String,
    pub encoder: EncoderSpec,
    /// The steps behind the encoder, in their order; without any the output is the last hidden state.
    pub head: Vec<HeadStep>,
}

/// An encoder: embeddings and equal layers of attention and feed-forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSpec {
    /// Rows of the word table; token ids are below it.
    pub vocabulary: usize,
    /// The size of a token's hidden state.
    pub hidden: usize,
    pub layers: usize,
    /// The token id that fills unused places.
    pub pad_id: i64,
    pub positions: PositionSpec,
    /// Rows of the token type table; segment ids are below it. Absent where the forward takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_types: Option<usize>,
    pub norm: NormSpec,
    pub attention: AttentionSpec,
    pub feed_forward: FeedForwardSpec,
    pub names: EncoderNames,
}

/// The source of the encoder's knowledge of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PositionSpec {
    /// A table with a row for each place, of which the first token takes row `offset`.
    Absolute { rows: usize, offset: usize },
}

/// The norms of the encoder, and those of a head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormSpec {
    pub kind: NormKind,
    pub place: NormPlace,
    /// Added to the variance.
    pub epsilon: f64,
}

/// The computation of a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// Mean 0 and variance 1, then a scale and a shift.
    Layer,
}

/// Where the norms of a layer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormPlace {
    /// Behind each residual sum.
    Post,
}

/// The attention of a layer. Scores are scaled by the root of the head size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionSpec {
    /// Heads that the hidden state is divided into.
    pub heads: usize,
}

/// The feed-forward network of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedForwardSpec {
    pub kind: FeedForwardKind,
    /// The size between its linear layers.
    pub width: usize,
    pub activation: Activation,
}

/// The form of the feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedForwardKind {
    /// Two linear layers with the activation between them.
    Plain,
}

/// An activation function, by the name that transformers has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// The exact form, with the error function.
    #[serde(rename = "gelu")]
    Gelu,
    /// The approximation by tanh.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    #[serde(rename = "relu")]
    Relu,
    #[serde(rename = "tanh")]
    Tanh,
}

/// One step from the last hidden state `[batch, sequence, hidden]` to the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadStep {
    /// Token embeddings to text embeddings, `[batch, hidden]`, in fp32.
    Pool(Pooling),
    /// Each text embedding scaled to length 1.
    Normalize,
    /// The hidden state of the first token, `[batch, hidden]`.
    FirstToken,
    /// The hidden state of the token that the input `position` names, `[batch, hidden]`.
    TokenAtPosition,
    /// A linear layer, with the activation behind it where there is one.
    Dense {
        /// The name in bundles, and the first that is looked for in checkpoints.
        name: String,
        /// Other names in checkpoints, in order of preference.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<String>,
        outputs: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        activation: Option<Activation>,
    },
    /// A norm of the encoder's kind.
    Norm { name: String },
    /// The product with a table of the vocabulary, `[batch, vocabulary]`.
    Decode {
        /// The name of a table of its own; absent where it is that of the word embeddings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
        bias: String,
        /// Other names of the bias in checkpoints, in order of preference.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<String>,
    },
}

impl ModelSpec {
    /// The inputs of the graph after the weights, in their order.
    pub fn inputs(&self) -> Vec<Input> {
        let mut inputs = vec![Input::InputIds, Input::AttentionMask];
        if self.encoder.token_types.is_some() {
            inputs.push(Input::TokenTypeIds);
        }
        if self.head.contains(&HeadStep::TokenAtPosition) {
            inputs.push(Input::Position);
        }
        inputs
    }

    /// The layout of what the graph returns.
    pub fn output(&self) -> OutputLayout {
        let mut layout = OutputLayout {
            per: Per::Token,
            width: self.encoder.hidden,
            dtype: Dtype::F32,
        };
        for step in &self.head {
            match step {
                HeadStep::Pool(_) | HeadStep::FirstToken | HeadStep::TokenAtPosition => {
                    layout.per = Per::Sample;
                }
                HeadStep::Dense { outputs, .. } => layout.width = *outputs,
                HeadStep::Decode { .. } => layout.width = self.encoder.vocabulary,
                HeadStep::Normalize | HeadStep::Norm { .. } => {}
            }
        }
        layout
    }

    /// True when the decoder of the head is the word table.
    pub(super) fn decodes_with_words(&self) -> bool {
        let is_tied = |step: &HeadStep| matches!(step, HeadStep::Decode { table: None, .. });
        self.head.iter().any(is_tied)
    }
}

impl EncoderSpec {
    /// The longest input that the positions cover, in tokens.
    pub fn tokens_max(&self) -> usize {
        match self.positions {
            PositionSpec::Absolute { rows, offset } => rows.saturating_sub(offset),
        }
    }
}
