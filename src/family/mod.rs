//! Model families: what a config means, and which weights the family's forward takes.
//!
//! Nothing here computes; the forward functions are in `neuronc-torch`'s `model/`, one file per
//! family as here. Start with [`Family::from_config`], which alone maps a config to a family.

pub mod bert;
pub mod weights;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bucket::Input;
use crate::failure::{Failure, name_list};
use crate::family::bert::BertConfig;
use crate::family::weights::WeightSpec;
use crate::recipe::Task;

/// A family with the dimensions of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "kebab-case")]
pub enum Family {
    Bert(BertConfig),
}

/// The dimensions that all families have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimensions {
    pub layers: usize,
    pub hidden: usize,
    pub vocabulary: usize,
}

/// `model_type` values of the families that neuronc traces itself.
const MODEL_TYPES: [&str; 1] = ["bert"];

impl Family {
    /// The family of a model's `config.json`; every value that the family does not implement is
    /// refused by name.
    pub fn from_config(config: &Value) -> Result<Self> {
        let model_type = config.get("model_type").and_then(Value::as_str);
        match model_type {
            Some("bert") => Ok(Family::Bert(BertConfig::from_config(config)?)),
            Some(other) => Err(Failure::usage(format!(
                "model family `{other}` is not one that neuronc traces"
            ))
            .why("config.json names it as `model_type`")
            .help(format!("families: {}", name_list(MODEL_TYPES)))
            .into()),
            None => Err(Failure::usage("config.json has no `model_type`")
                .why("it decides which forward function is traced")
                .help("give the folder or the id of a transformers model")
                .into()),
        }
    }

    /// Whether a `model_type` is of a family that neuronc traces itself.
    pub fn is_native(model_type: &str) -> bool {
        MODEL_TYPES.contains(&model_type)
    }

    /// The weights that the forward for `head` takes, in the order in which it takes them.
    pub fn weights(&self, head: &Head) -> Vec<WeightSpec> {
        match self {
            Family::Bert(config) => config.weights(head),
        }
    }

    /// What the graph takes beside the weights.
    pub fn inputs(&self, task: Task) -> Vec<Input> {
        let mut inputs = vec![Input::InputIds, Input::AttentionMask, Input::TokenTypeIds];
        if task == Task::FillMask {
            inputs.push(Input::Position);
        }
        inputs
    }

    /// The longest input that the position embeddings cover.
    pub fn positions(&self) -> usize {
        match self {
            Family::Bert(config) => config.max_position_embeddings,
        }
    }

    /// The word by which files name the family.
    pub fn name(&self) -> &'static str {
        match self {
            Family::Bert(_) => MODEL_TYPES[0],
        }
    }

    /// What decides the size of outputs and the time of a run.
    pub fn dimensions(&self) -> Dimensions {
        match self {
            Family::Bert(config) => Dimensions {
                layers: config.num_hidden_layers,
                hidden: config.hidden_size,
                vocabulary: config.vocab_size,
            },
        }
    }

    /// The token id that fills unused places.
    pub fn pad_id(&self) -> i64 {
        match self {
            Family::Bert(config) => config.pad_token_id,
        }
    }
}

/// How a row of token embeddings becomes the embedding of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean over the tokens of the text.
    Mean,
    /// The embedding of the first token.
    Cls,
    /// The largest value of each dimension over the tokens of the text.
    Max,
}

/// What stands on top of the encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Head {
    /// Token embeddings `[batch, sequence, hidden]`, or text embeddings `[batch, hidden]` where
    /// pooling is given.
    FeatureExtraction {
        pooling: Option<Pooling>,
        /// Scales each text embedding to length 1.
        normalize: bool,
    },
    /// Start and end logits, `[batch, sequence, 2]`.
    QuestionAnswering,
    /// Logits `[batch, labels]`.
    TextClassification {
        labels: Vec<String>,
        /// How logits become scores.
        scores: Scores,
    },
    /// Logits `[batch, sequence, labels]`.
    TokenClassification { labels: Vec<String> },
    /// Logits over the vocabulary at one position of each row, `[batch, vocabulary]`.
    FillMask {
        /// The decoder shares the word embeddings.
        tied: bool,
    },
}

/// The function that turns classification logits into scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scores {
    /// One label is true.
    Softmax,
    /// Each label is true or false by itself.
    Sigmoid,
    /// The logits are the answer: a regression.
    Logits,
}

impl Head {
    pub fn task(&self) -> Task {
        match self {
            Head::FeatureExtraction { .. } => Task::FeatureExtraction,
            Head::QuestionAnswering => Task::QuestionAnswering,
            Head::TextClassification { .. } => Task::TextClassification,
            Head::TokenClassification { .. } => Task::TokenClassification,
            Head::FillMask { .. } => Task::FillMask,
        }
    }
}
