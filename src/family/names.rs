//! The names of an encoder's weights: one table for bundles, which is the same for all families, and
//! one for the checkpoints of each family.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// In a name, the place of the number of the layer.
const LAYER: &str = "{layer}";

/// A part of an encoder that has weights: a table, a linear layer or a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderPart {
    Words,
    Positions,
    TokenTypes,
    EmbeddingNorm,
    // The rest is in each layer.
    Query,
    Key,
    Value,
    AttentionOutput,
    AttentionNorm,
    FeedForwardIn,
    FeedForwardOut,
    FeedForwardNorm,
}

impl EncoderPart {
    pub(super) const ALL: [EncoderPart; 12] = [
        Self::Words,
        Self::Positions,
        Self::TokenTypes,
        Self::EmbeddingNorm,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::AttentionOutput,
        Self::AttentionNorm,
        Self::FeedForwardIn,
        Self::FeedForwardOut,
        Self::FeedForwardNorm,
    ];

    /// The name in bundles of any family, with `{layer}` for the number of the layer. These are
    /// BERT's names, which are the best known.
    pub(super) fn pattern(self) -> &'static str {
        match self {
            Self::Words => "embeddings.word_embeddings",
            Self::Positions => "embeddings.position_embeddings",
            Self::TokenTypes => "embeddings.token_type_embeddings",
            Self::EmbeddingNorm => "embeddings.LayerNorm",
            Self::Query => "encoder.layer.{layer}.attention.self.query",
            Self::Key => "encoder.layer.{layer}.attention.self.key",
            Self::Value => "encoder.layer.{layer}.attention.self.value",
            Self::AttentionOutput => "encoder.layer.{layer}.attention.output.dense",
            Self::AttentionNorm => "encoder.layer.{layer}.attention.output.LayerNorm",
            Self::FeedForwardIn => "encoder.layer.{layer}.intermediate.dense",
            Self::FeedForwardOut => "encoder.layer.{layer}.output.dense",
            Self::FeedForwardNorm => "encoder.layer.{layer}.output.LayerNorm",
        }
    }

    /// The name in bundles of a part that stands before the layers.
    pub fn name(self) -> &'static str {
        self.pattern()
    }

    /// The name in bundles of a part of layer `layer`, counted from 0.
    pub fn name_in(self, layer: usize) -> String {
        self.pattern().replace(LAYER, &layer.to_string())
    }
}

/// The names that checkpoints of a family have for the weights of the encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderNames {
    /// Prefixes that every name may have, in order of preference; the empty text is none.
    pub prefixes: Vec<String>,
    /// The names of each part, in order of preference, with `{layer}` for the number of the layer.
    pub parts: BTreeMap<EncoderPart, Vec<String>>,
}

impl EncoderNames {
    /// All names in checkpoints of a part, in order of preference.
    pub(super) fn in_checkpoints(&self, part: EncoderPart, layer: usize) -> Vec<String> {
        let layer = layer.to_string();
        let names = self.parts.get(&part).map_or(&[][..], Vec::as_slice);
        let with = |prefix: &String| -> Vec<String> {
            let name = |name: &String| format!("{prefix}{}", name.replace(LAYER, &layer));
            names.iter().map(name).collect()
        };
        self.prefixes.iter().flat_map(with).collect()
    }
}
