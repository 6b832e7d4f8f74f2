//! Text classification: the labels of a text or of a pair of texts, with scores.

use serde::Serialize;
use serde_json::Value;

use crate::family::Scores;
use crate::recipe::Task;
use crate::task::inputs::{Field, ItemKind, Object, items};
use crate::task::invalid::Invalid;
use crate::task::parameters::{ANY_COUNT, Request, RequestFields};
use crate::task::scores::{sigmoid, softmax, top};
use crate::task::{Answer, Prepared, TaskModel, check_size, tokens};

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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    pub label: String,
    pub score: f32,
}

struct Input<'a> {
    text: Field<'a>,
    pair: Option<Field<'a>>,
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
    let scores = request
        .choice("function_to_apply", &FUNCTIONS)?
        .unwrap_or(scores);
    // As in transformers, null asks for all labels.
    let labels_max = match request.count("top_k", ANY_COUNT)? {
        None if request.is_null("top_k") => usize::MAX,
        count => count.unwrap_or(1),
    };
    let truncation = request.truncation()?;
    let row = |input: &Input<'_>| -> Result<_, Invalid> {
        match &input.pair {
            None => tokens::fitting_row(model, &input.text, truncation),
            pair => Ok(tokens::fitting(model, &input.text, pair.as_ref(), truncation)?.row),
        }
    };
    let rows = inputs
        .as_slice()
        .iter()
        .map(row)
        .collect::<Result<_, _>>()?;
    let model = model.clone();
    Ok(Prepared::new(rows, move |outputs| {
        let names = model.labels();
        let texts = outputs.iter().map(|output| {
            check_size(output, 1, names.len())?;
            Ok(labels(names, output, scores, labels_max))
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
