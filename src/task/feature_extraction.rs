//! Feature extraction: one vector for each text, or for each token where the model does not pool.

use std::num::NonZeroUsize;

use anyhow::Result;

use crate::bucket::Row;
use crate::family::Head;
use crate::recipe::Task;
use crate::task::inputs::{Field, check_count, items, strings};
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::parameters::{Request, RequestFields};
use crate::task::scores::narrow;
use crate::task::tokens::{self, Text, Truncation};
use crate::task::{Answer, OneOrMany, Prepared, TaskModel, check_outputs, check_size, split};

pub(super) const REQUEST: RequestFields = RequestFields {
    task: Task::FeatureExtraction,
    parameters: &[NORMALIZE, "truncate", "truncation", "truncation_direction"],
    at_root: true,
};

const NORMALIZE: &str = "normalize";

/// What may be asked of embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub truncation: Truncation,
    /// Whether to scale each vector to length 1; `None` leaves that to the model.
    pub normalize: Option<bool>,
}

impl Options {
    pub const STANDARD: Options = Options {
        truncation: Truncation::Refuse { unless: None },
        normalize: None,
    };
}

/// Texts to embed, tokenized: the rows to run, one for each text.
#[derive(Debug)]
pub struct Embeddings {
    /// May be taken out.
    pub rows: Vec<Row>,
    row_count: usize,
    tokens: usize,
    normalize: bool,
}

impl Embeddings {
    /// The number of tokens of all texts, special ones included.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// One vector for each text, from one output for each row; fails as `Prepared::answer` does.
    pub fn vectors(self, outputs: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>> {
        check_outputs(self.row_count, &outputs)?;
        vectors(self.normalize, outputs)
    }
}

/// `texts` prepared for a model that pools; `field` is where they stand in the request. Refused with
/// `WrongTask` by models that give no vector for a text.
pub fn embeddings(
    model: &TaskModel,
    texts: &OneOrMany<Text>,
    field: &str,
    options: Options,
) -> Result<Embeddings, Invalid> {
    match *model.head {
        Head::FeatureExtraction {
            pooling: Some(_), ..
        } => {}
        Head::FeatureExtraction { pooling: None, .. } => {
            let message = "this model gives a vector for each token, not one for a text";
            return Err(Invalid::new(InvalidCode::WrongTask, "", message));
        }
        _ => return Err(model.wrong_task("embeddings")),
    }
    let row = |(path, text): (String, &Text)| -> Result<Row, Invalid> {
        match text {
            Text::Ids(ids) => {
                check_count(&path, ids.len(), usize::MAX)?;
                Ok(tokens::fitting_ids(model, ids, &path, options.truncation)?.row)
            }
            Text::Text(text) => {
                tokens::fitting_row(model, &Field { path, text }, options.truncation)
            }
        }
    };
    let rows = placed(model, texts, field)?.map(row);
    let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    Ok(Embeddings {
        row_count: rows.len(),
        tokens: rows.iter().map(|row| row.ids.len()).sum(),
        rows,
        normalize: normalize(model, options.normalize).map_err(|why| {
            Invalid::new(
                InvalidCode::BadParameter,
                NORMALIZE,
                format!("`{NORMALIZE}` {why}"),
            )
        })?,
    })
}

pub(super) fn prepare(model: &TaskModel, request: &Request<'_>) -> Result<Prepared, Invalid> {
    let texts = items(request.inputs, model.rows_max, &strings())?;
    let normalize =
        normalize(model, request.flag(NORMALIZE)?).map_err(|why| request.refuse(NORMALIZE, why))?;
    let pools = matches!(
        *model.head,
        Head::FeatureExtraction {
            pooling: Some(_),
            ..
        }
    );
    let fields = texts.as_slice().iter().cloned();
    let rows = rows(model, fields, request.truncation()?)?;
    let form = texts.map(|_| ());
    if !pools {
        return Ok(token_vectors(rows, form));
    }
    Ok(Prepared::new(rows, move |outputs| {
        form.like(vectors(normalize, outputs)?).map(Answer::Vectors)
    }))
}

fn rows<'a>(
    model: &TaskModel,
    texts: impl Iterator<Item = Field<'a>>,
    truncation: Truncation,
) -> Result<Vec<Row>, Invalid> {
    texts
        .map(|text| tokens::fitting_row(model, &text, truncation))
        .collect()
}

/// Whether vectors have to be normalized here, or why what was asked for cannot be had.
fn normalize(model: &TaskModel, asked: Option<bool>) -> Result<bool, &'static str> {
    match (asked, &*model.head) {
        (
            Some(false),
            Head::FeatureExtraction {
                normalize: true, ..
            },
        ) => Err("cannot be false: this model normalizes within its graph"),
        (Some(true), Head::FeatureExtraction { pooling: None, .. }) => {
            Err("cannot be true: this model gives a vector for each token, not one for a text")
        }
        (asked, _) => Ok(asked == Some(true)),
    }
}

fn vectors(normalize: bool, mut outputs: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>> {
    for output in &mut outputs {
        check_size(output, 1, output.len())?;
        if normalize {
            scale_to_length_1(output);
        }
    }
    Ok(outputs)
}

/// The vectors of the tokens of `texts`, from a model that does not pool; `WrongTask` from others.
pub fn token_embeddings(
    model: &TaskModel,
    texts: &OneOrMany<String>,
    field: &str,
    truncation: Truncation,
) -> Result<Prepared, Invalid> {
    match *model.head {
        Head::FeatureExtraction { pooling: None, .. } => {}
        Head::FeatureExtraction { .. } => {
            let message = "this model gives one vector for a text: it pools within its graph";
            return Err(Invalid::new(InvalidCode::WrongTask, "", message));
        }
        _ => return Err(model.wrong_task("embeddings")),
    }
    let fields = placed(model, texts, field)?.map(|(path, text)| Field { path, text });
    Ok(token_vectors(
        rows(model, fields, truncation)?,
        texts.map(|_| ()),
    ))
}

/// Each of `texts` behind its place in the request, which is `field` or below it.
fn placed<'a, T>(
    model: &TaskModel,
    texts: &'a OneOrMany<T>,
    field: &'a str,
) -> Result<impl Iterator<Item = (String, &'a T)>, Invalid> {
    let is_list = match texts {
        OneOrMany::One(_) => false,
        OneOrMany::Many(many) => {
            check_count(field, many.len(), model.rows_max)?;
            true
        }
    };
    let path = move |index| match is_list {
        true => format!("{field}[{index}]"),
        false => field.to_owned(),
    };
    let texts = texts.as_slice().iter().enumerate();
    Ok(texts.map(move |(index, text)| (path(index), text)))
}

/// What is left of rows whose outputs have a vector for each token.
fn token_vectors(rows: Vec<Row>, form: OneOrMany<()>) -> Prepared {
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    Prepared::new(rows, move |outputs| {
        let texts = outputs
            .iter()
            .zip(&lengths)
            .map(|(output, tokens)| -> Result<_> {
                Ok(split(output, *tokens)?.map(<[f32]>::to_vec).collect())
            });
        form.like(texts.collect::<Result<_>>()?)
            .map(Answer::TokenVectors)
    })
}

/// The product of two vectors: of length 1, their cosine.
pub fn dot(one: &[f32], other: &[f32]) -> f32 {
    let products = one.iter().zip(other);
    narrow(products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
}

/// The first `dimensions` values of a vector, and of length 1 again where `scaled` says so: what
/// OpenAI's `dimensions` means, and right only for models that were trained for it (Matryoshka).
pub fn shorten(
    mut vector: Vec<f32>,
    dimensions: Option<NonZeroUsize>,
    scaled: bool,
) -> Result<Vec<f32>, Invalid> {
    let Some(dimensions) = dimensions.map(NonZeroUsize::get) else {
        return Ok(vector);
    };
    if dimensions > vector.len() {
        let message = format!(
            "`dimensions` is {dimensions}, and vectors of this model have {}",
            vector.len()
        );
        return Err(Invalid::new(
            InvalidCode::BadParameter,
            "dimensions",
            message,
        ));
    }
    vector.truncate(dimensions);
    if scaled {
        scale_to_length_1(&mut vector);
    }
    Ok(vector)
}

/// Scales a vector to length 1; a vector of zeros stays one.
pub fn scale_to_length_1(vector: &mut [f32]) {
    let squares = vector.iter().map(|value| f64::from(*value).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value = narrow(f64::from(*value) / length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_scaled_to_length_1() {
        let outputs = vec![vec![3.0, 4.0], vec![0.0, 0.0], vec![f32::MAX, 0.0]];
        let scaled = vectors(true, outputs).unwrap();
        assert_eq!(scaled, [[0.6, 0.8], [0.0, 0.0], [1.0, 0.0]]);
    }
}
