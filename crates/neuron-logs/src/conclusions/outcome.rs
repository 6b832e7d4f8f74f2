//! The outcome of a run and of a whole log.

use crate::findings::Findings;
use crate::reading::{CompilationOutcome, CompiledShare, LogRun, NoticeKind};

/// The outcome of a run by its figures; `None` where it has none and nothing failed.
pub(super) fn of_run(run: &LogRun) -> Option<CompilationOutcome> {
    let Some(CompiledShare {
        total, compiled, ..
    }) = run.compiled
    else {
        return (!run.failed_functions.is_empty()).then_some(CompilationOutcome::Fail);
    };
    let lacks_subgraphs = match (run.subgraphs.compiled, run.subgraphs.fused) {
        (Some(compiled), Some(fused)) => compiled < fused,
        _ => false,
    };
    Some(if compiled == 0 && total > 0 {
        CompilationOutcome::Fail
    } else if lacks_subgraphs || !run.failed_functions.is_empty() {
        CompilationOutcome::Partial
    } else {
        CompilationOutcome::Pass
    })
}

/// The outcome of the log: that of its runs where they have one, else by every sign of success and
/// failure in it.
pub(super) fn of_log(findings: &Findings) -> CompilationOutcome {
    let reading = &findings.reading;
    let outcomes = reading.runs.iter().filter_map(|run| run.outcome);
    if let Some(outcome) = joint(outcomes) {
        return outcome;
    }
    // An analysis calls the compiler too, and its passes compile no model.
    let passes_of_analysis = findings.passes_of_analysis.unwrap_or(0);
    let passes = reading.statuses.pass.saturating_sub(passes_of_analysis);
    let has_success = findings.successes_beyond_status > 0 || passes > 0;
    if has_failure(findings, has_success) {
        CompilationOutcome::Fail
    } else if findings.passes_of_analysis.is_some() && !has_success {
        CompilationOutcome::AnalyzeOnly
    } else if findings.end.in_dots {
        // A compiler was running when the log ended, whatever passed before.
        CompilationOutcome::Unknown
    } else if has_success
        || (reading.parallel_compile.and_then(|it| it.succeeded)).is_some_and(|count| count > 0)
        || (reading.exit_code == Some(0) && findings.is_attempted)
    {
        CompilationOutcome::Pass
    } else {
        CompilationOutcome::Unknown
    }
}

fn has_failure(findings: &Findings, has_success: bool) -> bool {
    let reading = &findings.reading;
    let parallel_failed = reading.parallel_compile.and_then(|it| it.failed);
    findings.fatal_errors > 0
        || reading.statuses.error > 0
        || reading.return_codes.iter().any(|code| *code != 0)
        || reading.exit_code.is_some_and(|code| code != 0)
        || parallel_failed.is_some_and(|failed| failed > 0)
        // A cached failure may have been compiled again since.
        || (reading.cache.failed_hits > 0 && !has_success)
        || (reading.notices.iter()).any(|notice| notice.kind == NoticeKind::CpuTrace)
}

/// The outcome of several runs together; `None` when there are none.
fn joint(mut outcomes: impl Iterator<Item = CompilationOutcome>) -> Option<CompilationOutcome> {
    let first = outcomes.next()?;
    if outcomes.all(|outcome| outcome == first) {
        Some(first)
    } else {
        Some(CompilationOutcome::Partial)
    }
}
