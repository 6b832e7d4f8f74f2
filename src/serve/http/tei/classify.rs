//! `/predict` and `/rerank` of Text Embeddings Inference: labels of texts, and ranks of them.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::family::{Head, Scores};
use crate::serve::core::models::ServedModel;
use crate::serve::http::body::RequestBody;
use crate::serve::http::json;
use crate::serve::http::tei::cost::{self, TextRequest};
use crate::serve::http::tei::error::{self, TeiResult};
use crate::serve::http::tei::model::{self, NamedModel};
use crate::serve::http::tei::options::{Direction, truncation};
use crate::serve::request::refusal::Refusal;
use crate::serve::request::run::{self, Outputs};
use crate::serve::request::view::ServerView;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::text_classification::{self, Label, Sequence};
use crate::task::{Answer, OneOrMany, Prepared, TaskModel, check_count};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PredictRequest {
    inputs: PredictInputs,
    /// Logits in place of scores.
    #[serde(default)]
    raw_scores: bool,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Direction,
}

/// A text, a pair of texts, or a list in which each text or pair is a list itself.
#[derive(Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a string, a pair of strings, or a list of lists of one or two strings"
)]
enum PredictInputs {
    Text(String),
    Pair([String; 2]),
    Only([String; 1]),
    Batch(Vec<PredictInput>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum PredictInput {
    Text([String; 1]),
    Pair([String; 2]),
}

impl PredictInput {
    fn sequence(&self, index: usize) -> Sequence<'_> {
        let (text, pair) = match self {
            Self::Text([text]) => (text, None),
            Self::Pair([text, pair]) => (text, Some(pair.as_str())),
        };
        Sequence {
            path: format!("inputs[{index}]"),
            text,
            pair,
        }
    }
}

impl PredictInputs {
    fn sequences(&self) -> Vec<Sequence<'_>> {
        let one = |text, pair| Sequence {
            path: "inputs".to_owned(),
            text,
            pair,
        };
        match self {
            Self::Text(text) | Self::Only([text]) => vec![one(text, None)],
            Self::Pair([text, pair]) => vec![one(text, Some(pair.as_str()))],
            Self::Batch(many) => {
                let many = many.iter().enumerate();
                let sequence = |(index, input)| PredictInput::sequence(input, index);
                many.map(sequence).collect()
            }
        }
    }
}

fn characters(sequences: &[Sequence<'_>]) -> usize {
    let of = |sequence: &Sequence<'_>| {
        cost::characters(sequence.text) + sequence.pair.map_or(0, cost::characters)
    };
    sequences.iter().map(of).sum()
}

fn is_classifier(head: &Head) -> bool {
    matches!(head, Head::TextClassification { .. })
}

/// The labels of each text, best first.
pub(super) async fn predict(
    State(view): State<ServerView>,
    named: NamedModel,
    body: RequestBody,
) -> TeiResult {
    let begun = Instant::now();
    let read = |body: &[u8]| {
        let request: PredictRequest = json::parse(body)?;
        let characters = characters(&request.inputs.sequences());
        Ok((request, characters))
    };
    let (request, characters) = run::read(body.bytes()?, read).await?;
    let model = model::find(&view, named, is_classifier)?;
    let is_list = matches!(request.inputs, PredictInputs::Batch(_));
    let prepare = move |model: &TaskModel| {
        let options = text_classification::Options {
            truncation: truncation(request.truncate, request.truncation_direction),
            scores: request.raw_scores.then_some(Scores::Logits),
            labels_max: usize::MAX,
        };
        text_classification::classify(model, &request.inputs.sequences(), options)
    };
    let text_request = TextRequest { begun, characters };
    let write = move |model: &ServedModel, prepared: Prepared, outputs: Outputs| {
        let mut labels = labels_of(prepared, outputs.values)?;
        let answer = if is_list {
            OneOrMany::Many(labels)
        } else {
            OneOrMany::One(labels.pop().unwrap_or_default())
        };
        text_request.write::<OneOrMany<Vec<Label>>>(&answer, model, &outputs.summary)
    };
    Ok(run::answer(&view, model, prepare, write).await?)
}

/// The labels of each text, best first.
fn labels_of(prepared: Prepared, outputs: Vec<Vec<f32>>) -> Result<Vec<Vec<Label>>, Refusal> {
    match prepared.answer(outputs).map_err(Refusal::unanswerable)? {
        Answer::Labels(labels) => Ok(labels),
        _ => Err(error::unexpected()),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RerankRequest {
    query: String,
    texts: Vec<String>,
    /// Logits in place of scores from 0 to 1.
    #[serde(default)]
    raw_scores: bool,
    #[serde(default)]
    return_text: bool,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Direction,
}

/// A text and how well it answers the query.
#[derive(Serialize, JsonSchema)]
pub(super) struct Rank {
    /// Of the text in the request.
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    score: f32,
}

/// The texts by how well they answer the query, best first.
pub(super) async fn rerank(
    State(view): State<ServerView>,
    named: NamedModel,
    body: RequestBody,
) -> TeiResult {
    let begun = Instant::now();
    let read = |body: &[u8]| {
        let request: RerankRequest = json::parse(body)?;
        let texts = request.texts.iter().map(|text| cost::characters(text));
        let characters = texts.sum::<usize>() + cost::characters(&request.query);
        Ok((request, characters))
    };
    let (request, characters) = run::read(body.bytes()?, read).await?;
    let is_reranker =
        |head: &Head| matches!(head, Head::TextClassification { labels, .. } if labels.len() == 1);
    let model = model::find(&view, named, is_reranker)?;
    let (query, texts) = (request.query, Arc::new(request.texts));
    let kept = request.return_text.then(|| Arc::clone(&texts));
    let prepare = move |model: &TaskModel| {
        if is_classifier(&model.head) && model.labels().len() != 1 {
            let message = "this model has several labels; reranking needs one with a single one";
            return Err(Invalid::new(InvalidCode::WrongTask, "", message));
        }
        check_count("texts", texts.len(), model.rows_max)?;
        let sequence = |(index, text)| Sequence {
            path: format!("texts[{index}]"),
            text: &query,
            pair: Some(String::as_str(text)),
        };
        let sequences: Vec<Sequence<'_>> = texts.iter().enumerate().map(sequence).collect();
        let options = text_classification::Options {
            truncation: truncation(request.truncate, request.truncation_direction),
            scores: Some(if request.raw_scores {
                Scores::Logits
            } else {
                Scores::Sigmoid
            }),
            labels_max: 1,
        };
        text_classification::classify(model, &sequences, options)
    };
    let text_request = TextRequest { begun, characters };
    let write = move |model: &ServedModel, prepared: Prepared, outputs: Outputs| {
        let labels = labels_of(prepared, outputs.values)?;
        let text = |index: usize| kept.as_ref().and_then(|texts| texts.get(index)).cloned();
        let rank = |(index, labels): (usize, Vec<Label>)| Rank {
            index,
            text: text(index),
            score: labels.first().map_or(0.0, |label| label.score),
        };
        let mut ranks: Vec<Rank> = labels.into_iter().enumerate().map(rank).collect();
        ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
        text_request.write(&ranks, model, &outputs.summary)
    };
    Ok(run::answer(&view, model, prepare, write).await?)
}
