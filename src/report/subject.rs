//! A subject: one model, bucket or graph, whatever kind of source it comes from.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use neuron_logs::reading::{
    CompilationOutcome, Contradiction, GraphStatus, HostOperator, LogGraph, LogReading, LogRun,
    Partitioning, RunName, Subgraphs,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::coverage::estimate::{
    BucketEstimate, Estimate, OperatorEstimate, OperatorPlace, OperatorSupport, PlaceShare,
};
use crate::coverage::{Basis, BucketCoverage, Coverage, OperatorCount};
use crate::report::cost::InferenceCost;

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Share {
    pub part: u64,
    pub whole: u64,
    /// 0 to 100; 100 of nothing.
    pub percent: f64,
}

impl Share {
    pub fn new(part: u64, whole: u64) -> Self {
        let percent = match whole {
            0 => 100.0,
            _ => part as f64 * 100.0 / whole as f64,
        };
        Self {
            part,
            whole,
            percent,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::new(
            self.part.saturating_add(other.part),
            self.whole.saturating_add(other.whole),
        )
    }
}

/// One model, bucket or graph. What the source does not say is absent.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Subject {
    /// The source that it was found in.
    pub source: String,
    pub name: String,
    pub outcome: CompilationOutcome,
    /// Operators whose types an analysis calls supported: an intention, not coverage.
    pub supported: Option<Share>,
    /// Operators that the partitioner took into sub-graphs before compiling: not coverage either.
    pub fused: Option<Share>,
    /// Operators that run on the chip: coverage.
    pub compiled: Option<Share>,
    /// Operators that an estimate places on the chip, before anything is compiled.
    pub estimated: Option<Share>,
    /// FLOPs that an estimate places on the chip.
    pub estimated_flops: Option<Share>,
    /// Operators of which an estimate does not know whether the chip takes them.
    pub not_known: Vec<OperatorCount>,
    pub subgraphs: Option<Subgraphs>,
    /// The operators on the chip, the most frequent first.
    pub on_chip: Option<Vec<OperatorCount>>,
    /// The operators on the host, the most frequent first.
    pub on_host: Option<Vec<HostOperator>>,
    /// The graph, where the subject is one of a compiler that prints no figures of operators.
    pub graph: Option<LogGraph>,
    /// The cost of one inference beside the arithmetic on the chip.
    pub cost: Option<InferenceCost>,
    /// Functions that failed and fell back to the host.
    pub failed_functions: Vec<String>,
    pub contradictions: Vec<String>,
}

impl Subject {
    /// The share that runs on the chip, or would by an estimate.
    pub fn share(&self) -> Option<Share> {
        self.compiled.or(self.estimated)
    }

    /// Operators left to the host, where the source says so.
    pub fn host_operators(&self) -> Option<u64> {
        match (&self.on_host, self.compiled) {
            (_, Some(share)) => Some(share.whole - share.part.min(share.whole)),
            (Some(operators), None) => Some(operators.iter().map(|entry| entry.count).sum()),
            (None, None) => None,
        }
    }

    /// The subjects of a bundle: its buckets.
    pub fn of_bundle(source: &str, coverage: &Coverage) -> Vec<Self> {
        let subject = |bucket: &BucketCoverage| {
            let (on_chip, all) = bucket.counts();
            let is_known = bucket.basis != Basis::NotKnown;
            let host = bucket.on_host.iter().map(|entry| HostOperator {
                operator: entry.operator.clone(),
                count: entry.count as u64,
                supported: None,
            });
            Self {
                outcome: CompilationOutcome::Pass,
                compiled: is_known.then(|| Share::new(on_chip as u64, all as u64)),
                on_chip: is_known.then(|| bucket.on_chip.clone()),
                on_host: is_known.then(|| host.collect()),
                ..Self::empty(source, format!("bucket {}", bucket.bucket))
            }
        };
        coverage.buckets.iter().map(subject).collect()
    }

    /// The subjects of an estimate: its buckets, or the graph that it is of.
    pub fn of_estimate(source: &str, estimate: &Estimate) -> Vec<Self> {
        let subject = |bucket: &BucketEstimate| {
            let at = |place: OperatorPlace| {
                bucket
                    .operators
                    .iter()
                    .filter(move |entry| entry.place == place)
            };
            let counted = |entry: &OperatorEstimate| OperatorCount {
                operator: entry.operator.clone(),
                count: entry.count,
            };
            let host = at(OperatorPlace::Host).map(|entry| HostOperator {
                operator: entry.operator.clone(),
                count: entry.count as u64,
                supported: Some(entry.state == OperatorSupport::Supported),
            });
            let name = bucket
                .bucket
                .map_or_else(|| "graph".to_owned(), |bucket| format!("bucket {bucket}"));
            Self {
                outcome: CompilationOutcome::AnalyzeOnly,
                estimated: Some(of_places(&bucket.totals.operators)),
                estimated_flops: Some(of_places(&bucket.totals.flops)),
                not_known: at(OperatorPlace::NotKnown).map(counted).collect(),
                on_chip: Some(at(OperatorPlace::Chip).map(counted).collect()),
                on_host: Some(host.collect()),
                cost: Some(InferenceCost::of_estimate(&bucket.totals)),
                ..Self::empty(source, name)
            }
        };
        estimate.buckets.iter().map(subject).collect()
    }

    /// The subjects of a log: its runs, or its graphs, or the log as a whole where it has none.
    pub fn of_log(source: &str, reading: &LogReading) -> Vec<Self> {
        let mut subjects: Vec<Self> = reading
            .runs
            .iter()
            .enumerate()
            .map(|(index, run)| Self::of_run(source, reading, (index, run)))
            .collect();
        if subjects.is_empty() {
            subjects = match &reading.partitioning {
                Some(partitioning) if !partitioning.partitions.is_empty() => {
                    vec![Self::of_partitions(source, reading, partitioning)]
                }
                _ => Self::of_graphs(source, &reading.graphs),
            };
        }
        if subjects.is_empty() {
            subjects.push(Self {
                outcome: reading.outcome,
                ..Self::empty(source, "whole log".to_owned())
            });
        }
        if let (Some(analysis), [subject]) = (&reading.analysis, subjects.as_mut_slice()) {
            let share = analysis.arithmetic.or(analysis.all);
            subject.supported = share.map(|share| Share::new(share.supported, share.total));
        }
        let unplaced = reading
            .contradictions
            .iter()
            .filter(|found| found.run.is_none());
        if let Some(first) = subjects.first_mut() {
            first.contradictions.extend(unplaced.map(describe));
        }
        subjects
    }

    fn of_run(source: &str, reading: &LogReading, (index, run): (usize, &LogRun)) -> Self {
        let own = reading
            .contradictions
            .iter()
            .filter(|found| found.run == Some(index));
        let mut on_chip = run.compiled_operators.clone();
        if let Some(operators) = &mut on_chip {
            operators.sort_by(|a, b| b.count.cmp(&a.count).then(a.operator.cmp(&b.operator)));
        }
        let mut on_host = run.host_operators.clone();
        if let Some(operators) = &mut on_host {
            operators.sort_by(|a, b| b.count.cmp(&a.count).then(a.operator.cmp(&b.operator)));
        }
        let placed = run.placement.and_then(|placement| {
            Some(Share::new(
                placement.on_neuron?,
                placement.after_optimisation?,
            ))
        });
        Self {
            outcome: run.outcome.unwrap_or(reading.outcome),
            fused: run
                .fused
                .map(|figure| Share::new(figure.fused, figure.total)),
            compiled: run
                .compiled
                .map(|figure| Share::new(figure.compiled, figure.total))
                .or(placed),
            subgraphs: (run.subgraphs != Subgraphs::default()).then_some(run.subgraphs),
            on_chip,
            on_host,
            cost: InferenceCost::of_run(run),
            failed_functions: run.failed_functions.clone(),
            contradictions: own.map(describe).collect(),
            ..Self::empty(source, run_name(index, run))
        }
    }

    fn of_graphs(source: &str, graphs: &[LogGraph]) -> Vec<Self> {
        let subject = |(index, graph): (usize, &LogGraph)| {
            let number = format!("graph {}", index + 1);
            let name = match &graph.name {
                Some(name) => format!("{number} {name}"),
                None => number,
            };
            let outcome = outcome_of(graph.status);
            Self {
                outcome,
                cost: (outcome == CompilationOutcome::Pass).then(InferenceCost::of_whole_graph),
                graph: Some(graph.clone()),
                ..Self::empty(source, name)
            }
        };
        graphs.iter().enumerate().map(subject).collect()
    }

    /// The subject that a partitioner made of a model: the only figures of operators on these chips.
    fn of_partitions(source: &str, reading: &LogReading, made: &Partitioning) -> Self {
        let mut places: [BTreeMap<&str, usize>; 2] = Default::default();
        for partition in &made.partitions {
            let place = &mut places[usize::from(partition.is_on_chip())];
            for entry in &partition.operators {
                *place.entry(&entry.operator).or_default() += entry.count;
            }
        }
        let [on_host, on_chip] = places.map(|place| {
            let mut sorted: Vec<(&str, usize)> = place.into_iter().collect();
            sorted.sort_by_key(|(_, count)| Reverse(*count));
            sorted
        });
        let on_chip = on_chip.into_iter().map(|(operator, count)| OperatorCount {
            operator: operator.to_owned(),
            count,
        });
        let on_host = on_host.into_iter().map(|(operator, count)| HostOperator {
            operator: operator.to_owned(),
            count: count as u64,
            supported: None,
        });
        Self {
            outcome: reading.outcome,
            on_chip: Some(on_chip.collect()),
            on_host: Some(on_host.collect()),
            cost: Some(InferenceCost::of_partitions(made)),
            ..Self::empty(source, format!("{} partitions", made.partitions.len()))
        }
    }

    fn empty(source: &str, name: String) -> Self {
        Self {
            source: source.to_owned(),
            name,
            outcome: CompilationOutcome::Unknown,
            supported: None,
            fused: None,
            compiled: None,
            estimated: None,
            estimated_flops: None,
            not_known: Vec::new(),
            subgraphs: None,
            on_chip: None,
            on_host: None,
            graph: None,
            cost: None,
            failed_functions: Vec::new(),
            contradictions: Vec::new(),
        }
    }
}

fn outcome_of(status: GraphStatus) -> CompilationOutcome {
    match status {
        GraphStatus::Passed | GraphStatus::Cached => CompilationOutcome::Pass,
        GraphStatus::Failed | GraphStatus::Killed | GraphStatus::FailedInCache => {
            CompilationOutcome::Fail
        }
        GraphStatus::Unfinished | GraphStatus::NotTold | GraphStatus::Extracted => {
            CompilationOutcome::Unknown
        }
    }
}

fn of_places(places: &PlaceShare) -> Share {
    Share::new(places.chip, places.chip + places.host + places.not_known)
}

fn run_name(index: usize, run: &LogRun) -> String {
    let number = format!("run {}", index + 1);
    let called = match &run.name {
        Some(RunName::Model(name) | RunName::Component(name) | RunName::Module(name)) => {
            Some(name.clone())
        }
        None => run
            .functions
            .first()
            .and_then(|function| function.name.clone()),
    };
    let sized = match (run.batch, run.cores) {
        (Some(batch), Some(cores)) => Some(format!("batch {batch}, {cores} cores")),
        (Some(batch), None) => Some(format!("batch {batch}")),
        _ => None,
    };
    [Some(number), called, sized]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}

fn describe(found: &Contradiction) -> String {
    let ((one, first), (other, second)) = (&found.one, &found.other);
    format!("{}: {one} says {first}, {other} says {second}", found.what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use neuron_logs::reading::CompiledShare;

    #[test]
    fn only_what_was_compiled_is_coverage() {
        let mut reading = LogReading::default();
        reading.runs.push(LogRun {
            compiled: Some(CompiledShare {
                total: 565,
                compiled: 555,
                percent: 98.23,
            }),
            ..LogRun::default()
        });
        reading.runs.push(LogRun::default());
        let subjects = Subject::of_log("a.log", &reading);
        assert_eq!(subjects[0].compiled, Some(Share::new(555, 565)));
        assert_eq!(subjects[0].host_operators(), Some(10));
        assert_eq!(
            (subjects[1].compiled, subjects[1].host_operators()),
            (None, None)
        );
    }
}
