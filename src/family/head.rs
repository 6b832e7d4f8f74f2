//! The heads of models, one for each task, and what an answer needs to know of them.

use serde::{Deserialize, Serialize};

use crate::recipe::Task;
use crate::sample::output::{Per, PlannedOutput};
use crate::tensor::Dtype;

/// The way from the embeddings of tokens to the embedding of a text.
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

/// The head on top of the encoder, with the shape of its output.
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
        /// The function that makes scores of logits.
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
    /// The layout of the output, as far as the head alone decides it.
    pub fn output(&self) -> PlannedOutput {
        let (per, width) = match self {
            Head::FeatureExtraction {
                pooling: Some(_), ..
            }
            | Head::FillMask { .. } => (Per::Sample, None),
            Head::FeatureExtraction { pooling: None, .. } => (Per::Token, None),
            // The logits of the start and of the end.
            Head::QuestionAnswering => (Per::Token, Some(2)),
            Head::TextClassification { labels, .. } => (Per::Sample, Some(labels.len())),
            Head::TokenClassification { labels } => (Per::Token, Some(labels.len())),
        };
        // Whatever a graph computes in, it returns fp32.
        let dtype = Dtype::F32;
        PlannedOutput { per, width, dtype }
    }

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
