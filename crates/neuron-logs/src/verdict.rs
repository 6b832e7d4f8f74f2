//! What follows from the whole log: the outcome, whether it is complete, what contradicts itself.

use super::book::Book;
use super::reading::{
    ChipFamily, Compiled, Contradiction, Graph, GraphStatus, LogReading, NoticeKind, OperatorCount,
    Outcome, Producer, Run, RunName, Supported,
};

/// How far a printed percentage may be from its figures: they are rounded to two digits.
const PERCENT_TOLERANCE: f64 = 0.006;

/// The share of sub-graphs is rounded to one digit.
const SUBGRAPH_PERCENT_TOLERANCE: f64 = 0.06;

/// How the log ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct End {
    /// In a list of operators, which is also how a whole log ends.
    pub(super) in_operators: bool,
    /// In an analysis or in a document.
    pub(super) in_analysis: bool,
}

/// Completes the reading.
pub(super) fn finish(mut book: Book, end: End) -> LogReading {
    book.settle();
    for run in &mut book.reading.runs {
        run.outcome = run.outcome.or_else(|| outcome_of(run));
        let all = run.compiled.is_some_and(|it| it.compiled == it.total);
        if run.compiled_operators.is_some() && all {
            run.host_operators.get_or_insert_default();
        }
    }
    let cut = end.in_operators && book.reading.runs.last().is_some_and(is_list_cut);
    let contradictions = contradictions(&book, cut);
    book.reading.contradictions.extend(contradictions);
    book.reading.chip = chip(&book.reading.producers);
    book.reading.outcome = outcome(&book);
    settle_graphs(&mut book.reading);
    let waiting = book.ends_in_dots && book.reading.runs.iter().all(|run| run.outcome.is_none());
    let ends_inside = cut || waiting || end.in_analysis;
    book.reading.complete = !ends_inside && is_complete(&book.reading);
    book.reading
}

/// Drops graphs where they say nothing of their own, and says how runs without figures ended.
fn settle_graphs(reading: &mut LogReading) {
    let is_told = |run: &Run| run.fused.is_some() || run.compiled.is_some();
    let is_inf1 = reading.chip == Some(ChipFamily::Inf1) || reading.runs.iter().any(is_told);
    if is_inf1 || reading.outcome == Outcome::AnalyzeOnly || !reading.recognised {
        reading.graphs.clear();
    }
    for (index, run) in reading.runs.iter_mut().enumerate() {
        if run.outcome.is_some() || is_inf1 {
            continue;
        }
        let own = || {
            reading
                .graphs
                .iter()
                .filter(|graph| graph.run == Some(index))
        };
        let failed = |graph: &Graph| {
            matches!(
                graph.status,
                GraphStatus::Failed | GraphStatus::Killed | GraphStatus::FailedInCache
            )
        };
        if own().any(failed) {
            run.outcome = Some(Outcome::Fail);
        } else if run.elapsed_s.is_some() {
            run.outcome = Some(Outcome::Pass);
        }
    }
}

fn outcome_of(run: &Run) -> Option<Outcome> {
    let Some(Compiled {
        total, compiled, ..
    }) = run.compiled
    else {
        return (!run.failed_functions.is_empty()).then_some(Outcome::Fail);
    };
    let fewer = match (run.subgraphs.compiled, run.subgraphs.fused) {
        (Some(compiled), Some(fused)) => compiled < fused,
        _ => false,
    };
    Some(if compiled == 0 && total > 0 {
        Outcome::Fail
    } else if fewer || !run.failed_functions.is_empty() {
        Outcome::Partial
    } else {
        Outcome::Pass
    })
}

/// The generation of the producers; `None` when they do not say or are of both.
fn chip(producers: &[Producer]) -> Option<ChipFamily> {
    let family = |producer: &Producer| match producer {
        Producer::TorchNeuron | Producer::TensorflowNeuron | Producer::NeuronCc => {
            Some(ChipFamily::Inf1)
        }
        Producer::Unnamed => None,
        _ => Some(ChipFamily::Neuronx),
    };
    let mut families = producers.iter().filter_map(family);
    let first = families.next()?;
    families.all(|other| other == first).then_some(first)
}

fn outcome(book: &Book) -> Outcome {
    let reading = &book.reading;
    let known: Vec<Outcome> = reading.runs.iter().filter_map(|run| run.outcome).collect();
    if let Some(outcome) = joint(&known) {
        return outcome;
    }
    let passes_of_analysis = book.passes_of_analysis.unwrap_or(0);
    let passes = reading.statuses.pass.saturating_sub(passes_of_analysis);
    let succeeded = book.successes_beyond_status > 0 || passes > 0;
    let parallel_failed = reading.parallel_compile.and_then(|it| it.failed);
    let failed = book.fatal_errors > 0
        || reading.statuses.error > 0
        || reading.return_codes.iter().any(|code| *code != 0)
        || reading.exit_code.is_some_and(|code| code != 0)
        || parallel_failed.is_some_and(|failed| failed > 0)
        || (reading.cache.failed_hits > 0 && !succeeded)
        || reading
            .notices
            .iter()
            .any(|notice| notice.kind == NoticeKind::CpuTrace);
    let parallel_succeeded = reading.parallel_compile.and_then(|it| it.succeeded);
    if failed {
        Outcome::Fail
    } else if book.passes_of_analysis.is_some() && !succeeded {
        Outcome::AnalyzeOnly
    } else if book.ends_in_dots {
        Outcome::Unknown
    } else if succeeded
        || parallel_succeeded.is_some_and(|count| count > 0)
        || (reading.exit_code == Some(0) && book.attempted)
    {
        Outcome::Pass
    } else {
        Outcome::Unknown
    }
}

/// The outcome of several runs; `None` when there is none.
fn joint(outcomes: &[Outcome]) -> Option<Outcome> {
    let first = *outcomes.first()?;
    if outcomes.iter().all(|outcome| *outcome == first) {
        return Some(first);
    }
    Some(Outcome::Partial)
}

/// Whether the last list names fewer operators than the run has. The first list is whole once the
/// second one begins.
fn is_list_cut(run: &Run) -> bool {
    let Some(figures) = run.compiled else {
        return false;
    };
    match figures.total.saturating_sub(figures.compiled) {
        on_host @ 1.. if run.host_operators.is_some() => host_sum(run) < on_host,
        _ => sum(run.compiled_operators.as_ref()) < figures.compiled,
    }
}

fn sum(list: Option<&Vec<OperatorCount>>) -> u64 {
    let counts = list.into_iter().flatten().map(|entry| entry.count as u64);
    counts.fold(0, u64::saturating_add)
}

fn host_sum(run: &Run) -> u64 {
    let counts = run.host_operators.iter().flatten().map(|entry| entry.count);
    counts.fold(0, u64::saturating_add)
}

fn is_complete(reading: &LogReading) -> bool {
    if reading.skipped.truncated_documents > 0 || reading.skipped.elisions > 0 {
        return false;
    }
    let cut = |run: &Run| match (run.fused, run.compiled) {
        (None, None) => run.functions.iter().any(|it| it.name.is_some()) || is_module(run),
        (fused, compiled) => fused.is_none() || compiled.is_none(),
    };
    let started = reading.producers.contains(&Producer::TorchNeuron);
    let lacks_list = |run: &Run| {
        let host_has_some = run.compiled.is_some_and(|it| it.compiled < it.total);
        host_has_some && run.compiled_operators.is_some() && run.host_operators.is_none()
    };
    if reading.runs.iter().any(lacks_list) {
        return false;
    }
    let ended = reading.outcome != Outcome::Unknown
        || reading.analysis.is_some()
        || reading.exit_code.is_some();
    ended && !(started && reading.runs.iter().any(cut))
}

fn is_module(run: &Run) -> bool {
    matches!(run.name, Some(RunName::Module(_)))
}

/// A list of a run whose sum is stated elsewhere.
struct Checks<'a> {
    run: Option<usize>,
    found: &'a mut Vec<Contradiction>,
}

impl Checks<'_> {
    fn add(&mut self, what: &str, one: (&str, f64), other: (&str, f64)) {
        self.found.push(Contradiction {
            run: self.run,
            what: what.to_owned(),
            one: (one.0.to_owned(), one.1),
            other: (other.0.to_owned(), other.1),
        });
    }

    fn same(&mut self, what: &str, one: (&str, u64), other: (&str, u64)) {
        if one.1 != other.1 {
            self.add(what, (one.0, one.1 as f64), (other.0, other.1 as f64));
        }
    }

    fn percent(&mut self, what: &str, part: u64, whole: u64, printed: (f64, f64)) {
        let (percent, tolerance) = printed;
        let expected = crate::percent(part, whole);
        if (expected - percent).abs() > tolerance {
            self.add(what, ("printed", percent), ("from the figures", expected));
        }
    }

    fn supported(&mut self, what: &str, figures: Option<Supported>) {
        if let Some(it) = figures {
            self.percent(
                what,
                it.supported,
                it.total,
                (it.percent, PERCENT_TOLERANCE),
            );
        }
    }
}

/// The statements of a log that cannot all be true. A list that
/// the log or a person cuts off is no contradiction.
fn contradictions(book: &Book, cut: bool) -> Vec<Contradiction> {
    let reading = &book.reading;
    let mut found = Vec::new();
    let last = reading.runs.len().wrapping_sub(1);
    for (index, run) in reading.runs.iter().enumerate() {
        let run_checks = &mut Checks {
            run: Some(index),
            found: &mut found,
        };
        check_figures(run, run_checks);
        let is_cut = cut && index == last || book.elided.contains(&index);
        if !is_cut {
            check_lists(run, run_checks);
        }
    }
    let mut checks = Checks {
        run: None,
        found: &mut found,
    };
    if let Some(analysis) = &reading.analysis {
        checks.supported("share of supported operators", analysis.all);
        checks.supported(
            "share of supported arithmetic operators",
            analysis.arithmetic,
        );
    }
    if let Some(parallel) = reading.parallel_compile
        && let (Some(total), Some(succeeded), Some(failed)) =
            (parallel.total, parallel.succeeded, parallel.failed)
    {
        let sum = succeeded.saturating_add(failed);
        checks.same("graphs", ("stated", total), ("succeeded and failed", sum));
    }
    found.truncate(super::reading::LIST_MAX);
    found
}

fn check_figures(run: &Run, checks: &mut Checks<'_>) {
    if let Some(fused) = run.fused {
        let printed = (fused.percent, PERCENT_TOLERANCE);
        checks.percent(
            "share of fused operators",
            fused.fused,
            fused.total,
            printed,
        );
    }
    if let Some(compiled) = run.compiled {
        let printed = (compiled.percent, PERCENT_TOLERANCE);
        checks.percent(
            "share of compiled operators",
            compiled.compiled,
            compiled.total,
            printed,
        );
        if let Some(fused) = run.fused {
            let one = ("pre-compilation", fused.total);
            checks.same(
                "arithmetic operators",
                one,
                ("post-compilation", compiled.total),
            );
        }
    }
    let subgraphs = run.subgraphs;
    if let (Some(compiled), Some(fused)) = (subgraphs.compiled, subgraphs.fused) {
        if let Some(percent) = subgraphs.percent {
            let printed = (percent, SUBGRAPH_PERCENT_TOLERANCE);
            checks.percent("share of compiled sub-graphs", compiled, fused, printed);
        }
        if compiled > fused {
            let (one, other) = (compiled as f64, fused as f64);
            checks.add("compiled sub-graphs", ("compiled", one), ("in all", other));
        }
    }
}

fn check_lists(run: &Run, checks: &mut Checks<'_>) {
    let (Some(figures), Some(compiled)) = (run.compiled, &run.compiled_operators) else {
        return;
    };
    let listed = sum(Some(compiled));
    let one = ("post-compilation", figures.compiled);
    checks.same("compiled operators", one, ("listed", listed));
    if run.host_operators.is_some() {
        let all = listed.saturating_add(host_sum(run));
        checks.same(
            "all operators",
            ("post-compilation", figures.total),
            ("listed", all),
        );
    }
}
