//! The tasks: text in, JSON out.
//!
//! `pipelines` compares with what transformers answers, `answers` and `refusals` are what we promise
//! beyond that; only the former run a model.

mod answers;
mod pipelines;
mod refusals;

use neuronc::bucket::Row;
use neuronc::family::{Head, Pooling, Scores};
use neuronc::task::{TaskModel, prepare};
use neuronc::tokenizer::Tokenizer;
use serde_json::Value;

use crate::support::fixture;

/// Every task with a fixture that has it.
const FIXTURES: [&str; 6] = [
    "feature-extraction",
    "feature-extraction-plain",
    "question-answering",
    "text-classification",
    "token-classification",
    "fill-mask",
];

/// The model of a fixture, with buckets up to `tokens_max`.
fn model(name: &str, tokens_max: usize) -> TaskModel {
    let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let head = match name {
        "feature-extraction" => Head::FeatureExtraction {
            pooling: Some(Pooling::Mean),
            normalize: true,
        },
        "feature-extraction-cls" => Head::FeatureExtraction {
            pooling: Some(Pooling::Cls),
            normalize: false,
        },
        "feature-extraction-plain" => Head::FeatureExtraction {
            pooling: None,
            normalize: false,
        },
        "question-answering" => Head::QuestionAnswering,
        "text-classification" => Head::TextClassification {
            labels: labels(&["negative", "neutral", "positive"]),
            scores: Scores::Softmax,
        },
        "token-classification" => Head::TokenClassification {
            labels: labels(&["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]),
        },
        _ => Head::FillMask { tied: true },
    };
    TaskModel::new(head, Tokenizer::open(&fixture(name)).unwrap(), tokens_max)
}

/// Outputs of the right size for `rows`; `value` is asked for the row and the place in its output.
fn outputs(model: &TaskModel, rows: &[Row], value: impl Fn(usize, usize) -> f32) -> Vec<Vec<f32>> {
    let size = |row: &Row| match &*model.head {
        Head::FeatureExtraction {
            pooling: Some(_), ..
        } => 8,
        Head::FeatureExtraction { pooling: None, .. } => 8 * row.ids.len(),
        Head::QuestionAnswering => 2 * row.ids.len(),
        Head::TextClassification { labels, .. } => labels.len(),
        Head::TokenClassification { labels } => labels.len() * row.ids.len(),
        Head::FillMask { .. } => 256,
    };
    let output = |(index, row)| (0..size(row)).map(|place| value(index, place)).collect();
    rows.iter().enumerate().map(output).collect()
}

/// The answer to `body` where the model's outputs are `value`.
fn answer(model: &TaskModel, body: &Value, value: impl Fn(usize, usize) -> f32) -> Value {
    let prepared = prepare(model, body).unwrap_or_else(|invalid| panic!("{body}: {invalid}"));
    let outputs = outputs(model, &prepared.rows, value);
    serde_json::to_value(prepared.answer(outputs).unwrap()).unwrap()
}

/// `body` is refused with the code and the field that are expected, in a message with all `parts`.
#[track_caller]
fn check_refused(model: &TaskModel, body: &Value, expected: (&str, &str), parts: &[&str]) {
    let invalid = match prepare(model, body) {
        Ok(_) => panic!("{body} is not refused"),
        Err(invalid) => invalid,
    };
    let field = invalid.field.as_deref().unwrap_or("");
    assert_eq!((invalid.code.name(), field), expected, "{body}: {invalid}");
    for part in parts {
        assert!(
            invalid.message.contains(part),
            "`{part}` is not in: {invalid}"
        );
    }
}
