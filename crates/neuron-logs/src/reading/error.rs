//! Errors, warnings and contradictions.

use schemars::JsonSchema;
use serde::Serialize;

/// An error, however often it was reported.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct LogError {
    /// The code, such as `NCC_EOOM001`, `XCG815`, `F137`; inf1 has none.
    pub code: Option<String>,
    /// The text as it stands in the log, without colours, cut at `TEXT_MAX` bytes.
    pub line: String,
    /// The number of separate reports; repetitions of one report do not count.
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
    /// True for an old error that the cache or an appended file repeats.
    pub replayed: bool,
}

impl LogError {
    /// An error with nothing but its line.
    pub(crate) fn of(line: String) -> Self {
        Self {
            line,
            ..Self::default()
        }
    }
}

/// The numbers of physical lines that hold a warning; duplicates count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct WarningCounts {
    /// The word `WARNING`.
    pub logger: u64,
    /// A Python warning class, such as `UserWarning: `.
    pub python: u64,
    /// ` WARN `, as the runtime writes.
    pub runtime: u64,
}

/// Two statements of a log that cannot both be true.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Contradiction {
    /// The index of the run that it is about, if it is about one.
    pub run: Option<usize>,
    /// The quantity stated twice, such as "compiled operators".
    pub what: String,
    /// The source of the first number, and the number.
    pub one: (String, f64),
    pub other: (String, f64),
}

/// A warning of a producer that advice can build on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Notice {
    pub kind: NoticeKind,
    /// The text of the first such record, cut at `TEXT_MAX` bytes.
    pub line: String,
    pub count: u64,
}

/// The subject of a notice.
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
