//! Conclusions from the whole log: its outcome, its completeness, its contradictions.

mod complete;
mod contradictions;
mod outcome;

use crate::findings::Findings;
use crate::reading::{
    ChipFamily, CompilationOutcome, GraphStatus, LogGraph, LogReading, LogRun, Producer,
};

/// Completes the reading.
pub(crate) fn finish(mut findings: Findings) -> LogReading {
    findings.assign_dots();
    for run in &mut findings.reading.runs {
        run.outcome = run.outcome.or_else(|| outcome::of_run(run));
        let all = run.compiled.is_some_and(|it| it.compiled == it.total);
        // torch-neuron prints no second list when there is nothing to put into it.
        if run.compiled_operators.is_some() && all {
            run.host_operators.get_or_insert_default();
        }
    }
    let last = findings.reading.runs.last();
    let is_list_cut = findings.end.in_operators && last.is_some_and(complete::is_list_cut);
    let contradictions = contradictions::all(&findings, is_list_cut);
    findings.reading.contradictions.extend(contradictions);
    findings.reading.chip = chip(&findings.reading.producers);
    findings.reading.outcome = outcome::of_log(&findings);
    settle_graphs(&mut findings.reading);
    findings.reading.complete = complete::is_complete(&findings, is_list_cut);
    findings.reading
}

/// The generation of the producers; `None` when they do not say or are of both.
fn chip(producers: &[Producer]) -> Option<ChipFamily> {
    let mut families = producers.iter().filter_map(|producer| producer.chips());
    let first = families.next()?;
    families.all(|other| other == first).then_some(first)
}

/// Drops graphs where they say nothing of their own, and decides how runs without figures ended.
fn settle_graphs(reading: &mut LogReading) {
    let has_figures = |run: &LogRun| run.fused.is_some() || run.compiled.is_some();
    let is_inf1 = reading.chip == Some(ChipFamily::Inf1) || reading.runs.iter().any(has_figures);
    if is_inf1 || reading.outcome == CompilationOutcome::AnalyzeOnly || !reading.recognised {
        reading.graphs.clear();
    }
    for (index, run) in reading.runs.iter_mut().enumerate() {
        if run.outcome.is_some() || is_inf1 {
            continue;
        }
        let mut graphs = reading.graphs.iter();
        if graphs.any(|graph| graph.run == Some(index) && is_failed(graph)) {
            run.outcome = Some(CompilationOutcome::Fail);
        } else if run.elapsed_s.is_some() {
            run.outcome = Some(CompilationOutcome::Pass);
        }
    }
}

fn is_failed(graph: &LogGraph) -> bool {
    matches!(
        graph.status,
        GraphStatus::Failed | GraphStatus::Killed | GraphStatus::FailedInCache
    )
}
