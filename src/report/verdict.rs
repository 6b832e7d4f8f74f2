//! The verdict: what share runs on the chip, whether that is normal for this kind of model, and what
//! it costs; before anything else the cause of a failure.

use neuron_logs::reading::{ChipFamily, CompilationOutcome, HostOperator, LogError, NoticeKind};
use schemars::JsonSchema;
use serde::Serialize;

use crate::report::cost_words;
use crate::report::graphs::GraphCounts;
use crate::report::source::{LogFacts, ReportSource};
use crate::report::subject::{Share, Subject};

/// The first thing that the reader should know.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CoverageVerdict {
    pub grade: Grade,
    /// One sentence.
    pub line: String,
    /// Why, and what it costs; most important first.
    pub reasons: Vec<String>,
}

/// The judgement on all sources together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Everything runs on the chip.
    Full,
    /// What is left to the host is normal for this kind of model.
    Normal,
    /// More is left to the host than such a model needs.
    Low,
    /// Something failed.
    Failed,
    /// Nothing was compiled; an analysis or an estimate says what would be.
    Analysis,
    /// The sources do not tell.
    Unknown,
}

/// The kinds of models that differ in what is normal for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelKind {
    Transformer,
    Convolutional,
    Other,
}

/// The least share of a transformer whose embeddings stay on the host; published logs of BERT models
/// on inf1 lie between 96 and 99.
const TRANSFORMER_NORMAL_PERCENT: f64 = 95.0;

impl CoverageVerdict {
    /// 100 or 0 where the compiler takes a model as a whole or not at all, and said which.
    pub(super) fn all_or_nothing_percent(&self) -> Option<f64> {
        match self.grade {
            Grade::Full => Some(100.0),
            Grade::Failed => Some(0.0),
            _ => None,
        }
    }
}

/// Judges the subjects of all sources; `total` is the sum of their figures.
pub(super) fn judge(
    sources: &[ReportSource],
    subjects: &[Subject],
    total: Option<Share>,
) -> CoverageVerdict {
    let logs: Vec<&LogFacts> = sources
        .iter()
        .filter_map(|source| source.log.as_ref())
        .collect();
    let failed = logs
        .iter()
        .any(|log| log.outcome == CompilationOutcome::Fail);
    let mut verdict = match total {
        _ if failed => failure(&logs, subjects, total),
        Some(total) => with_figures(&logs, subjects, total),
        None => without_figures(&logs, subjects),
    };
    // A model that was not compiled is not run: it costs nothing.
    if !matches!(verdict.grade, Grade::Failed | Grade::Analysis) {
        let cost = cost_words::crossings(subjects);
        verdict.line.extend(cost.map(|cost| format!("; {cost}")));
        verdict.reasons.extend(cost_words::crossing_bytes(subjects));
    }
    verdict.reasons.extend(all_or_nothing(&logs, total));
    verdict
}

/// The meaning of a log without figures for each of its graphs.
fn all_or_nothing(logs: &[&LogFacts], total: Option<Share>) -> Option<String> {
    let mut silent = logs.iter().filter(|log| {
        log.partitioning.is_none()
            && log.outcome != CompilationOutcome::AnalyzeOnly
            && log.chip_family != Some(ChipFamily::Inf1)
    });
    let family = silent.next().filter(|_| total.is_none())?.chip_family;
    Some(match family {
        Some(_) => "the log holds no figures of operators: on these chips each graph runs on the \
                    chip as a whole or not at all, unless a partitioner ran, and none is in the log"
            .to_owned(),
        None => {
            "the log names no compiler and holds no figures of operators: with neuronx-cc each \
                 graph runs on the chip as a whole or not at all, unless a partitioner ran"
                .to_owned()
        }
    })
}

/// Judges an estimate: shares of operators and of FLOPs that would run on the chip.
pub(super) fn estimate(
    sources: &[ReportSource],
    subjects: &[Subject],
    operators: Share,
    flops: Option<Share>,
) -> CoverageVerdict {
    let chips: Vec<&str> = sources
        .iter()
        .filter_map(|source| source.chip.as_deref())
        .collect();
    let arithmetic = match flops {
        Some(flops) if flops.whole > 0 => format!(" and {} of the arithmetic", just_below(flops)),
        _ => String::new(),
    };
    let line = format!(
        "estimate for {}: {} of the operators{arithmetic} would run on the chip ({} of {})",
        chips.first().unwrap_or(&"the chip"),
        just_below(operators),
        operators.part,
        operators.whole
    );
    let mut reasons: Vec<String> = sources
        .iter()
        .flat_map(|source| source.notes.clone())
        .collect();
    reasons.splice(0..0, cost_words::host_flops(subjects));
    let unknown: usize = subjects
        .iter()
        .flat_map(|subject| &subject.not_known)
        .map(|entry| entry.count)
        .sum();
    if unknown > 0 {
        reasons.insert(
            0,
            format!("of {unknown} operators the lists do not say whether the chip takes them"),
        );
    }
    if host_is_embeddings(subjects) {
        reasons.insert(
            0,
            "embeddings stay on the host by design: look-ups, next to no arithmetic".to_owned(),
        );
    }
    CoverageVerdict {
        grade: Grade::Analysis,
        line,
        reasons,
    }
}

/// A percentage that never rounds up to 100: less than all must not look like all.
fn just_below(share: Share) -> String {
    if share.part < share.whole && share.percent > 99.995 {
        "over 99.99 %".to_owned()
    } else {
        format!("{:.2} %", share.percent)
    }
}

fn failure(logs: &[&LogFacts], subjects: &[Subject], total: Option<Share>) -> CoverageVerdict {
    let first = logs
        .iter()
        .filter(|log| log.outcome == CompilationOutcome::Fail)
        .find_map(|log| {
            log.errors
                .iter()
                .find(|error| !error.replayed)
                .or(log.errors.first())
        });
    let cause = first.map_or_else(|| "the log does not say why".to_owned(), cause);
    let line = match total {
        Some(total) if total.part == 0 => format!("failed: nothing runs on the chip; {cause}"),
        _ => format!("failed: {cause}"),
    };
    let mut reasons = Vec::new();
    let lost: usize = subjects
        .iter()
        .map(|subject| subject.failed_functions.len())
        .sum();
    if lost > 0 {
        reasons.push(format!("{lost} sub-graphs fell back to the host"));
    }
    if logs.iter().any(|log| log.statuses.pass > 0) {
        let passes: u64 = logs.iter().map(|log| log.statuses.pass).sum();
        reasons.push(format!(
            "{passes} compiler calls passed; a pass is not a usable model"
        ));
    }
    CoverageVerdict {
        grade: Grade::Failed,
        line,
        reasons,
    }
}

/// The beginning of a long line.
pub(super) fn shortened(line: &str) -> String {
    const SHOWN: usize = 160;
    let mut text: String = line.chars().take(SHOWN).collect();
    if text.len() < line.len() {
        text.push_str("...");
    }
    text
}

/// An error in a few words: its code, or its location and class, and its text.
pub(super) fn cause(error: &LogError) -> String {
    let text = shortened(&error.line);
    match &error.code {
        Some(code) if !text.contains(code.as_str()) => format!("{code}: {text}"),
        _ => text,
    }
}

fn with_figures(logs: &[&LogFacts], subjects: &[Subject], total: Share) -> CoverageVerdict {
    let share = format!(
        "{:.2} % of the arithmetic operators run on the chip ({} of {})",
        total.percent, total.part, total.whole
    );
    let mut reasons = reasons(logs, subjects);
    if total.part == total.whole {
        return CoverageVerdict {
            grade: Grade::Full,
            line: share,
            reasons,
        };
    }
    let kind = model_kind(subjects);
    let (grade, judgement) = match kind {
        ModelKind::Transformer
            if total.percent >= TRANSFORMER_NORMAL_PERCENT && host_is_embeddings(subjects) =>
        {
            reasons.insert(
                0,
                "embeddings stay on the host by design: look-ups, next to no arithmetic".to_owned(),
            );
            (Grade::Normal, "normal for a transformer")
        }
        ModelKind::Transformer => (Grade::Low, "low for a transformer"),
        ModelKind::Convolutional => (
            Grade::Low,
            "low for a convolutional network, which compiles whole",
        ),
        ModelKind::Other => (Grade::Low, "not everything"),
    };
    CoverageVerdict {
        grade,
        line: format!("{share}: {judgement}"),
        reasons,
    }
}

fn reasons(logs: &[&LogFacts], subjects: &[Subject]) -> Vec<String> {
    let mut reasons = Vec::new();
    let failed: usize = subjects
        .iter()
        .map(|subject| subject.failed_functions.len())
        .sum();
    if failed > 0 {
        reasons.push(format!(
            "{failed} sub-graphs failed to compile and run on the host"
        ));
    }
    let hops = subjects
        .iter()
        .filter_map(|subject| subject.subgraphs?.compiled)
        .max();
    if let Some(subgraphs @ 2..) = hops {
        reasons.push(format!(
            "{subgraphs} sub-graphs, with operators of the host between them"
        ));
    }
    if logs
        .iter()
        .flat_map(|log| &log.notices)
        .any(|notice| notice.kind == NoticeKind::CpuTrace)
    {
        reasons.push("a trace was returned that runs on the host alone".to_owned());
    }
    let contradictions: usize = subjects
        .iter()
        .map(|subject| subject.contradictions.len())
        .sum();
    if contradictions > 0 {
        reasons.push(format!(
            "the log contradicts itself in {contradictions} places, listed below"
        ));
    }
    reasons
}

fn without_figures(logs: &[&LogFacts], subjects: &[Subject]) -> CoverageVerdict {
    let every = |outcome| !logs.is_empty() && logs.iter().all(|log| log.outcome == outcome);
    let whole = logs
        .iter()
        .all(|log| log.chip_family == Some(ChipFamily::Neuronx) && log.partitioning.is_none());
    let verdict = |grade, line: &str, reasons: Vec<String>| CoverageVerdict {
        grade,
        line: line.to_owned(),
        reasons,
    };
    if every(CompilationOutcome::Pass) && whole {
        return verdict(
            Grade::Full,
            "compiled: the whole graph runs on the chip",
            Vec::new(),
        );
    }
    if every(CompilationOutcome::AnalyzeOnly) {
        return analysis(logs);
    }
    if every(CompilationOutcome::Pass) {
        return verdict(
            Grade::Unknown,
            "compiled; the log holds no figures of operators",
            Vec::new(),
        );
    }
    let mut reasons = Vec::new();
    if logs.iter().any(|log| !log.complete) {
        reasons.push("the log seems to be cut off".to_owned());
    }
    let line = match GraphCounts::of(subjects) {
        Some(counts) => format!("not known as a whole; of {}", counts.in_words()),
        None => "the log does not say what runs on the chip".to_owned(),
    };
    verdict(Grade::Unknown, &line, reasons)
}

fn analysis(logs: &[&LogFacts]) -> CoverageVerdict {
    let percents: Vec<f64> = logs.iter().filter_map(|log| log.analysis_percent).collect();
    let unsupported: Vec<&str> = logs
        .iter()
        .flat_map(|log| &log.unsupported_operators)
        .map(String::as_str)
        .collect();
    let line = match percents.as_slice() {
        [percent] => format!("an analysis: {percent:.2} % are supported; nothing was compiled"),
        _ => "an analysis: nothing was compiled".to_owned(),
    };
    let mut reasons = Vec::new();
    if !unsupported.is_empty() {
        reasons.push(format!("not supported: {}", unsupported.join(", ")));
    }
    let hlo = logs.iter().flat_map(|log| &log.unsupported_hlo);
    let hlo: Vec<&str> = hlo.map(String::as_str).collect();
    if !hlo.is_empty() {
        let listed = shortened(&hlo.join(", "));
        reasons.push(format!(
            "{} HLO instructions not supported: {listed}",
            hlo.len()
        ));
    }
    CoverageVerdict {
        grade: Grade::Analysis,
        line,
        reasons,
    }
}

fn model_kind(subjects: &[Subject]) -> ModelKind {
    let chip = || {
        subjects
            .iter()
            .flat_map(|subject| subject.on_chip.iter().flatten())
    };
    let host = || {
        subjects
            .iter()
            .flat_map(|subject| subject.on_host.iter().flatten())
    };
    let has = |names: &[&str]| {
        chip().any(|entry| names.contains(&entry.operator.as_str()))
            || host().any(|entry| names.contains(&entry.operator.as_str()))
    };
    if has(&["aten::softmax", "aten::scaled_dot_product_attention"]) && has(&["aten::layer_norm"]) {
        ModelKind::Transformer
    } else if has(&["aten::_convolution", "aten::convolution", "aten::conv2d"]) {
        ModelKind::Convolutional
    } else {
        ModelKind::Other
    }
}

/// True when embeddings are the only operators on the host whose type is not supported.
fn host_is_embeddings(subjects: &[Subject]) -> bool {
    let lists = || {
        subjects
            .iter()
            .filter_map(|subject| subject.on_host.as_ref())
            .flatten()
    };
    let unsupported = |entry: &&HostOperator| entry.supported == Some(false);
    let mut unsupported = lists().filter(unsupported).peekable();
    unsupported.peek().is_some()
        && unsupported.all(|entry| entry.operator.starts_with("aten::embedding"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::OperatorCount;

    fn subject(on_chip: &[&str], on_host: &[(&str, bool)], share: Share) -> Subject {
        let chip = on_chip.iter().map(|name| OperatorCount {
            operator: (*name).to_owned(),
            count: 1,
        });
        let host = on_host.iter().map(|(name, supported)| HostOperator {
            operator: (*name).to_owned(),
            count: 1,
            supported: Some(*supported),
        });
        Subject {
            source: "a.log".to_owned(),
            name: "run 1".to_owned(),
            outcome: CompilationOutcome::Pass,
            supported: None,
            fused: None,
            compiled: Some(share),
            estimated: None,
            estimated_flops: None,
            not_known: Vec::new(),
            subgraphs: None,
            on_chip: Some(chip.collect()),
            on_host: Some(host.collect()),
            graph: None,
            cost: None,
            failed_functions: Vec::new(),
            contradictions: Vec::new(),
        }
    }

    #[test]
    fn embeddings_on_the_host_are_normal_for_a_transformer() {
        let chip = ["aten::softmax", "aten::layer_norm"];
        let share = Share::new(555, 565);
        let normal = subject(
            &chip,
            &[("aten::embedding", false), ("aten::add", true)],
            share,
        );
        assert_eq!(judge(&[], &[normal], Some(share)).grade, Grade::Normal);
        let odd = subject(&chip, &[("aten::sort", false)], share);
        assert_eq!(judge(&[], &[odd], Some(share)).grade, Grade::Low);
    }

    #[test]
    fn a_convolutional_network_is_expected_to_compile_whole() {
        let share = Share::new(175, 176);
        let net = subject(&["aten::_convolution"], &[("aten::flatten", true)], share);
        assert_eq!(judge(&[], &[net], Some(share)).grade, Grade::Low);
    }

    #[test]
    fn nothing_known_is_not_a_verdict() {
        assert_eq!(judge(&[], &[], None).grade, Grade::Unknown);
    }
}
