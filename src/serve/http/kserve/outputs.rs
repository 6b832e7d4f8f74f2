//! Answers as tensors: those of a task, and what a graph computes for rows of ids.

use anyhow::Result;
use serde::Serialize;

use crate::bucket::Row;
use crate::family::Head;
use crate::serve::http::kserve::tensor::{ID_INPUTS, Tensor, Values};
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::run::PreparedRequest;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::{self, Answer, OneOrMany, TaskModel};

pub(super) const EMBEDDING: &str = "embedding";
pub(super) const TOKEN_EMBEDDINGS: &str = "token_embeddings";
/// How many of the tokens of a row are real.
pub(super) const LENGTHS: &str = "lengths";
pub(super) const LABELS: &str = "labels";
pub(super) const SCORES: &str = "scores";
pub(super) const LOGITS: &str = "logits";
pub(super) const START_LOGITS: &str = "start_logits";
pub(super) const END_LOGITS: &str = "end_logits";
/// For each text, its answer as the native protocol writes it in JSON.
pub(super) const ANSWER: &str = "answer";

/// The tensors of a task's answer to a list of texts, where an output has vectors of `width` values.
pub(super) fn of_answer(answer: Answer, width: usize) -> Result<Vec<Tensor>, Refusal> {
    match answer {
        Answer::Vectors(vectors) => Ok(vec![matrix(EMBEDDING, vectors.as_slice().to_vec())]),
        Answer::TokenVectors(texts) => {
            let texts = texts.as_slice();
            let flat: Vec<Vec<f32>> = texts.iter().map(|tokens| tokens.concat()).collect();
            let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
            Ok(token_matrix(TOKEN_EMBEDDINGS, width, &flat, &lengths))
        }
        Answer::Labels(texts) => {
            let shape = vec![texts.len(), texts.first().map_or(0, Vec::len)];
            let labels = texts.iter().flatten().map(|label| label.label.clone());
            let scores = texts.iter().flatten().map(|label| label.score);
            Ok(vec![
                Tensor {
                    name: LABELS,
                    shape: shape.clone(),
                    values: Values::Texts(labels.collect()),
                },
                Tensor {
                    name: SCORES,
                    shape,
                    values: Values::Floats(scores.collect()),
                },
            ])
        }
        Answer::Entities(texts) => json(&texts),
        Answer::Fills(texts) => json(&texts),
        Answer::Spans(texts) => json(&texts),
    }
}

fn json<T: Serialize>(answers: &OneOrMany<T>) -> Result<Vec<Tensor>, Refusal> {
    let texts = answers.as_slice().iter().map(serde_json::to_string);
    let texts: Vec<String> = texts
        .collect::<Result<_, _>>()
        .map_err(|_| Refusal::new(Code::Internal, "the answer cannot be written as JSON"))?;
    Ok(vec![Tensor {
        name: ANSWER,
        shape: vec![texts.len()],
        values: Values::Texts(texts),
    }])
}

/// Rows of one length each.
fn matrix(name: &'static str, rows: Vec<Vec<f32>>) -> Tensor {
    Tensor {
        name,
        shape: vec![rows.len(), rows.first().map_or(0, Vec::len)],
        values: Values::Floats(rows.concat()),
    }
}

/// Rows of `lengths` vectors of `width` values, filled with zeros to the longest, and the lengths.
fn token_matrix(
    name: &'static str,
    width: usize,
    rows: &[Vec<f32>],
    lengths: &[usize],
) -> Vec<Tensor> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let lengths = lengths
        .iter()
        .map(|length| i64::try_from(*length).unwrap_or(i64::MAX));
    vec![
        Tensor {
            name,
            shape: vec![rows.len(), longest, width],
            values: Values::Floats(filled(rows, longest * width)),
        },
        Tensor {
            name: LENGTHS,
            shape: vec![rows.len()],
            values: Values::Ints(lengths.collect()),
        },
    ]
}

/// Rows filled with zeros to `width`, one after the other.
fn filled(rows: &[Vec<f32>], width: usize) -> Vec<f32> {
    let fill = |row: &Vec<f32>| {
        let mut row = row.clone();
        row.resize(width, 0.0);
        row
    };
    rows.iter().flat_map(fill).collect()
}

/// A row is a text or a pair of texts.
const SEGMENTS: i64 = 2;

/// Rows of a request that brings ids.
pub(super) struct Ids {
    rows: Vec<Row>,
    lengths: Vec<usize>,
    /// Of the tensors.
    width: usize,
}

impl PreparedRequest for Ids {
    fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }
}

impl Ids {
    /// The rows in the tensors, without their padding.
    pub(super) fn read(model: &TaskModel, tensors: &[Tensor]) -> Result<Self, Invalid> {
        let refuse = |name: &str, why: String| {
            Invalid::new(
                InvalidCode::BadParameter,
                name,
                format!("tensor `{name}` {why}"),
            )
        };
        if let Some(other) = tensors
            .iter()
            .find(|tensor| !ID_INPUTS.contains(&tensor.name))
        {
            return Err(refuse(
                other.name,
                "is a text beside ids: give one or the other".to_owned(),
            ));
        }
        let find = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
        let [ids, mask, types] = ID_INPUTS.map(find);
        let missing = |name| refuse(name, "is missing".to_owned());
        let ids = ids.ok_or_else(|| missing(ID_INPUTS[0]))?;
        let mask = mask.ok_or_else(|| missing(ID_INPUTS[1]))?;
        let [count, width] = ids.shape[..] else {
            return Err(refuse(
                ids.name,
                "must have the shape [rows, tokens]".to_owned(),
            ));
        };
        if count == 0 || count > model.rows_max {
            let why = format!("has {count} rows; a request has 1 to {}", model.rows_max);
            return Err(refuse(ids.name, why));
        }
        let ints = |tensor: &Tensor| match &tensor.values {
            Values::Ints(values) if tensor.shape == ids.shape => Ok(values.clone()),
            _ => Err(refuse(
                tensor.name,
                "must be INT64 of the shape of `input_ids`".to_owned(),
            )),
        };
        let (ids, mask, types) = (ints(ids)?, ints(mask)?, types.map(ints).transpose()?);
        let row = |row: usize| {
            let part = |values: &[i64]| values[row * width..(row + 1) * width].to_vec();
            let types = types.as_deref().map(part);
            one_row(model, row, part(&ids), &part(&mask), types)
        };
        let rows: Vec<Row> = (0..count).map(row).collect::<Result<_, _>>()?;
        Ok(Self {
            lengths: rows.iter().map(|row| row.ids.len()).collect(),
            rows,
            width,
        })
    }

    /// What the graph computed for the rows, as the tensors of the head; each vector has `width` values.
    pub(super) fn outputs(
        self,
        head: &Head,
        width: usize,
        rows: Vec<Vec<f32>>,
    ) -> Result<Vec<Tensor>> {
        task::check_outputs(self.lengths.len(), &rows)?;
        Ok(match head {
            Head::FeatureExtraction {
                pooling: Some(_), ..
            } => vec![matrix(EMBEDDING, rows)],
            Head::FeatureExtraction { pooling: None, .. } => {
                token_matrix(TOKEN_EMBEDDINGS, width, &rows, &self.lengths)
            }
            Head::TextClassification { .. } | Head::FillMask { .. } => vec![matrix(LOGITS, rows)],
            Head::TokenClassification { .. } => vec![Tensor {
                name: LOGITS,
                shape: vec![rows.len(), self.width, width],
                values: Values::Floats(filled(&rows, self.width * width)),
            }],
            Head::QuestionAnswering => {
                let of = |name, part: usize| {
                    let every_other =
                        |row: &Vec<f32>| row.iter().skip(part).step_by(width).copied().collect();
                    let logits: Vec<Vec<f32>> = rows.iter().map(every_other).collect();
                    Tensor {
                        name,
                        shape: vec![rows.len(), self.width],
                        values: Values::Floats(filled(&logits, self.width)),
                    }
                };
                vec![of(START_LOGITS, 0), of(END_LOGITS, 1)]
            }
        })
    }
}

/// Row number `row` of the tensors, without its padding.
fn one_row(
    model: &TaskModel,
    row: usize,
    mut ids: Vec<i64>,
    mask: &[i64],
    types: Option<Vec<i64>>,
) -> Result<Row, Invalid> {
    let refuse = |name: &str, why: String| {
        let message = format!("row {row} of tensor `{name}` {why}");
        Invalid::new(InvalidCode::BadParameter, name, message)
    };
    let length = mask.iter().take_while(|value| **value == 1).count();
    if length == 0 || mask[length..].iter().any(|value| *value != 0) {
        let why = "must be ones for the tokens, then zeros for the padding".to_owned();
        return Err(refuse(ID_INPUTS[1], why));
    }
    if length > model.tokens_max {
        let limit = model.tokens_max;
        let why = format!("has {length} tokens, and the longest input of this model has {limit}");
        return Err(refuse(ID_INPUTS[0], why));
    }
    ids.truncate(length);
    let mut types = types.unwrap_or_else(|| vec![0; length]);
    types.truncate(length);
    let is_known =
        |id: &i64| usize::try_from(*id).is_ok_and(|id| model.tokenizer.token(id).is_some());
    if !ids.iter().all(is_known) {
        return Err(refuse(
            ID_INPUTS[0],
            "has an id that is not in the vocabulary".to_owned(),
        ));
    }
    if types.iter().any(|kind| !(0..SEGMENTS).contains(kind)) {
        let why = format!("must have values below {SEGMENTS}");
        return Err(refuse(ID_INPUTS[2], why));
    }
    let mut position = None;
    if matches!(*model.head, Head::FillMask { .. }) {
        let mask = model.mask()?.id;
        position = ids.iter().position(|id| *id == mask);
        if position.is_none() || ids.iter().filter(|id| **id == mask).count() > 1 {
            return Err(refuse(ID_INPUTS[0], "must have one mask token".to_owned()));
        }
    }
    Ok(Row {
        ids,
        type_ids: types,
        position,
    })
}
