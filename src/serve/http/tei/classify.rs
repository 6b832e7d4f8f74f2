//! `/predict` and `/rerank` of Text Embeddings Inference: labels of texts, and ranks of them.

use std::time::Instant;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::family::{Head, Scores};
use crate::serve::Entrance;
use crate::serve::http::answer;
use crate::serve::http::tei::{
    Body, Direction, Named, TeiResult, count, model, run, truncation, unexpected,
};
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::text_classification::{self, Label, Sequence};
use crate::task::{Answer, OneOrMany, TaskModel};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::serve::http) struct PredictRequest {
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
    /// The texts, and whether they are a list.
    fn sequences(&self) -> (Vec<Sequence<'_>>, bool) {
        let one = |text, pair| Sequence {
            path: "inputs".to_owned(),
            text,
            pair,
        };
        match self {
            Self::Text(text) | Self::Only([text]) => (vec![one(text, None)], false),
            Self::Pair([text, pair]) => (vec![one(text, Some(pair.as_str()))], false),
            Self::Batch(many) => {
                let many = many.iter().enumerate();
                let sequence = |(index, input)| PredictInput::sequence(input, index);
                (many.map(sequence).collect(), true)
            }
        }
    }
}

fn characters(sequences: &[Sequence<'_>]) -> usize {
    let of = |sequence: &Sequence<'_>| count(sequence.text) + sequence.pair.map_or(0, count);
    sequences.iter().map(of).sum()
}

fn is_classifier(head: &Head) -> bool {
    matches!(head, Head::TextClassification { .. })
}

/// The labels of each text, best first.
pub(super) async fn predict(
    State(entrance): State<Entrance>,
    named: Named,
    body: Body,
) -> TeiResult {
    let begun = Instant::now();
    let request: PredictRequest = answer::request(&entrance.served, body)?;
    let model = model(&entrance, named, is_classifier)?;
    let (sequences, is_list) = request.inputs.sequences();
    let characters = characters(&sequences);
    let prepare = move |model: &TaskModel| {
        let options = text_classification::Options {
            truncation: truncation(request.truncate, request.truncation_direction),
            scores: request.raw_scores.then_some(Scores::Logits),
            labels_max: usize::MAX,
        };
        text_classification::classify(model, &request.inputs.sequences().0, options)
    };
    let (answer, computed) = run(&entrance, &model, prepare, (begun, characters)).await?;
    let Answer::Labels(mut labels) = answer else {
        return Err(unexpected().into());
    };
    let answer = match is_list {
        true => OneOrMany::Many(labels),
        false => OneOrMany::One(labels.pop().unwrap_or_default()),
    };
    Ok(computed.answer::<OneOrMany<Vec<Label>>>(&model, &answer)?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::serve::http) struct RerankRequest {
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
pub(in crate::serve::http) struct Rank {
    /// Of the text in the request.
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    score: f32,
}

/// The texts by how well they answer the query, best first.
pub(super) async fn rerank(
    State(entrance): State<Entrance>,
    named: Named,
    body: Body,
) -> TeiResult {
    let begun = Instant::now();
    let request: RerankRequest = answer::request(&entrance.served, body)?;
    let is_reranker =
        |head: &Head| matches!(head, Head::TextClassification { labels, .. } if labels.len() == 1);
    let model = model(&entrance, named, is_reranker)?;
    let characters =
        request.texts.iter().map(|text| count(text)).sum::<usize>() + count(&request.query);
    let RerankRequest { query, texts, .. } = request;
    let kept = request.return_text.then(|| texts.clone());
    let prepare = move |model: &TaskModel| {
        if is_classifier(&model.head) && model.labels().len() != 1 {
            let message = "this model has several labels; reranking needs one with a single one";
            return Err(Invalid::new(InvalidCode::WrongTask, "", message));
        }
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
    let (answer, computed) = run(&entrance, &model, prepare, (begun, characters)).await?;
    let Answer::Labels(labels) = answer else {
        return Err(unexpected().into());
    };
    let mut kept = kept.unwrap_or_default();
    let rank = |(index, labels): (usize, Vec<Label>)| Rank {
        index,
        text: kept.get_mut(index).map(std::mem::take),
        score: labels.first().map_or(0.0, |label| label.score),
    };
    let mut ranks: Vec<Rank> = labels.into_iter().enumerate().map(rank).collect();
    ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(computed.answer(&model, &ranks)?)
}
