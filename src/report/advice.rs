//! Advice: the remedies of `neuronc explain` for what a report found.

use neuron_logs::reading::NoticeKind;
use schemars::JsonSchema;
use serde::Serialize;

use crate::explain::{self, Explanation};
use crate::report::source::{LogFacts, ReportSource};
use crate::report::subject::Subject;

/// The most pieces of advice: more is not read.
const ADVICE_MAX: usize = 6;

/// One thing to know and what to do about it; `neuronc explain NAME` says more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Advice {
    pub name: String,
    pub title: String,
    /// In the order in which to try them.
    pub remedy: Vec<String>,
}

/// Advice on errors first, then on warnings, then on how the operators are divided.
pub(super) fn collect(sources: &[ReportSource], subjects: &[Subject]) -> Vec<Advice> {
    let logs: Vec<&LogFacts> = sources
        .iter()
        .filter_map(|source| source.log.as_ref())
        .collect();
    let mut entries: Vec<&Explanation> = Vec::new();
    for error in logs.iter().flat_map(|log| &log.errors) {
        let code = error.code.as_deref().and_then(explain::advice_for);
        let status = error.exit_status.map(|status| status.to_string());
        let status = status.as_deref().and_then(explain::advice_for);
        entries.extend(code.or_else(|| explain::advice_for(&error.line)).or(status));
    }
    let notices = logs
        .iter()
        .flat_map(|log| &log.notices)
        .map(|notice| match notice.kind {
            NoticeKind::Fallback => explain::lookup("fallback-to-host"),
            NoticeKind::CpuTrace => explain::lookup("cpu-trace"),
            NoticeKind::BelowHalf => explain::lookup("less-than-half-compiled"),
            NoticeKind::HeuristicMatch => explain::lookup("heuristic-matching"),
            _ => explain::advice_for(&notice.line),
        });
    entries.extend(notices.flatten());
    if subjects
        .iter()
        .filter_map(|subject| subject.subgraphs?.compiled)
        .any(|compiled| compiled > 1)
    {
        entries.extend(explain::lookup("several-sub-graphs"));
    }
    if subjects.iter().any(leaves_embeddings) {
        entries.extend(explain::lookup("embedding-on-host"));
    }
    let mut advice: Vec<Advice> = Vec::new();
    for entry in entries {
        if advice.len() < ADVICE_MAX && advice.iter().all(|known| known.name != entry.name) {
            advice.push(Advice {
                name: entry.name.clone(),
                title: entry.title.clone(),
                remedy: entry.remedy.clone(),
            });
        }
    }
    advice
}

fn leaves_embeddings(subject: &Subject) -> bool {
    let mut host = subject.on_host.iter().flatten();
    host.any(|entry| {
        entry.operator.starts_with("aten::embedding") && entry.supported == Some(false)
    })
}
