//! What a worker computed, cut into the outputs of the rows.

use anyhow::{Result, bail};

use crate::bucket::{Bucket, Row};
use crate::tensor::HostTensor;

/// Cuts an output into one part for each row, without padding. An output has the batch as its first
/// axis; where the second one is the bucket's sequence, each row keeps as much of it as it has tokens.
pub fn split_rows(output: &HostTensor, bucket: Bucket, rows: &[&Row]) -> Result<Vec<Vec<f32>>> {
    let values = output.to_f32()?;
    let (batch, rest) = match output.shape() {
        [batch, rest @ ..] if *batch == bucket.batch => (*batch, rest),
        other => bail!("an output of bucket {bucket} has the shape {other:?}"),
    };
    let per_row = values.len() / batch;
    let parts = values
        .chunks_exact(per_row.max(1))
        .zip(rows)
        .map(|(part, row)| {
            let per_token = match rest {
                [sequence, inner @ ..] if *sequence == bucket.sequence && !inner.is_empty() => {
                    inner.iter().product::<usize>()
                }
                _ => return part.to_vec(),
            };
            part[..row.ids.len() * per_token].to_vec()
        });
    Ok(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_cut_from_token_outputs_and_text_outputs_stay_whole() {
        let bucket = Bucket {
            batch: 2,
            sequence: 3,
        };
        let row = Row {
            ids: vec![1, 2],
            type_ids: vec![0, 0],
            position: None,
        };
        let values: Vec<f32> = (0..12u8).map(f32::from).collect();
        let tokens = HostTensor::from_f32(&[2, 3, 2], &values).unwrap();
        assert_eq!(
            split_rows(&tokens, bucket, &[&row]).unwrap(),
            [[0.0, 1.0, 2.0, 3.0]]
        );
        let texts = HostTensor::from_f32(&[2, 3], &values[..6]).unwrap();
        assert_eq!(
            split_rows(&texts, bucket, &[&row]).unwrap(),
            [[0.0, 1.0, 2.0]]
        );
    }
}
