//! Whether a log holds its beginning and its end: logs have no marks, so this is an estimate.

use crate::findings::Findings;
use crate::reading::{CompilationOutcome, LogRun, Producer, RunName};

/// Whether the log seems whole; `is_list_cut` when it ends within the list of its last run.
pub(super) fn is_complete(findings: &Findings, is_list_cut: bool) -> bool {
    let reading = &findings.reading;
    let no_run_ended = || reading.runs.iter().all(|run| run.outcome.is_none());
    let is_waiting = findings.end.in_dots && no_run_ended();
    if is_list_cut || is_waiting || findings.end.in_analysis {
        return false;
    }
    if reading.skipped.truncated_documents > 0 || reading.skipped.elisions > 0 {
        return false;
    }
    if reading.runs.iter().any(lacks_list) {
        return false;
    }
    let has_end = reading.outcome != CompilationOutcome::Unknown
        || reading.analysis.is_some()
        || reading.exit_code.is_some();
    let is_torch_neuron = reading.producers.contains(&Producer::TorchNeuron);
    has_end && !(is_torch_neuron && reading.runs.iter().any(lacks_figures))
}

/// Whether the last list names fewer operators than the run has. The first list is whole once the
/// second one begins.
pub(super) fn is_list_cut(run: &LogRun) -> bool {
    let Some(figures) = run.compiled else {
        return false;
    };
    match figures.total.saturating_sub(figures.compiled) {
        on_host @ 1.. if run.host_operators.is_some() => run.listed_on_host() < on_host,
        _ => run.listed_on_chip() < figures.compiled,
    }
}

/// Whether the list of the host is missing although operators are left to it.
fn lacks_list(run: &LogRun) -> bool {
    let host_has_some = run.compiled.is_some_and(|it| it.compiled < it.total);
    host_has_some && run.compiled_operators.is_some() && run.host_operators.is_none()
}

/// Whether a run of torch-neuron lacks one of its two lines of figures. A run without both is whole
/// unless something was compiled in it.
fn lacks_figures(run: &LogRun) -> bool {
    match (run.fused, run.compiled) {
        (None, None) => {
            let is_module = matches!(run.name, Some(RunName::Module(_)));
            run.functions.iter().any(|it| it.name.is_some()) || is_module
        }
        (fused, compiled) => fused.is_none() || compiled.is_none(),
    }
}
