//! The graph of one bucket: traced, written, and checked against the forward it was traced from.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use neuronc::bucket::{Bucket, Input, Row, fill};
use neuronc::failure::{Class, Failure};
use neuronc::files;
use neuronc::sample::output::OutputLayout;
use tch::{CModule, Tensor};

use crate::model::{Forward, Inputs, Weights};
use crate::tensors::{dimensions, to_torch};

/// The largest difference between a graph and its forward, in parts of the largest output: both run
/// the same operators.
const DIFFERENCE_MAX: f64 = 1e-4;

/// More than a file system keeps without a block of its own.
const PROBE_BYTES: usize = 64 << 10;

/// Where a graph has its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsAre {
    /// Its first inputs, in the order of the names.
    Inputs,
    /// Constants in its file.
    Constants,
}

/// A model with its weights, ready to be traced.
pub struct Bound<'a> {
    pub model: &'a Forward,
    /// Names of `weights`, in the order in which a graph takes them.
    pub names: &'a [String],
    /// No two share memory.
    pub weights: &'a [Tensor],
    /// What a graph takes after the weights.
    pub inputs: &'a [Input],
    /// The layout of what the forward returns.
    pub output: OutputLayout,
}

impl Bound<'_> {
    /// Runs the forward eagerly; `inputs` are shaped and ordered as the graph of `bucket` takes them.
    pub fn forward(&self, bucket: Bucket, inputs: &[Tensor]) -> Result<Tensor> {
        self.forward_with(bucket, self.weights, inputs)
    }

    fn forward_with(
        &self,
        bucket: Bucket,
        weights: &[Tensor],
        inputs: &[Tensor],
    ) -> Result<Tensor> {
        let weights = Weights::new(self.names, weights)?;
        let inputs = Inputs::new(self.inputs, inputs)?;
        let output = self.model.output(&weights, &inputs)?;
        let expected = dimensions(&self.output.shape(bucket))?;
        if output.size() != expected {
            let found = output.size();
            let what = format!("the forward returns {found:?}, and its layout says {expected:?}");
            return Err(Failure::new(Class::Bug, what).into());
        }
        Ok(output)
    }

    /// Traces the graph of `bucket`, writes it to `path`, and returns what loading that file gives.
    pub fn trace(&self, bucket: Bucket, path: &Path, weights_are: WeightsAre) -> Result<CModule> {
        let context = || format!("tracing bucket {bucket}");
        let tokens = self.examples(bucket, 0)?;
        let traced = match weights_are {
            WeightsAre::Constants => tokens,
            WeightsAre::Inputs => self.graph_inputs(&tokens),
        };
        ensure!(
            are_apart(&traced),
            "two inputs of bucket {bucket} share memory: the tracer would take them for one"
        );
        let mut failure = None;
        let mut forward = |inputs: &[Tensor]| {
            let output = match weights_are {
                WeightsAre::Constants => self.forward(bucket, inputs),
                WeightsAre::Inputs => {
                    let (weights, tokens) = inputs.split_at(self.weights.len());
                    self.forward_with(bucket, weights, tokens)
                }
            };
            // The tracer takes tensors, not errors; without one it ends, and its graph is dropped.
            output.map_or_else(
                |error| {
                    failure = Some(error);
                    Vec::new()
                },
                |output| vec![output],
            )
        };
        let graph = CModule::create_by_tracing("Graph", "forward", &traced, &mut forward);
        if let Some(error) = failure {
            return Err(error).with_context(context);
        }
        save(&graph.with_context(context)?, path)
    }

    /// Compares a graph of `bucket` with the forward, on inputs other than those it was traced with.
    pub fn check(&self, bucket: Bucket, graph: &CModule, weights_are: WeightsAre) -> Result<()> {
        let context = || format!("checking the graph of bucket {bucket}");
        let tokens = self.examples(bucket, 1)?;
        let expected = self.forward(bucket, &tokens).with_context(context)?;
        let inputs = match weights_are {
            WeightsAre::Constants => tokens,
            WeightsAre::Inputs => self.graph_inputs(&tokens),
        };
        let found = graph.forward_ts(&inputs).with_context(context)?;
        compare(&expected, &found).with_context(context)
    }

    fn graph_inputs(&self, tokens: &[Tensor]) -> Vec<Tensor> {
        self.weights
            .iter()
            .chain(tokens)
            .map(Tensor::shallow_clone)
            .collect()
    }

    /// Inputs as texts would give them: rows of several lengths in several segments, padding, and a
    /// row that is missing. Each tensor has memory of its own, and each `seed` gives others.
    fn examples(&self, bucket: Bucket, seed: usize) -> Result<Vec<Tensor>> {
        let encoder = &self.model.spec.encoder;
        let last_segment = encoder
            .token_types
            .map_or(0, |types| types.saturating_sub(1));
        let row = |row: usize| {
            let length = bucket.sequence - (row + seed) * 3 % bucket.sequence;
            let number = |place: usize| (place + 1) * 7919 + (row + 1) * 104_729 + seed * 611_953;
            Row {
                ids: (0..length)
                    .map(|place| (number(place) % encoder.vocabulary) as i64)
                    .collect(),
                type_ids: (0..length)
                    .map(|place| (place * 2 / length).min(last_segment) as i64)
                    .collect(),
                position: Some(number(0) % length),
            }
        };
        let rows: Vec<Row> = (0..(bucket.batch - 1).max(1)).map(row).collect();
        let rows: Vec<&Row> = rows.iter().collect();
        let tensors = fill(bucket, &rows, self.inputs, encoder.pad_id)?;
        tensors.iter().map(to_torch).collect()
    }
}

fn are_apart(tensors: &[Tensor]) -> bool {
    let addresses = tensors.iter().map(|tensor| tensor.data_ptr().addr());
    let distinct: BTreeSet<usize> = addresses.collect();
    distinct.len() == tensors.len()
}

/// Writes `graph` and loads it again: libtorch does not notice when the last of a file is not written.
fn save(graph: &CModule, path: &Path) -> Result<CModule> {
    let context = || format!("writing `{}`", path.display());
    graph.save(path).with_context(context)?;
    CModule::load(path).or_else(|error| {
        // Nobody but the file system can say why, and it says so only to those who write.
        files::write(path, &[0; PROBE_BYTES])?;
        Err(error).with_context(context)
    })
}

fn compare(expected: &Tensor, found: &Tensor) -> Result<()> {
    if expected.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
        return Err(Failure::usage("the model's output is not finite")
            .why("a weight is infinite or NaN, or a number exceeds the type that it is cast to")
            .help("check the weights; with `--auto-cast-type fp16` try `bf16`, whose range is that of fp32")
            .into());
    }
    let largest = |tensor: &Tensor| tensor.f_abs()?.f_max()?.f_double_value(&[]);
    let bound = DIFFERENCE_MAX * largest(expected)?.max(1.0);
    let difference = largest(&expected.f_sub(found)?)?;
    // Written so that NaN counts as different.
    if difference <= bound {
        return Ok(());
    }
    let why = format!("they differ by {difference:.2e}, at most {bound:.2e} is expected");
    Err(Failure::new(
        Class::Bug,
        "the graph does not compute what its forward does",
    )
    .why(why)
    .into())
}
