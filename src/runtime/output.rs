//! What a worker computed, cut into the outputs of the rows.

use anyhow::{Result, bail};

use crate::bucket::{Bucket, Row};
use crate::sample::output::OutputLayout;
use crate::tensor::HostTensor;

/// Cuts an output of `layout` into one part for each row, without padding; fails for an output of
/// another shape.
pub fn split_rows(
    output: &HostTensor,
    bucket: Bucket,
    rows: &[&Row],
    layout: OutputLayout,
) -> Result<Vec<Vec<f32>>> {
    if output.shape() != layout.shape(bucket) {
        bail!(
            "an output of bucket {bucket} has the shape {:?} in place of {:?}",
            output.shape(),
            layout.shape(bucket)
        );
    }
    let values = output.to_f32()?;
    let per_row = layout.values(bucket.sequence);
    let parts = values
        .chunks_exact(per_row.max(1))
        .zip(rows)
        .map(|(part, row)| part[..layout.values(row.ids.len())].to_vec());
    Ok(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::output::Per;
    use crate::tensor::Dtype;

    fn layout(per: Per, width: usize) -> OutputLayout {
        let dtype = Dtype::F32;
        OutputLayout { per, width, dtype }
    }

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
            split_rows(&tokens, bucket, &[&row], layout(Per::Token, 2)).unwrap(),
            [[0.0, 1.0, 2.0, 3.0]]
        );
        let texts = HostTensor::from_f32(&[2, 3], &values[..6]).unwrap();
        assert_eq!(
            split_rows(&texts, bucket, &[&row], layout(Per::Sample, 3)).unwrap(),
            [[0.0, 1.0, 2.0]]
        );
    }

    #[test]
    fn a_width_that_happens_to_be_the_sequence_is_not_taken_for_tokens() {
        let bucket = Bucket {
            batch: 1,
            sequence: 4,
        };
        let row = Row {
            ids: vec![1],
            type_ids: vec![0],
            position: None,
        };
        let output = HostTensor::from_f32(&[1, 4], &[0.0, 1.0, 2.0, 3.0]).unwrap();
        let whole = split_rows(&output, bucket, &[&row], layout(Per::Sample, 4));
        assert_eq!(whole.unwrap(), [[0.0, 1.0, 2.0, 3.0]]);
        assert!(split_rows(&output, bucket, &[&row], layout(Per::Token, 1)).is_err());
    }
}
