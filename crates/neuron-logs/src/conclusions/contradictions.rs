//! Statements that cannot both be true: sums against lists, percentages against their counts.

use crate::findings::Findings;
use crate::limits::LIST_MAX;
use crate::reading::{Contradiction, LogRun, SupportedShare};

/// The most that a printed percentage may differ from its figures: it has two digits.
const PERCENT_TOLERANCE: f64 = 0.006;

/// The same for the share of sub-graphs, which has one digit.
const SUBGRAPH_PERCENT_TOLERANCE: f64 = 0.06;

/// Compares figures that one run, or the log as a whole, states twice.
struct FigureChecks<'a> {
    run: Option<usize>,
    found: &'a mut Vec<Contradiction>,
}

impl FigureChecks<'_> {
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

    /// `printed` is the percentage in the log, and by how much it may differ.
    fn percent(&mut self, what: &str, part: u64, whole: u64, printed: (f64, f64)) {
        let expected = percent(part, whole);
        let (printed, tolerance) = printed;
        if (expected - printed).abs() > tolerance {
            self.add(what, ("printed", printed), ("from the figures", expected));
        }
    }

    fn supported(&mut self, what: &str, figures: Option<SupportedShare>) {
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

/// The statements of a log that cannot all be true. A list that the log or a person cuts off does
/// not contradict its figures; `is_list_cut` says so of the last run.
pub(super) fn all(findings: &Findings, is_list_cut: bool) -> Vec<Contradiction> {
    let reading = &findings.reading;
    let mut found = Vec::new();
    let last = reading.runs.len().wrapping_sub(1);
    for (index, run) in reading.runs.iter().enumerate() {
        let run_checks = &mut FigureChecks {
            run: Some(index),
            found: &mut found,
        };
        check_figures(run, run_checks);
        let is_cut = (is_list_cut && index == last) || findings.elided.contains(&index);
        if !is_cut {
            check_lists(run, run_checks);
        }
    }
    let mut checks = FigureChecks {
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
    found.truncate(LIST_MAX);
    found
}

fn check_figures(run: &LogRun, checks: &mut FigureChecks<'_>) {
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

fn check_lists(run: &LogRun, checks: &mut FigureChecks<'_>) {
    let (Some(figures), true) = (run.compiled, run.compiled_operators.is_some()) else {
        return;
    };
    let listed = run.listed_on_chip();
    let one = ("post-compilation", figures.compiled);
    checks.same("compiled operators", one, ("listed", listed));
    if run.host_operators.is_some() {
        let all = listed.saturating_add(run.listed_on_host());
        checks.same(
            "all operators",
            ("post-compilation", figures.total),
            ("listed", all),
        );
    }
}

/// `part` of `whole` in percent; 0 of nothing, as torch-neuron prints it.
fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 * 100.0 / whole as f64,
    }
}
