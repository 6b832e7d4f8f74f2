//! Text classification: the labels of a text or of a pair of texts, with scores.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::family::{Head, Scores};
use crate::recipe::Task;
use crate::task::inputs::{Field, ItemKind, Object, check_rows, items};
use crate::task::invalid::Invalid;
use crate::task::parameters::{ANY_COUNT, Request, RequestFields};
use crate::task::scores::{sigmoid, softmax, top};
use crate::task::tokens::{self, Truncation};
use crate::task::{Answer, Prepared, TaskModel, check_size};

pub(super) const REQUEST: RequestFields = RequestFields {
    task: Task::TextClassification,
    parameters: &[
        "top_k",
        "function_to_apply",
        "truncate",
        "truncation",
        "truncation_direction",
    ],
    at_root: false,
};

/// The values of `function_to_apply`.
const FUNCTIONS: [(&str, Scores); 3] = [
    ("sigmoid", Scores::Sigmoid),
    ("softmax", Scores::Softmax),
    ("none", Scores::Logits),
];

/// A label and how much of it a text has.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Label {
    pub label: String,
    pub score: f32,
}

struct Input<'a> {
    text: Field<'a>,
    pair: Option<Field<'a>>,
}

/// A text or a pair of texts, and where they stand in the request.
#[derive(Debug, Clone)]
pub struct Sequence<'a> {
    pub path: String,
    pub text: &'a str,
    pub pair: Option<&'a str>,
}

/// How texts are classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub truncation: Truncation,
    /// What makes scores of logits; the model's own function without.
    pub scores: Option<Scores>,
    /// The best so many labels.
    pub labels_max: usize,
}

/// `texts` prepared; the answer has the labels of each. Refused with `WrongTask` by models that do
/// not classify texts.
pub fn classify(
    model: &TaskModel,
    texts: &[Sequence<'_>],
    options: Options,
) -> Result<Prepared, Invalid> {
    let Head::TextClassification { scores, .. } = *model.head else {
        return Err(model.wrong_task("text-classification"));
    };
    check_rows("inputs", texts.len(), model.rows_max)?;
    let field = |path: &str, text| Field {
        path: path.to_owned(),
        text,
    };
    let inputs: Vec<Input<'_>> = texts
        .iter()
        .map(|sequence| Input {
            text: field(&sequence.path, sequence.text),
            pair: sequence.pair.map(|pair| field(&sequence.path, pair)),
        })
        .collect();
    classified(model, &inputs, scores, options)
}

pub(super) fn prepare(
    model: &TaskModel,
    request: &Request<'_>,
    scores: Scores,
) -> Result<Prepared, Invalid> {
    let kind = ItemKind {
        name: "a string or an object with `text` and `text_pair`",
        read,
    };
    let inputs = items(request.inputs, model.rows_max, &kind)?;
    let options = Options {
        scores: request.choice("function_to_apply", &FUNCTIONS)?,
        // As in transformers, null asks for all labels.
        labels_max: match request.count("top_k", ANY_COUNT)? {
            None if request.is_null("top_k") => usize::MAX,
            count => count.unwrap_or(1),
        },
        truncation: request.truncation()?,
    };
    classified(model, inputs.as_slice(), scores, options)
}

fn classified(
    model: &TaskModel,
    inputs: &[Input<'_>],
    scores: Scores,
    options: Options,
) -> Result<Prepared, Invalid> {
    let scores = options.scores.unwrap_or(scores);
    let row = |input: &Input<'_>| -> Result<_, Invalid> {
        match &input.pair {
            None => tokens::fitting_row(model, &input.text, options.truncation),
            pair => Ok(tokens::fitting(model, &input.text, pair.as_ref(), options.truncation)?.row),
        }
    };
    let rows = inputs.iter().map(row).collect::<Result<_, _>>()?;
    let model = model.clone();
    Ok(Prepared::new(rows, move |outputs| {
        let names = model.labels();
        let texts = outputs.iter().map(|output| {
            check_size(output, 1, names.len())?;
            Ok(labels(names, output, scores, options.labels_max))
        });
        texts.collect::<anyhow::Result<_>>().map(Answer::Labels)
    }))
}

fn read<'a>(value: &'a Value, path: &str) -> Result<Option<Input<'a>>, Invalid> {
    match value {
        Value::String(text) => {
            let text = Field {
                path: path.to_owned(),
                text,
            };
            Ok(Some(Input { text, pair: None }))
        }
        Value::Object(map) => {
            let object = Object::read(map, path, &["text", "text_pair"])?;
            Ok(Some(Input {
                text: object.required_text("text")?,
                pair: object.text("text_pair")?,
            }))
        }
        _ => Ok(None),
    }
}

fn labels(names: &[String], logits: &[f32], scores: Scores, labels_max: usize) -> Vec<Label> {
    let scores = match scores {
        Scores::Softmax => softmax(logits),
        Scores::Sigmoid => logits.iter().copied().map(sigmoid).collect(),
        Scores::Logits => logits.to_vec(),
    };
    let best = top(
        scores.into_iter().enumerate().collect(),
        labels_max,
        |(_, score)| *score,
    );
    best.into_iter()
        .map(|(index, score)| Label {
            label: names[index].clone(),
            score,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_decides_what_a_logit_is_worth() {
        let names = ["no".to_owned(), "yes".to_owned()];
        let scores = |function| -> Vec<f32> {
            let labels = labels(&names, &[0.0, 0.0], function, 2);
            labels.iter().map(|label| label.score).collect()
        };
        assert_eq!(scores(Scores::Softmax), [0.5, 0.5]);
        assert_eq!(scores(Scores::Logits), [0.0, 0.0]);
        let best = labels(&names, &[-1.0, 2.0], Scores::Sigmoid, 1);
        assert_eq!(best[0].label, "yes");
        assert!((best[0].score - 0.880_797).abs() < 1e-6);
        assert_eq!(best.len(), 1);
    }
}
