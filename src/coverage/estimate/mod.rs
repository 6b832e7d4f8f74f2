//! Before compiling: which operators of a traced graph a chip's compiler is known to take.
//!
//! [`traced`] estimates every bucket of a model that neuronc traced, [`graph_file`] any TorchScript
//! file. Both count each operator's calls by [`OperatorSupport`] and by [`OperatorPlace`], and weigh
//! them by their FLOPs. `lists` and `lowering` know what a chip takes, `partition` what stays on the
//! host all the same; `cost`, `shape` and `fact` find the FLOPs. The result is [`Estimate`];
//! `docs/estimate.md` has the conventions, and how close this comes.

mod attention;
mod cost;
mod fact;
mod lists;
mod lowering;
mod partition;
mod result;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::bucket::{Bucket, Input};
use crate::coverage::estimate::lists::{OperatorLists, SupportVerdict};
use crate::coverage::graph::{TracedGraph, ValueId};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::profile::{Attention, ChipProfile, Operators};

pub use result::{
    BucketEstimate, Estimate, EstimateTotals, ListUsed, OperatorEstimate, OperatorPlace,
    OperatorSupport, PlaceShare, SCHEMA_VERSION,
};

/// A model that neuronc traced.
#[derive(Debug)]
pub struct TracedModel<'a> {
    pub plan: &'a Plan,
    /// Names and shapes of the weights that each graph takes before its other inputs, in that order.
    pub weights: Vec<(String, Vec<usize>)>,
    pub graphs: Vec<(Bucket, PathBuf)>,
}

/// The estimate for the graphs of a model. Where the plan has fused attention and neuronc traces
/// the explicit form for the chip, the estimate is of the explicit form.
pub fn traced(model: &TracedModel, profile: &ChipProfile) -> Result<Estimate> {
    let chip = ChipEstimator::of(profile)?;
    let rewrite = profile.attention == Attention::Explicit;
    let mut written_out = 0;
    let mut buckets = Vec::new();
    for (bucket, path) in &model.graphs {
        let mut graph = TracedGraph::read(path)?;
        if rewrite {
            let (explicit, count) = attention::explicit(&graph);
            written_out += count;
            graph = explicit;
        }
        let shapes = model.shapes(*bucket, &graph);
        buckets.push(chip.estimate(Some(*bucket), &graph, &shapes));
    }
    let mut notes = Vec::new();
    if written_out > 0 {
        notes.push(format!(
            "the graphs have fused attention; for {} neuronc traces its explicit form, which is \
             what this estimate is of",
            profile.name
        ));
    }
    Ok(chip.finish(notes, buckets))
}

/// The estimate for a graph from elsewhere; its inputs have `shapes`, or the shapes that the file
/// says it was traced with. Without either operators are counted and their FLOPs are unknown.
pub fn graph_file(
    path: &Path,
    profile: &ChipProfile,
    shapes: Option<&[Vec<usize>]>,
) -> Result<Estimate> {
    let chip = ChipEstimator::of(profile)?;
    let graph = TracedGraph::read(path)?;
    let mut notes = Vec::new();
    let shapes = match shapes {
        Some(shapes) if shapes.len() != graph.inputs.len() => {
            return Err(Failure::usage(format!(
                "`{}` takes {} inputs, and {} shapes are given",
                path.display(),
                graph.inputs.len(),
                shapes.len()
            ))
            .into());
        }
        Some(shapes) => shapes,
        None if graph.traced_shapes.len() == graph.inputs.len() => {
            notes.push(format!(
                "the inputs have the shapes that the graph was traced with: {:?}",
                graph.traced_shapes
            ));
            &graph.traced_shapes
        }
        None => &[],
    };
    let shapes = graph.inputs.iter().copied().zip(shapes.iter().cloned());
    let bucket = chip.estimate(None, &graph, &shapes.collect());
    Ok(chip.finish(notes, vec![bucket]))
}

impl TracedModel<'_> {
    /// The shapes of a graph's inputs: the weights, then what the bucket gives.
    fn shapes(&self, bucket: Bucket, graph: &TracedGraph) -> BTreeMap<ValueId, Vec<usize>> {
        let tokens = self.plan.inputs.iter().map(|input| match input {
            Input::InputIds | Input::AttentionMask | Input::TokenTypeIds => {
                vec![bucket.batch, bucket.sequence]
            }
            Input::Position => vec![bucket.batch],
        });
        let weights = self.weights.iter().map(|(_, shape)| shape.clone());
        let shapes = weights.chain(tokens);
        graph.inputs.iter().copied().zip(shapes).collect()
    }
}

/// Whether a chip takes each of these HLO operators, by the names of its lists; `None` where the chip
/// has no list of them.
pub fn hlo_states(
    profile: &ChipProfile,
    operators: &BTreeMap<String, usize>,
) -> Result<Option<BTreeMap<String, OperatorSupport>>> {
    let chip = ChipEstimator::of(profile)?;
    let state = |name: &String| Some((name.clone(), chip.lists.hlo(name)?));
    Ok(operators.keys().map(state).collect())
}

/// The lists and the partitioner of a chip, which make an estimate of a graph.
struct ChipEstimator<'a> {
    name: &'a str,
    operators: &'a Operators,
    lists: OperatorLists,
}

impl<'a> ChipEstimator<'a> {
    fn of(profile: &'a ChipProfile) -> Result<Self> {
        let Some(operators) = &profile.operators else {
            return Err(Failure::usage(format!(
                "profile `{}` names no operator lists",
                profile.name
            ))
            .why("an estimate compares a graph with what the compiler is known to take")
            .help("choose a Neuron chip, or add `operators:` to the profile")
            .into());
        };
        Ok(Self {
            name: &profile.name,
            operators,
            lists: OperatorLists::load(operators)?,
        })
    }

    fn estimate(
        &self,
        bucket: Option<Bucket>,
        graph: &TracedGraph,
        shapes: &BTreeMap<ValueId, Vec<usize>>,
    ) -> BucketEstimate {
        let costs = cost::of_graph(graph, shapes);
        let verdicts: BTreeMap<&str, SupportVerdict> = graph
            .operators()
            .map(|call| (call.operator.as_str(), self.lists.verdict(&call.operator)))
            .collect();
        let is_supported = |operator: &str| {
            // Bookkeeping has no verdict, and goes where its operators go.
            verdicts
                .get(operator)
                .is_none_or(|(state, _)| *state == OperatorSupport::Supported)
        };
        let supported: Vec<bool> = graph
            .calls
            .iter()
            .map(|call| is_supported(&call.operator))
            .collect();
        let host_reasons = match &self.operators.partitioner {
            Some(limits) => partition::left_on_host(graph, &supported, limits),
            None => vec![None; graph.calls.len()],
        };
        let mut entries = BTreeMap::new();
        let calls = graph.calls.iter().enumerate();
        for (at, call) in calls.filter(|(_, call)| call.is_operator()) {
            let (state, reason) = &verdicts[call.operator.as_str()];
            let entry = entries
                .entry((&call.operator, host_reasons[at]))
                .or_insert_with(|| OperatorEstimate {
                    operator: call.operator.clone(),
                    count: 0,
                    state: *state,
                    place: match (state, host_reasons[at]) {
                        (OperatorSupport::Supported, None) => OperatorPlace::Chip,
                        (OperatorSupport::NotKnown, _) => OperatorPlace::NotKnown,
                        _ => OperatorPlace::Host,
                    },
                    flops: 0,
                    flops_unknown: 0,
                    reason: match host_reasons[at] {
                        Some(host_reason) => Some(host_reason.text().to_owned()),
                        None => reason.clone(),
                    },
                });
            entry.count += 1;
            match costs[at] {
                Some(flops) => entry.flops = entry.flops.saturating_add(flops),
                None => entry.flops_unknown += 1,
            }
        }
        let mut operators: Vec<OperatorEstimate> = entries.into_values().collect();
        operators.sort_by(|a, b| b.count.cmp(&a.count).then(a.operator.cmp(&b.operator)));
        let totals = operators.iter().map(EstimateTotals::of).sum();
        BucketEstimate {
            bucket,
            operators,
            totals,
        }
    }

    fn finish(&self, notes: Vec<String>, buckets: Vec<BucketEstimate>) -> Estimate {
        Estimate {
            schema_version: SCHEMA_VERSION,
            chip: self.name.to_owned(),
            all_or_nothing: self.operators.partitioner.is_none(),
            lists: self.lists.used(),
            notes,
            totals: buckets.iter().map(|bucket| bucket.totals.clone()).sum(),
            buckets,
        }
    }
}
