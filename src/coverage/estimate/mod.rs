//! Before compiling: what of a traced graph a chip's compiler is known to take.
//!
//! [`traced`] estimates every bucket of a model that neuronc traced, [`graph_file`] any TorchScript
//! file. Both count each operator's calls by [`State`] and by [`Place`], and weigh them by their
//! FLOPs. Start with [`Estimate`]; `docs/estimate.md` has the conventions, and how close this comes.

mod attention;
mod cost;
mod fact;
mod lists;
mod lowering;
mod partition;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::iter::Sum;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Input};
use crate::coverage::estimate::lists::Lists;
use crate::coverage::graph::{Graph, ValueId};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::profile::{Attention, ChipProfile, Operators};

/// The version of [`Estimate`] as JSON; described in `docs/estimate.md`.
pub const SCHEMA_VERSION: u32 = 1;

/// What is known about a model on a chip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub schema_version: u32,
    pub chip: String,
    /// True for a chip whose compiler takes a graph as a whole or not at all.
    pub all_or_nothing: bool,
    /// What the estimate is based on, in the order in which it is asked.
    pub lists: Vec<ListUsed>,
    /// What was assumed about the graph, as sentences.
    pub notes: Vec<String>,
    pub buckets: Vec<BucketEstimate>,
    /// Of all buckets.
    pub totals: Totals,
}

/// A list that an estimate is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListUsed {
    /// As the profile names it.
    pub name: String,
    /// What the list is of.
    pub title: String,
    /// The release it describes, and how far it can be trusted.
    pub version: String,
    pub source: String,
}

/// What is known about an operator on a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Supported,
    NotSupported,
    NotKnown,
}

/// The operators of one graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BucketEstimate {
    /// Absent for a graph from elsewhere.
    pub bucket: Option<Bucket>,
    /// The most frequent first.
    pub operators: Vec<OperatorEstimate>,
    pub totals: Totals,
}

/// The calls of one operator that share a fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorEstimate {
    /// As TorchScript names it, such as `aten::linear`.
    pub operator: String,
    pub count: usize,
    pub state: State,
    pub place: Place,
    /// Of the calls for which it is known.
    pub flops: u64,
    /// The calls for which it is not.
    pub flops_unknown: usize,
    pub reason: Option<String>,
}

/// Where an operator will run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Chip,
    /// On the host's processor; with a compiler that is all or nothing, nowhere.
    Host,
    NotKnown,
}

/// Sums over operators.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Calls of operators.
    pub operators: Share,
    pub flops: Share,
    /// Calls whose FLOPs are not known and not in `flops`.
    pub flops_unknown: usize,
}

/// How much of something is where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    pub chip: u64,
    pub host: u64,
    pub not_known: u64,
    /// `chip` of all three; absent when they are all 0.
    pub percent: Option<f64>,
}

/// A model that neuronc traced.
#[derive(Debug)]
pub struct Traced<'a> {
    pub plan: &'a Plan,
    /// Names and shapes of the weights that each graph takes before its other inputs, in that order.
    pub weights: Vec<(String, Vec<usize>)>,
    pub graphs: Vec<(Bucket, PathBuf)>,
}

/// The estimate for the graphs of a bundle. Where the plan has fused attention and neuronc traces
/// the explicit form for the chip, the estimate is of the explicit form.
pub fn traced(model: &Traced, profile: &ChipProfile) -> Result<Estimate> {
    let chip = Chip::of(profile)?;
    let rewrite = profile.attention == Attention::Explicit;
    let mut written_out = 0;
    let mut buckets = Vec::new();
    for (bucket, path) in &model.graphs {
        let mut graph = Graph::read(path)?;
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
    let chip = Chip::of(profile)?;
    let graph = Graph::read(path)?;
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

impl Traced<'_> {
    /// The shapes of a graph's inputs: the weights, then what the bucket gives.
    fn shapes(&self, bucket: Bucket, graph: &Graph) -> BTreeMap<ValueId, Vec<usize>> {
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

/// What the lists of a chip say of HLO operators, by the names of those lists; `None` where the chip
/// has no list of them.
pub fn hlo_states(
    profile: &ChipProfile,
    operators: &BTreeMap<String, usize>,
) -> Result<Option<BTreeMap<String, State>>> {
    let chip = Chip::of(profile)?;
    let state = |name: &String| Some((name.clone(), chip.lists.hlo(name)?));
    Ok(operators.keys().map(state).collect())
}

/// A chip as an estimate sees it.
struct Chip<'a> {
    name: &'a str,
    operators: &'a Operators,
    lists: Lists,
}

impl<'a> Chip<'a> {
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
            lists: Lists::load(operators)?,
        })
    }

    fn estimate(
        &self,
        bucket: Option<Bucket>,
        graph: &Graph,
        shapes: &BTreeMap<ValueId, Vec<usize>>,
    ) -> BucketEstimate {
        let costs = cost::of_graph(graph, shapes);
        let verdicts: BTreeMap<&str, lists::Verdict> = graph
            .operators()
            .map(|call| (call.operator.as_str(), self.lists.verdict(&call.operator)))
            .collect();
        let is_supported = |operator: &str| {
            // Bookkeeping goes where its operators go.
            verdicts
                .get(operator)
                .is_none_or(|(state, _)| *state == State::Supported)
        };
        let supported: Vec<bool> = graph
            .calls
            .iter()
            .map(|call| is_supported(&call.operator))
            .collect();
        let left = match &self.operators.partitioner {
            Some(limits) => partition::left_on_host(graph, &supported, limits),
            None => vec![None; graph.calls.len()],
        };
        let mut rows = BTreeMap::new();
        for (at, call) in graph
            .calls
            .iter()
            .enumerate()
            .filter(|(_, call)| call.is_operator())
        {
            let (state, reason) = &verdicts[call.operator.as_str()];
            let row = rows
                .entry((&call.operator, left[at]))
                .or_insert_with(|| OperatorEstimate {
                    operator: call.operator.clone(),
                    count: 0,
                    state: *state,
                    place: match (state, left[at]) {
                        (State::Supported, None) => Place::Chip,
                        (State::NotKnown, _) => Place::NotKnown,
                        _ => Place::Host,
                    },
                    flops: 0,
                    flops_unknown: 0,
                    reason: match left[at] {
                        Some(left) => Some(left.reason().to_owned()),
                        None => reason.clone(),
                    },
                });
            row.count += 1;
            match costs[at] {
                Some(flops) => row.flops = row.flops.saturating_add(flops),
                None => row.flops_unknown += 1,
            }
        }
        let mut operators: Vec<OperatorEstimate> = rows.into_values().collect();
        operators.sort_by(|a, b| b.count.cmp(&a.count).then(a.operator.cmp(&b.operator)));
        let totals = operators.iter().map(Totals::of).sum();
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

impl Totals {
    fn of(row: &OperatorEstimate) -> Self {
        Self {
            operators: Share::at(row.place, row.count as u64),
            flops: Share::at(row.place, row.flops),
            flops_unknown: row.flops_unknown,
        }
    }
}

impl Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            operators: sum.operators.plus(one.operators),
            flops: sum.flops.plus(one.flops),
            flops_unknown: sum.flops_unknown + one.flops_unknown,
        })
    }
}

impl Share {
    fn at(place: Place, amount: u64) -> Self {
        let mut share = Self::default();
        match place {
            Place::Chip => share.chip = amount,
            Place::Host => share.host = amount,
            Place::NotKnown => share.not_known = amount,
        }
        share.plus(Self::default())
    }

    /// All of it.
    pub fn all(&self) -> u64 {
        let known = self.chip.saturating_add(self.host);
        known.saturating_add(self.not_known)
    }

    fn plus(self, other: Self) -> Self {
        let sum = Self {
            chip: self.chip.saturating_add(other.chip),
            host: self.host.saturating_add(other.host),
            not_known: self.not_known.saturating_add(other.not_known),
            percent: None,
        };
        let all = sum.all();
        Self {
            percent: (all > 0).then(|| sum.chip as f64 * 100.0 / all as f64),
            ..sum
        }
    }
}
