//! The contents of a compiler log, as plain data.
//!
//! Three shares stay apart: what an analysis calls *supported*, what the partitioner *fused* before
//! compiling, and what was *compiled* afterwards. Only the last one is coverage. A value that the
//! log does not hold is `None` or empty; a zero is a zero that the log printed.

mod analysis;
mod error;
mod graph;
mod outcome;
mod producer;
mod run;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

pub use analysis::{
    Analysis, AnalyzedOperator, Partition, Partitioning, SupportedShare, UnsupportedOperator,
};
pub use error::{Contradiction, LogError, Notice, NoticeKind, WarningCounts};
pub use graph::{GraphStatus, LogGraph};
pub use outcome::{CompilationOutcome, CompilerStatus, StatusLines};
pub use producer::{ChipFamily, Producer};
pub use run::{
    CompiledShare, FusedShare, HostOperator, LogFunction, LogRun, NodePlacement, OperatorCount,
    OperatorScreening, RunName, Subgraphs, TensorSpec,
};

/// Everything that was read from one log.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct LogReading {
    /// True when a line of a known producer was found; otherwise nothing else here has a meaning.
    pub recognised: bool,
    pub outcome: CompilationOutcome,
    /// True when the log seems to hold its beginning and its end. An estimate: logs have no marks.
    pub complete: bool,
    /// The programs that wrote the log, in order of appearance.
    pub producers: Vec<Producer>,
    /// The generation of chips that the producers belong to.
    pub chip: Option<ChipFamily>,
    /// The last `--target` that a compiler was called with, such as `trn1`.
    pub target: Option<String>,
    /// One for each trace, configuration or component, in the order of the log.
    pub runs: Vec<LogRun>,
    /// One for each graph that neuronx-cc was called for, in the order of the log; empty for inf1,
    /// whose runs say more, and for an analysis.
    pub graphs: Vec<LogGraph>,
    /// The operators left to the host, as lines outside of any run say.
    pub screening: Option<OperatorScreening>,
    pub statuses: StatusLines,
    pub cache: CacheUse,
    /// Distinct errors, in order of appearance; the first is the first cause that was seen.
    pub errors: Vec<LogError>,
    pub warnings: WarningCounts,
    pub versions: ToolVersions,
    pub timings: LogTimings,
    pub analysis: Option<Analysis>,
    /// Analyses that the log holds after the first.
    pub more_analyses: Vec<Analysis>,
    /// The result of the partitioner of torch-neuronx, when one ran.
    pub partitioning: Option<Partitioning>,
    pub parallel_compile: Option<ParallelCompile>,
    /// The arguments of the first compiler call outside of runs, without its input and output.
    pub compiler_args: Option<String>,
    /// The distinct values of `Compile command returned: N`, in order of appearance.
    pub return_codes: Vec<i64>,
    /// The exit code that the first compiler call of the log ended with.
    pub exit_code: Option<i64>,
    /// Sub-graphs whose compiler aborted without a status line.
    pub aborted_subgraphs: u64,
    /// Dots printed by compilers up to their status lines.
    pub progress_dots: u64,
    /// Modules reported as compiled, in order of appearance, each once.
    pub completed_modules: Vec<String>,
    /// A share of operators that a producer printed and that is impossible, such as -300 percent.
    pub implausible_percent: Option<f64>,
    /// Statements of the log that contradict one another, in the order in which they are found.
    pub contradictions: Vec<Contradiction>,
    /// Warnings of the producers that advice can build on.
    pub notices: Vec<Notice>,
    pub skipped: SkippedInput,
}

/// The use of the compile cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct CacheUse {
    /// Lines that take an artifact from the cache; ranks count one by one.
    pub hits: u64,
    /// Lines that find a cached failure.
    pub failed_hits: u64,
}

/// The versions that the log names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct ToolVersions {
    /// The compiler, such as `2.26.6360.0+6f180f47`.
    pub compiler: Option<String>,
    pub torch_neuron: Option<String>,
    pub torch_neuronx: Option<String>,
    pub libneuronxla: Option<String>,
}

/// Durations in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct LogTimings {
    /// The whole compilation as the log states it.
    pub total_s: Option<f64>,
    /// From the first to the last time that the compiler wrote.
    pub span_s: Option<f64>,
    /// The conversion of the model, as an exporter states it.
    pub export_s: Option<f64>,
    pub generate_hlo_s: Option<f64>,
    pub priority_hlo_s: Option<f64>,
    pub all_hlos_s: Option<f64>,
}

/// The summary of `neuron_parallel_compile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct ParallelCompile {
    pub total: Option<u64>,
    pub succeeded: Option<u64>,
    pub failed: Option<u64>,
}

/// The amount of input, and what of it is not in the reading: nothing is dropped silently.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct SkippedInput {
    /// Physical lines and bytes read.
    pub lines: u64,
    pub bytes: u64,
    /// Lines longer than `LINE_BYTES_MAX`, and the bytes of them that were not looked at.
    pub long_lines: u64,
    pub long_line_bytes: u64,
    /// Kept texts in which bytes that are not UTF-8 were replaced.
    pub lossy_texts: u64,
    /// Records that a second log handler repeated.
    pub duplicates: u64,
    /// Documents (JSON, Python values) that end before their end, and those too large to hold.
    pub truncated_documents: u64,
    pub oversized_documents: u64,
    /// Places where a person left out a part of the log.
    pub elisions: u64,
    /// The lists that reached a bound, and the number of entries that each lacks.
    pub beyond_bounds: BTreeMap<String, u64>,
}

impl LogReading {
    /// The compiled and all arithmetic operators of the runs that have a post-compilation line;
    /// `None` when no run has one.
    pub fn coverage(&self) -> Option<(u64, u64)> {
        let figures = self.runs.iter().filter_map(|run| run.compiled);
        figures
            .map(|figure| (figure.compiled, figure.total))
            .reduce(|sum, next| (sum.0.saturating_add(next.0), sum.1.saturating_add(next.1)))
    }
}
