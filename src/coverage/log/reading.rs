//! What a compiler log says, as plain data.
//!
//! Three shares stay apart: what an analysis calls *supported*, what the partitioner *fused* before
//! compiling, and what was *compiled* afterwards. Only the last one is coverage. A value that the
//! log does not hold is `None` or empty; a zero is a zero that the log printed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::graphs::Graph;
use crate::coverage::OperatorCount;

/// Everything that was read from one log.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct LogReading {
    /// Whether any line of a known producer was found; if not, nothing else here has a meaning.
    pub recognised: bool,
    pub outcome: Outcome,
    /// Whether the log seems to hold its beginning and its end. An estimate: logs have no marks.
    pub complete: bool,
    /// Who wrote the log, in order of appearance.
    pub producers: Vec<Producer>,
    /// The generation of chips that the producers belong to.
    pub chip: Option<ChipFamily>,
    /// The last `--target` that a compiler was called with, such as `trn1`.
    pub target: Option<String>,
    /// One for each trace, configuration or component, in the order of the log.
    pub runs: Vec<Run>,
    /// One for each graph that neuronx-cc was called for, in the order of the log; empty for inf1,
    /// whose runs say more, and for an analysis.
    pub graphs: Vec<Graph>,
    /// What lines outside of any run say about operators that are left to the host.
    pub screening: Option<Screening>,
    pub statuses: Statuses,
    pub cache: Cache,
    /// Distinct errors, in order of appearance; the first is the first cause that was seen.
    pub errors: Vec<LogError>,
    pub warnings: WarningCounts,
    pub versions: Versions,
    pub timings: Timings,
    pub analysis: Option<Analysis>,
    /// Analyses that the log holds after the first.
    pub more_analyses: Vec<Analysis>,
    /// What the partitioner of torch-neuronx did, when one ran.
    pub partitioning: Option<Partitioning>,
    pub parallel_compile: Option<ParallelCompile>,
    /// Arguments of the first compiler call outside of runs, without its input and output.
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
    /// A share of operators that a producer printed and that cannot be one, such as -300 percent.
    pub implausible_percent: Option<f64>,
    /// Statements of the log that contradict one another.
    pub contradictions: Vec<Contradiction>,
    /// Warnings of the producers that advice can build on.
    pub notices: Vec<Notice>,
    pub skipped: Skipped,
}

/// How the compilation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Pass,
    /// Some runs or sub-graphs failed and the model is usable.
    Partial,
    Fail,
    /// Nothing was compiled into a model: the log holds an analysis.
    AnalyzeOnly,
    /// The log stops too early, or compiles nothing.
    #[default]
    Unknown,
}

/// A program that writes compiler logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Producer {
    TorchNeuron,
    TensorflowNeuron,
    NeuronCc,
    TorchNeuronx,
    NeuronxCc,
    /// The wrapper with the compile cache around neuronx-cc.
    NeuronxWrapper,
    NeuronParallelCompile,
    OptimumNeuron,
    NxdInference,
    /// A compiler of either generation: dots and status lines only.
    Unnamed,
}

/// Which generation of chips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChipFamily {
    /// `inf1`, compiled by neuron-cc.
    Inf1,
    /// `inf2`, `trn1`, `trn2` and later, compiled by neuronx-cc.
    Neuronx,
}

/// One trace, configuration or component.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Run {
    /// What the log calls it.
    pub name: Option<RunName>,
    /// Set where the log says how this run ended, or where its figures decide it.
    pub outcome: Option<Outcome>,
    /// What is known before compiling about operators that are left to the host.
    pub screening: Option<Screening>,
    /// The line `(pre-compilation)`: not coverage.
    pub fused: Option<Fused>,
    /// The line `(post-compilation)`: coverage.
    pub compiled: Option<Compiled>,
    pub subgraphs: Subgraphs,
    /// The operators compiled for the chip, in the order of the log.
    pub compiled_operators: Option<Vec<OperatorCount>>,
    /// The operators left to the host, in the order of the log; empty when all were compiled.
    pub host_operators: Option<Vec<HostOperator>>,
    /// The functions, sub-graphs or graphs handed to the compiler.
    pub functions: Vec<Function>,
    /// Functions that fell back to the host, each once, in order of appearance.
    pub failed_functions: Vec<String>,
    /// TensorFlow's counts of graph nodes.
    pub placement: Option<Placement>,
    pub batch: Option<u64>,
    pub cores: Option<u64>,
    /// Compiler arguments that the producer names for this run without a command line.
    pub compiler_args: Option<String>,
    pub elapsed_s: Option<f64>,
    /// Dots printed by the compiler while this run was compiled.
    pub progress_dots: u64,
}

/// What the log calls a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum RunName {
    Model(String),
    Component(String),
    Module(String),
}

/// Which operators are left to the host before anything is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Screening {
    /// "All operators are compiled": the intention, not the result.
    AllSupported,
    Unsupported {
        /// How many operators, and of how many types.
        count: u64,
        types: u64,
        operators: Vec<String>,
    },
}

/// Arithmetic operators taken into sub-graphs before compiling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Fused {
    pub total: u64,
    pub fused: u64,
    /// As printed.
    pub percent: f64,
}

/// Arithmetic operators that run on the chip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Compiled {
    pub total: u64,
    pub compiled: u64,
    /// As printed.
    pub percent: f64,
}

/// Sub-graphs of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Subgraphs {
    pub created: Option<u64>,
    pub compiled: Option<u64>,
    pub fused: Option<u64>,
    /// Of the sub-graphs, as printed; not a share of operators.
    pub percent: Option<f64>,
}

/// An operator left to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HostOperator {
    pub operator: String,
    pub count: u64,
    /// Whether the compiler supports the type; it was not compiled either way. `None` where the log
    /// says neither.
    pub supported: Option<bool>,
}

/// A function handed to the compiler.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Function {
    /// Such as `_NeuronGraph$661`.
    pub name: Option<String>,
    /// Where its compiler wrote its own log.
    pub log_file: Option<String>,
    /// Compiler arguments behind the input and output.
    pub compiler_args: Option<String>,
    pub inputs: Vec<TensorSpec>,
    /// Names of the output tensors.
    pub outputs: Vec<String>,
}

/// An input tensor of a compiled function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<i64>,
    pub dtype: String,
}

/// TensorFlow's counts of graph nodes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Placement {
    pub in_session: Option<u64>,
    pub after_optimisation: Option<u64>,
    pub on_neuron: Option<u64>,
    /// As printed.
    pub percent: Option<f64>,
}

/// The lines `Compiler status PASS` and `Compiler status ERROR`. A pass is one compiler call that
/// ended well, not a usable model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Statuses {
    pub pass: u64,
    pub error: u64,
    /// In order, as long as there are at most [`LIST_MAX`].
    pub sequence: Vec<Status>,
    /// The progress dots before each status of `sequence`.
    pub dots: Vec<u64>,
}

/// One status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Pass,
    Error,
}

/// Use of the compile cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Cache {
    /// Lines that take an artifact from the cache; ranks count one by one.
    pub hits: u64,
    /// Lines that find a cached failure.
    pub failed_hits: u64,
}

/// A distinct error.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct LogError {
    /// Such as `NCC_EOOM001`, `XCG815`, `F137`; inf1 has none.
    pub code: Option<String>,
    /// The text as it stands in the log, without colours, cut at [`TEXT_MAX`] bytes.
    pub line: String,
    /// How many separate times it was reported; repetitions of one report do not count.
    pub count: u64,
    /// The exception class that the compiler names.
    pub class: Option<String>,
    /// The compiler's own location, such as `job.Scheduler.3`.
    pub location: Option<String>,
    /// The exit status of a child of the compiler, or the negative signal that killed it.
    pub exit_status: Option<i64>,
    /// The exit code of the compiler's backend.
    pub backend_exit: Option<i64>,
    /// The sub-graph that was being compiled, such as `_NeuronGraph$1025`.
    pub function: Option<String>,
    /// The module that was being compiled, such as `MODULE_1+2`.
    pub module: Option<String>,
    /// The HLO instruction that the message names.
    pub hlo_operation: Option<String>,
    /// The operator, HLO opcode or custom call that the message calls unsupported.
    pub unsupported: Option<String>,
    /// Ranks that reported it.
    pub ranks: Vec<u64>,
    /// An old error that the cache or an appended file repeats.
    pub replayed: bool,
}

impl LogError {
    /// An error of which nothing is known but its line.
    pub(super) fn of(line: String) -> Self {
        Self {
            line,
            ..Self::default()
        }
    }
}

/// Physical lines that hold a warning of some kind; duplicates count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct WarningCounts {
    /// The word `WARNING`.
    pub logger: u64,
    /// A Python warning class, such as `UserWarning: `.
    pub python: u64,
    /// ` WARN `, as the runtime writes.
    pub runtime: u64,
}

/// Versions that the log names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Versions {
    /// The compiler, such as `2.26.6360.0+6f180f47`.
    pub compiler: Option<String>,
    pub torch_neuron: Option<String>,
    pub torch_neuronx: Option<String>,
    pub libneuronxla: Option<String>,
}

/// Durations in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Timings {
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

/// What `analyze` reports: which operators are *supported*.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Analysis {
    /// The share as reported; over HLO instructions when neuronx-cc was asked.
    pub percent: Option<f64>,
    /// All operators, with primitives.
    pub all: Option<Supported>,
    pub arithmetic: Option<Supported>,
    /// In the order of the log. A count is `None` where only names are listed.
    pub supported: Vec<AnalyzedOperator>,
    pub unsupported: Vec<UnsupportedOperator>,
    /// HLO instructions, where the report lists them beside the operators.
    pub supported_hlo: Vec<String>,
    pub unsupported_hlo: Vec<String>,
    /// How often each operator occurs, where reported.
    pub operator_count: BTreeMap<String, u64>,
}

/// A share of operators that are supported.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Supported {
    pub supported: u64,
    pub total: u64,
    /// As printed.
    pub percent: f64,
}

/// A supported operator of an analysis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AnalyzedOperator {
    pub operator: String,
    pub count: Option<u64>,
}

/// An unsupported operator of an analysis.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct UnsupportedOperator {
    pub operator: String,
    /// Which step refused it, such as `neuronx-cc` or `Lowering to HLO`.
    pub failure_at: Option<String>,
    /// The first line of the call stack, as reported.
    pub call: Option<String>,
}

/// What the partitioner of torch-neuronx decided.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Partitioning {
    /// The announced number of partitions.
    pub announced: Option<u64>,
    /// The share of supported operators that the partitioner reports.
    pub support_percent: Option<f64>,
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Partition {
    /// `NEURON` or `CPU`, as printed.
    pub device: String,
    pub operators: Vec<OperatorCount>,
}

/// The summary of `neuron_parallel_compile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct ParallelCompile {
    pub total: Option<u64>,
    pub succeeded: Option<u64>,
    pub failed: Option<u64>,
}

/// Two statements of a log that cannot both be true.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Contradiction {
    /// The index into [`LogReading::runs`], if it is about one.
    pub run: Option<usize>,
    /// The thing stated twice, such as "compiled operators".
    pub what: String,
    /// Where the first number comes from, and the number.
    pub one: (String, f64),
    pub other: (String, f64),
}

/// A warning of a producer that advice can build on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Notice {
    pub kind: NoticeKind,
    /// The text of the first such record, cut at [`TEXT_MAX`] bytes.
    pub line: String,
    pub count: u64,
}

/// The kinds of [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// A sub-graph failed and stays on the host.
    Fallback,
    /// Nothing is on the chip: the trace is the CPU's.
    CpuTrace,
    /// Less than half of the operators were compiled.
    BelowHalf,
    /// The compiler aborted without a status.
    Aborted,
    /// TensorFlow converted a model none of which runs on the chip.
    NothingPlaced,
    /// The traced graph was matched to the model by a heuristic.
    HeuristicMatch,
    /// An operator could not be converted.
    NotConverted,
}

/// What was read but not kept: nothing is dropped silently.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Skipped {
    /// Physical lines and bytes read.
    pub lines: u64,
    pub bytes: u64,
    /// Lines longer than the bound on a record, and the bytes of them that were not looked at.
    pub long_lines: u64,
    pub long_line_bytes: u64,
    /// Bytes that are not UTF-8 were replaced in this many kept texts.
    pub lossy_texts: u64,
    /// Records that a second log handler repeated.
    pub duplicates: u64,
    /// Documents (JSON, Python values) that end before their end, and those too large to hold.
    pub truncated_documents: u64,
    pub oversized_documents: u64,
    /// Places where a person left out a part of the log.
    pub elisions: u64,
    /// What exceeded a bound: the list's name and how many entries are not in it.
    pub beyond_bounds: BTreeMap<String, u64>,
}

/// The most entries that any list of a reading holds; the rest is counted in
/// [`Skipped::beyond_bounds`].
pub const LIST_MAX: usize = 4096;

/// The most bytes that a kept text holds.
pub const TEXT_MAX: usize = 4096;

/// The most bytes that all lists of a reading hold together.
pub const KEPT_BYTES_MAX: usize = 32 << 20;

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
