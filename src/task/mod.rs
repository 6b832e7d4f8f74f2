//! Tasks: from a request's JSON to the rows to run, and from their outputs to the answer's JSON.
//!
//! One file per task; each has a typed entry beside the one that reads JSON, for the protocols that
//! bring their own shapes. `inputs` and `parameters` read what all requests have in common, `tokens`
//! fits texts into the longest bucket. Nothing here runs a model, waits or does I/O: the caller runs
//! [`Prepared::rows`] and hands their outputs to [`Prepared::answer`]. Start with [`prepare`].
//!
//! Requests and answers are those of the Hugging Face inference API; `docs/predict.md` has them.

pub mod feature_extraction;
pub mod fill_mask;
mod inputs;
pub mod invalid;
mod parameters;
pub mod question_answering;
mod scores;
pub mod text_classification;
pub mod token_classification;
pub mod tokens;

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bucket::Row;
use crate::bundle::Bundle;
use crate::failure::{Class, Failure};
use crate::family::Head;
pub(crate) use crate::task::inputs::check_count;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::parameters::Request;
use crate::tokenizer::{MaskToken, Tokenizer};

/// How many rows one request may make: one for each text, window or mask token.
pub const ROWS_MAX: usize = 1024;

/// The same where the output for a row is as long as a vocabulary, or as a vector for each token.
pub const WIDE_ROWS_MAX: usize = 64;

/// What the tasks need to know of a model. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TaskModel {
    pub head: Arc<Head>,
    pub tokenizer: Arc<Tokenizer>,
    /// The sequence length of the longest bucket.
    pub tokens_max: usize,
    /// A request that needs more rows is refused.
    pub rows_max: usize,
}

impl TaskModel {
    /// The model of an opened bundle; fails when its tokenizer cannot be used.
    pub fn open(bundle: &Bundle) -> Result<Self> {
        let plan = &bundle.manifest.plan;
        let mut tokenizer = Tokenizer::open(bundle.folder())?;
        if let Some(mask) = &bundle.manifest.mask_token {
            tokenizer = tokenizer.with_mask(mask)?;
        }
        Ok(Self::new(plan.head.clone(), tokenizer, plan.longest()))
    }

    /// A model whose longest bucket has `tokens_max` tokens.
    pub fn new(head: Head, tokenizer: Tokenizer, tokens_max: usize) -> Self {
        let rows_max = match head {
            Head::FillMask { .. } | Head::FeatureExtraction { pooling: None, .. } => WIDE_ROWS_MAX,
            _ => ROWS_MAX,
        };
        Self {
            head: Arc::new(head),
            tokenizer: Arc::new(tokenizer),
            tokens_max,
            rows_max,
        }
    }

    /// The refusal of a route that is for something else than this model.
    pub fn wrong_task(&self, asked: &str) -> Invalid {
        let message = format!("this model is for {}, not for {asked}", self.head.task());
        Invalid::new(InvalidCode::WrongTask, "", message)
    }

    /// The mask token; refused where the tokenizer has none.
    pub fn mask(&self) -> Result<&MaskToken, Invalid> {
        self.tokenizer.mask().ok_or_else(|| {
            let message = "the tokenizer of this model has no mask token";
            Invalid::new(InvalidCode::NoMask, "", message)
        })
    }

    /// The labels of a classification head; none for others.
    pub fn labels(&self) -> &[String] {
        match &*self.head {
            Head::TextClassification { labels, .. } | Head::TokenClassification { labels } => {
                labels
            }
            _ => &[],
        }
    }
}

/// A request that is understood: the rows to run, and what becomes of their outputs.
pub struct Prepared {
    /// Never empty, and no more than the model's `rows_max`. May be taken out.
    pub rows: Vec<Row>,
    row_count: usize,
    finish: Box<dyn FnOnce(Vec<Vec<f32>>) -> Result<Answer> + Send>,
}

impl fmt::Debug for Prepared {
    /// Only the number of rows: their ids are user text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared {{ rows: {} }}", self.row_count)
    }
}

impl Prepared {
    fn new(
        rows: Vec<Row>,
        finish: impl FnOnce(Vec<Vec<f32>>) -> Result<Answer> + Send + 'static,
    ) -> Self {
        Self {
            row_count: rows.len(),
            rows,
            finish: Box::new(finish),
        }
    }

    /// The answer, from one output for each row, in their order and as `runtime::split_rows` cuts
    /// them. Fails with [`NonFinite`] when a value is not a number, and as a bug when an output is
    /// not of the size that the head gives it.
    pub fn answer(self, outputs: Vec<Vec<f32>>) -> Result<Answer> {
        check_outputs(self.row_count, &outputs)?;
        (self.finish)(outputs)
    }
}

/// The request in `body`, understood; texts are tokenized here, in the caller's thread.
pub fn prepare(model: &TaskModel, body: &Value) -> Result<Prepared, Invalid> {
    match *model.head {
        Head::FeatureExtraction { .. } => {
            let request = Request::read(body, &feature_extraction::REQUEST)?;
            feature_extraction::prepare(model, &request)
        }
        Head::QuestionAnswering => {
            let request = Request::read(body, &question_answering::REQUEST)?;
            question_answering::prepare(model, &request)
        }
        Head::TextClassification { scores, .. } => {
            let request = Request::read(body, &text_classification::REQUEST)?;
            text_classification::prepare(model, &request, scores)
        }
        Head::TokenClassification { .. } => {
            let request = Request::read(body, &token_classification::REQUEST)?;
            token_classification::prepare(model, &request)
        }
        Head::FillMask { .. } => {
            let request = Request::read(body, &fill_mask::REQUEST)?;
            fill_mask::prepare(model, &request)
        }
    }
}

/// What is answered; serializes as the inference API answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// One vector for each text.
    Vectors(OneOrMany<Vec<f32>>),
    /// One vector for each token of each text.
    TokenVectors(OneOrMany<Vec<Vec<f32>>>),
    /// The labels of each text, best first; a list of lists even for one text.
    Labels(Vec<Vec<text_classification::Label>>),
    /// The entities of each text, in its order.
    Entities(OneOrMany<Vec<token_classification::Entity>>),
    /// The fills of each mask token of each text, best first.
    Fills(OneOrMany<OneOrMany<Vec<fill_mask::Fill>>>),
    /// The spans that answer each question: the best, or a list where more were asked for.
    Spans(OneOrMany<OneOrMany<question_answering::Span>>),
}

/// A single thing, or a list: requests are answered in the form in which they ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected one item or a list of them")]
#[schemars(rename = "OneOrMany_of_{T}")]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }

    fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> OneOrMany<U> {
        match self {
            OneOrMany::One(one) => OneOrMany::One(f(one)),
            OneOrMany::Many(many) => OneOrMany::Many(many.iter().map(f).collect()),
        }
    }

    /// `values`, one for each item of `self`, in the form of `self`.
    fn like<U>(&self, values: Vec<U>) -> Result<OneOrMany<U>> {
        match self {
            OneOrMany::Many(_) => Ok(OneOrMany::Many(values)),
            OneOrMany::One(_) => only(values).map(OneOrMany::One),
        }
    }
}

/// The one item of a list that has one.
fn only<T>(values: Vec<T>) -> Result<T> {
    let [value] = <[T; 1]>::try_from(values)
        .map_err(|values| bug(format!("one answer expected, {} found", values.len())))?;
    Ok(value)
}

/// The model answered with NaN or infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonFinite {
    /// How many values of the request's outputs are not finite.
    pub values: usize,
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the model answered with {} values that are not finite",
            self.values
        )
    }
}

impl std::error::Error for NonFinite {}

/// One output for each row, and numbers only; else [`NonFinite`] or a bug.
pub fn check_outputs(rows: usize, outputs: &[Vec<f32>]) -> Result<()> {
    if outputs.len() != rows {
        return Err(bug(format!("{rows} rows have {} outputs", outputs.len())));
    }
    let values = outputs
        .iter()
        .flatten()
        .filter(|value| !value.is_finite())
        .count();
    match values {
        0 => Ok(()),
        values => Err(NonFinite { values }.into()),
    }
}

/// The values of an output for each of `parts` equal parts, such as tokens.
fn split(output: &[f32], parts: usize) -> Result<std::slice::ChunksExact<'_, f32>> {
    let size = output.len() / parts.max(1);
    check_size(output, parts, size)?;
    Ok(output.chunks_exact(size))
}

/// Fails unless an output has `size` values for each of `parts` parts, and any at all.
fn check_size(output: &[f32], parts: usize, size: usize) -> Result<()> {
    let values = output.len();
    if values == 0 || values != parts * size {
        return Err(bug(format!(
            "an output of {values} values is not one of {parts} times {size}"
        )));
    }
    Ok(())
}

fn bug(what: String) -> anyhow::Error {
    Failure::new(Class::Bug, what).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_are_not_numbers_are_a_typed_error() {
        let error = check_outputs(2, &[vec![1.0], vec![f32::NAN, f32::INFINITY]]).unwrap_err();
        assert_eq!(
            error.downcast_ref::<NonFinite>(),
            Some(&NonFinite { values: 2 })
        );
    }

    #[test]
    fn a_missing_output_is_a_bug() {
        let error = check_outputs(2, &[vec![1.0]]).unwrap_err();
        assert_eq!(Failure::class_of(&error), Class::Bug);
    }

    #[test]
    fn an_output_of_another_size_is_a_bug() {
        assert_eq!(split(&[1.0, 2.0], 2).unwrap().count(), 2);
        assert!(split(&[1.0, 2.0, 3.0], 2).is_err());
        assert!(split(&[], 0).is_err());
        assert!(check_size(&[1.0, 2.0], 2, 2).is_err());
    }
}
