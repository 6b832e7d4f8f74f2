//! Verification: every bucket of a bundle against the reference outputs that were sealed into it.
//!
//! A reference output is the fp32 result for one row alone and without padding. A bucket is right
//! when every row that it holds comes out the same, alone and beside rows of other lengths.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::bucket::{Bucket, Row};
use crate::bundle::{Bundle, REFERENCE_ROWS_FILE};
use crate::executor::job::{REFERENCE_FILE, reference_stride};
use crate::failure::Failure;
use crate::family::weights;
use crate::files;
use crate::profile::Tolerance;
use crate::runtime::Worker;

/// How long one batch may take.
const RUN_DEADLINE: Duration = Duration::from_secs(300);

/// The result of verifying a bundle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    pub schema_version: u32,
    pub passed: bool,
    pub tolerance: Tolerance,
    pub buckets: Vec<BucketVerification>,
}

/// The result of verifying one bucket.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BucketVerification {
    pub bucket: Bucket,
    pub passed: bool,
    #[serde(flatten)]
    pub difference: Difference,
}

/// How outputs differ from their references.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Rows that were compared; a row counts each time it ran.
    pub rows: usize,
    /// The largest absolute difference to a reference value.
    pub max_abs: f64,
    /// The smallest cosine between an output and its reference.
    pub min_cosine: f64,
    /// Values that are NaN or infinite.
    pub non_finite: usize,
}

/// A row with the output it must have.
#[derive(Debug, Clone)]
pub struct Reference {
    pub row: Row,
    /// Sampled as `executor::job` says.
    pub values: Vec<f32>,
}

/// Runs every bucket on `worker`; `progress` is told of each bucket that is done.
pub fn verify(
    bundle: &Bundle,
    worker: &mut Worker,
    progress: &mut dyn FnMut(Bucket),
) -> Result<Verification> {
    let references = references(bundle.folder())?;
    let tolerance = bundle.manifest.plan.tolerance;
    let mut buckets = Vec::new();
    for artifact in &bundle.manifest.artifacts {
        let bucket = artifact.bucket;
        let mut result = BucketVerification {
            bucket,
            passed: false,
            difference: Difference::default(),
        };
        for batch in batches(bucket, &references) {
            let rows: Vec<&Row> = batch.iter().map(|reference| &reference.row).collect();
            let outputs = worker.run_rows(bundle, bucket, &rows, RUN_DEADLINE)?;
            for (output, reference) in outputs.iter().zip(batch) {
                result
                    .difference
                    .compare(bucket, output, &reference.values)?;
            }
        }
        result.passed = result.difference.is_within(tolerance);
        progress(bucket);
        buckets.push(result);
    }
    Ok(Verification {
        schema_version: 1,
        passed: buckets.iter().all(|bucket| bucket.passed),
        tolerance,
        buckets,
    })
}

/// The batches to run: every row that fits beside others, and the longest and the shortest alone.
fn batches(bucket: Bucket, references: &[Reference]) -> Vec<Vec<&Reference>> {
    let fits: Vec<&Reference> = references
        .iter()
        .filter(|reference| reference.row.ids.len() <= bucket.sequence)
        .collect();
    let mut batches: Vec<Vec<&Reference>> = fits.chunks(bucket.batch).map(<[_]>::to_vec).collect();
    if bucket.batch > 1 {
        let alone = fits.first().into_iter().chain(fits.last());
        batches.extend(alone.map(|reference| vec![*reference]));
    }
    batches
}

/// The references in a folder that holds what tracing made, such as a bundle.
pub fn references(folder: &Path) -> Result<Vec<Reference>> {
    let path = folder.join(REFERENCE_FILE);
    let map = weights::map_file(&path)?;
    let outputs = weights::parse(&path, &map)?;
    let rows: Vec<Row> = files::load_json(&folder.join(REFERENCE_ROWS_FILE))?;
    let reference = |(index, row): (usize, Row)| -> Result<Reference> {
        let view = outputs.tensor(&index.to_string()).with_context(|| {
            format!(
                "`{}` has no output for reference row {index}",
                path.display()
            )
        })?;
        let (values, _) = view.data().as_chunks::<4>();
        Ok(Reference {
            row,
            values: values
                .iter()
                .map(|value| f32::from_le_bytes(*value))
                .collect(),
        })
    };
    rows.into_iter().enumerate().map(reference).collect()
}

impl Default for Difference {
    fn default() -> Self {
        Self {
            rows: 0,
            max_abs: 0.0,
            min_cosine: 1.0,
            non_finite: 0,
        }
    }
}

impl Difference {
    /// Compares the output for one row, without padding, with its sampled reference.
    pub fn compare(&mut self, bucket: Bucket, output: &[f32], reference: &[f32]) -> Result<()> {
        self.rows += 1;
        self.non_finite += output.iter().filter(|value| !value.is_finite()).count();
        let sampled = output.iter().step_by(reference_stride(output.len()));
        let pairs: Vec<(f64, f64)> = sampled
            .zip(reference)
            .map(|(value, expected)| (f64::from(*value), f64::from(*expected)))
            .collect();
        if pairs.len() != reference.len() {
            return Err(
                Failure::usage(format!("bucket {bucket} answers with another shape"))
                    .why(format!(
                        "{} values were sealed, {} came out",
                        reference.len(),
                        pairs.len()
                    ))
                    .into(),
            );
        }
        let difference = pairs
            .iter()
            .map(|(value, expected)| (value - expected).abs());
        self.max_abs = difference.fold(self.max_abs, f64::max);
        self.min_cosine = self.min_cosine.min(cosine(&pairs));
        Ok(())
    }

    /// A comparison with NaN is never within a tolerance.
    pub fn is_within(&self, tolerance: Tolerance) -> bool {
        self.non_finite == 0
            && self.rows > 0
            && self.max_abs <= tolerance.max_abs
            && self.min_cosine >= tolerance.min_cosine
    }
}

/// The cosine of the angle between two vectors; 1 when both are zero.
fn cosine(pairs: &[(f64, f64)]) -> f64 {
    let (mut dot, mut left, mut right) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        dot += a * b;
        left += a * a;
        right += b * b;
    }
    match (left * right).sqrt() {
        0.0 if left == right => 1.0,
        norm => dot / norm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: Bucket = Bucket {
        batch: 1,
        sequence: 8,
    };

    const TOLERANCE: Tolerance = Tolerance {
        max_abs: 1e-3,
        min_cosine: 0.999,
    };

    #[test]
    fn a_difference_beyond_the_tolerance_fails() {
        let mut equal = Difference::default();
        equal.compare(BUCKET, &[1.0, 2.0], &[1.0, 2.0]).unwrap();
        assert!(equal.is_within(TOLERANCE));
        let mut off = Difference::default();
        off.compare(BUCKET, &[1.0, 2.1], &[1.0, 2.0]).unwrap();
        assert!(!off.is_within(TOLERANCE));
    }

    #[test]
    fn a_value_that_is_no_number_fails() {
        let mut result = Difference::default();
        result
            .compare(BUCKET, &[f32::NAN, 2.0], &[1.0, 2.0])
            .unwrap();
        assert_eq!(result.non_finite, 1);
        assert!(!result.is_within(TOLERANCE));
    }

    #[test]
    fn nothing_compared_is_not_a_success() {
        assert!(!Difference::default().is_within(TOLERANCE));
    }
}
