//! Buckets: the fixed shapes that a model is traced for, and how tokenized rows fill one.

use std::fmt;
use std::str::FromStr;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, known_names};
use crate::tensor::HostTensor;

/// A fixed input shape: `batch` rows of `sequence` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub sequence: usize,
    pub batch: usize,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.batch, self.sequence)
    }
}

/// One text, or pair of texts, as the model takes it: no padding, special tokens included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub ids: Vec<i64>,
    /// Segment of each token; as long as `ids`.
    pub type_ids: Vec<i64>,
    /// Fill-mask only: the token whose distribution is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
}

/// What a graph takes beside its weights, in the order in which it takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Token ids, `[batch, sequence]`, i64.
    InputIds,
    /// 1 for a token, 0 for padding, `[batch, sequence]`, i64.
    AttentionMask,
    /// Segment ids, `[batch, sequence]`, i64.
    TokenTypeIds,
    /// The token asked for in each row, `[batch]`, i64.
    Position,
}

impl FromStr for Input {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "input_ids" => Ok(Input::InputIds),
            "attention_mask" => Ok(Input::AttentionMask),
            "token_type_ids" => Ok(Input::TokenTypeIds),
            other => Err(
                Failure::usage(format!("input `{other}` is unknown")).help(known_names(
                    other,
                    ["input_ids", "attention_mask", "token_type_ids"],
                )),
            ),
        }
    }
}

/// The smallest bucket that holds `tokens` tokens a row and as many of `rows` rows as one bucket
/// can: the shortest sequence that fits, then the smallest batch that takes all rows, then the
/// largest. `None` when `tokens` exceeds every bucket.
pub fn smallest(buckets: &[Bucket], rows: usize, tokens: usize) -> Option<Bucket> {
    let sequence = buckets
        .iter()
        .map(|bucket| bucket.sequence)
        .filter(|sequence| *sequence >= tokens)
        .min()?;
    let batches = buckets
        .iter()
        .filter(|bucket| bucket.sequence == sequence)
        .map(|bucket| bucket.batch);
    let largest = batches.clone().max()?;
    let batch = batches.filter(|batch| *batch >= rows).min();
    Some(Bucket {
        sequence,
        batch: batch.unwrap_or(largest),
    })
}

/// The input tensors of `bucket` for `rows`, padded with `pad_id`; rows that are missing are all
/// padding. No more than `bucket.batch` rows, none longer than `bucket.sequence`.
pub fn fill(
    bucket: Bucket,
    rows: &[&Row],
    inputs: &[Input],
    pad_id: i64,
) -> Result<Vec<HostTensor>> {
    let grid = [bucket.batch, bucket.sequence];
    let padded = |of: &dyn Fn(&Row) -> Vec<i64>, pad: i64| -> Result<HostTensor> {
        let mut values = vec![pad; bucket.batch * bucket.sequence];
        for (row, line) in rows.iter().zip(values.chunks_exact_mut(bucket.sequence)) {
            let row = of(row);
            line[..row.len()].copy_from_slice(&row);
        }
        HostTensor::from_i64(&grid, &values)
    };
    inputs
        .iter()
        .map(|input| match input {
            Input::InputIds => padded(&|row| row.ids.clone(), pad_id),
            Input::AttentionMask => padded(&|row| vec![1; row.ids.len()], 0),
            Input::TokenTypeIds => padded(&|row| row.type_ids.clone(), 0),
            Input::Position => {
                let mut positions = vec![0; bucket.batch];
                for (row, position) in rows.iter().zip(&mut positions) {
                    *position = i64::try_from(row.position.unwrap_or(0))?;
                }
                HostTensor::from_i64(&[bucket.batch], &positions)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Vec<Bucket> {
        let mut buckets = Vec::new();
        for sequence in [32, 128] {
            for batch in [1, 8] {
                buckets.push(Bucket { sequence, batch });
            }
        }
        buckets
    }

    #[test]
    fn the_smallest_bucket_that_fits_is_chosen() {
        let choose = |rows, tokens| smallest(&grid(), rows, tokens).map(|b| b.to_string());
        assert_eq!(choose(1, 5).as_deref(), Some("1x32"));
        assert_eq!(choose(1, 32).as_deref(), Some("1x32"));
        assert_eq!(choose(1, 33).as_deref(), Some("1x128"));
        assert_eq!(choose(2, 5).as_deref(), Some("8x32"));
        assert_eq!(choose(20, 5).as_deref(), Some("8x32"));
        assert_eq!(choose(1, 129), None);
    }

    #[test]
    fn rows_are_padded_on_both_axes() {
        let row = Row {
            ids: vec![101, 7, 102],
            type_ids: vec![0, 0, 1],
            position: Some(1),
        };
        let bucket = Bucket {
            sequence: 4,
            batch: 2,
        };
        let inputs = [
            Input::InputIds,
            Input::AttentionMask,
            Input::TokenTypeIds,
            Input::Position,
        ];
        let tensors = fill(bucket, &[&row], &inputs, 9).unwrap();
        let values: Vec<Vec<i64>> = tensors
            .iter()
            .map(|tensor| {
                let (chunks, _) = tensor.bytes().as_chunks::<8>();
                chunks.iter().map(|v| i64::from_ne_bytes(*v)).collect()
            })
            .collect();
        assert_eq!(values[0], [101, 7, 102, 9, 9, 9, 9, 9]);
        assert_eq!(values[1], [1, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(values[2], [0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(values[3], [1, 0]);
    }
}
