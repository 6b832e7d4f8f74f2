//! Which supported operators stay on the host all the same: an imitation of torch-neuron's
//! partitioner, which is not public.
//!
//! 1. Operators that are not supported are on the host. Each path from the chip to the host and back
//!    begins a new stage; an operator that may run later goes to the stage of those that use it.
//! 2. Within a stage, operators that exchange values make one sub-graph.
//! 3. A sub-graph with more than a share of all operators is the only one on the chip; otherwise
//!    every one of a minimal size is. Both limits are documented arguments of `torch_neuron.trace`.
//! 4. An operator at the entry of a sub-graph that makes one value of several that the host
//!    computed stays there: one value travels instead of several. Seen in published logs, where the
//!    sums of embeddings are never on the chip.
//!
//! `docs/estimate.md` says how close this comes.

use std::collections::BTreeSet;

use crate::coverage::graph::{TracedGraph, ValueId, ValueOrigin};
use crate::profile::PartitionLimits;

/// The reason for leaving a supported operator to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostReason {
    /// Its sub-graph is not the large one.
    Apart,
    /// Its sub-graph is too small.
    Small,
    /// It joins what the host computed.
    Joins,
}

impl HostReason {
    /// The reason as a report says it.
    pub(super) fn text(self) -> &'static str {
        match self {
            HostReason::Apart => "apart from the one large sub-graph, which alone is compiled",
            HostReason::Small => "its sub-graph is too small to be compiled",
            HostReason::Joins => "joins values that the host computes, so that one is handed over",
        }
    }
}

/// For each call of `graph` that stays on the host although it is supported, the reason.
pub(super) fn left_on_host(
    graph: &TracedGraph,
    supported: &[bool],
    limits: &PartitionLimits,
) -> Vec<Option<HostReason>> {
    let flow = ValueFlow::of(graph);
    let stages = stages(&flow, supported);
    let groups = groups(&flow, supported, &stages);
    let mut reasons = vec![None; graph.calls.len()];
    let mut sizes = vec![0usize; graph.calls.len()];
    for (call, group) in groups
        .iter()
        .enumerate()
        .filter(|(call, _)| flow.counts[*call])
    {
        if supported[call] {
            sizes[*group] += 1;
        }
    }
    let all = flow.counts.iter().filter(|counts| **counts).count();
    let largest = (0..sizes.len()).max_by_key(|group| sizes[*group]);
    let single = largest.filter(|group| sizes[*group] as f64 > limits.single_share * all as f64);
    for call in (0..graph.calls.len()).filter(|call| supported[*call]) {
        let group = groups[call];
        reasons[call] = match single {
            Some(single) if group != single => Some(HostReason::Apart),
            None if sizes[group] < limits.minimum_operators => Some(HostReason::Small),
            _ if joins(&flow, call, supported, &reasons) => Some(HostReason::Joins),
            _ => None,
        };
    }
    reasons
}

/// The flow of values between calls.
struct ValueFlow {
    /// True for operators; `prim` calls only pass values on.
    counts: Vec<bool>,
    /// The operators whose results each call takes, each once.
    producers: Vec<BTreeSet<usize>>,
    /// The operators that take the result of each call.
    consumers: Vec<BTreeSet<usize>>,
    /// True for calls that take an input of the graph.
    takes_input: Vec<bool>,
}

impl ValueFlow {
    fn of(graph: &TracedGraph) -> Self {
        let count = graph.calls.len();
        let mut flow = Self {
            counts: graph.calls.iter().map(|call| call.is_operator()).collect(),
            producers: vec![BTreeSet::new(); count],
            consumers: vec![BTreeSet::new(); count],
            takes_input: vec![false; count],
        };
        for (at, call) in graph.calls.iter().enumerate() {
            let mut producers = BTreeSet::new();
            for id in call.values() {
                match source(graph, id) {
                    Some(ValueSource::Input) => flow.takes_input[at] = true,
                    Some(ValueSource::Call(by)) if flow.counts[by] => {
                        producers.insert(by);
                    }
                    Some(ValueSource::Call(by)) => {
                        producers.extend(&flow.producers[by]);
                        flow.takes_input[at] |= flow.takes_input[by];
                    }
                    None => {}
                }
            }
            if flow.counts[at] {
                for by in &producers {
                    flow.consumers[*by].insert(at);
                }
            }
            flow.producers[at] = producers;
        }
        flow
    }
}

/// The source of a value: an input of the graph, or the call of an operator.
enum ValueSource {
    Input,
    Call(usize),
}

/// The source of a value; `None` for what is stored, which is on the chip as well as on the host.
fn source(graph: &TracedGraph, id: ValueId) -> Option<ValueSource> {
    match &graph.values[id] {
        ValueOrigin::Input(_) => Some(ValueSource::Input),
        ValueOrigin::Stored(_) => None,
        ValueOrigin::Call(call) => Some(ValueSource::Call(*call)),
        // A part is made after the value that it is a part of.
        ValueOrigin::Part(of, _) => source(graph, *of),
    }
}

/// The stage of each call: operators of one stage can run without the host in between.
fn stages(flow: &ValueFlow, supported: &[bool]) -> Vec<usize> {
    let mut stages = vec![0usize; supported.len()];
    for call in 0..stages.len() {
        let after = |by: &usize| stages[*by] + usize::from(supported[*by] && !supported[call]);
        stages[call] = flow.producers[call].iter().map(after).max().unwrap_or(0);
    }
    for call in (0..stages.len()).rev().filter(|call| supported[*call]) {
        let before = |to: &usize| stages[*to].saturating_sub(usize::from(!supported[*to]));
        let latest = flow.consumers[call].iter().map(before).min();
        stages[call] = stages[call].max(latest.unwrap_or(0));
    }
    stages
}

/// The sub-graph of each supported call, named by one of its calls.
fn groups(flow: &ValueFlow, supported: &[bool], stages: &[usize]) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..supported.len()).collect();
    for call in (0..supported.len()).filter(|call| supported[*call]) {
        for by in &flow.producers[call] {
            if supported[*by] && stages[*by] == stages[call] {
                let (a, b) = (root(&mut parents, *by), root(&mut parents, call));
                parents[a] = b;
            }
        }
    }
    (0..parents.len())
        .map(|call| root(&mut parents, call))
        .collect()
}

fn root(parents: &mut [usize], mut call: usize) -> usize {
    while parents[call] != call {
        parents[call] = parents[parents[call]];
        call = parents[call];
    }
    call
}

/// True for a call that takes several values from operators on the host, and nothing else but what
/// is stored.
fn joins(
    flow: &ValueFlow,
    call: usize,
    supported: &[bool],
    reasons: &[Option<HostReason>],
) -> bool {
    let producers = &flow.producers[call];
    let on_host = |by: &usize| !supported[*by] || reasons[*by].is_some();
    producers.len() > 1 && producers.iter().all(on_host) && !flow.takes_input[call]
}
