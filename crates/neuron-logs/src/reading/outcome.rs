//! The ends of compilations: the outcome of a log or a run, and the status lines of compilers.

use schemars::JsonSchema;
use serde::Serialize;

/// The end of a compilation, or of all compilations of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CompilationOutcome {
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

/// The lines `Compiler status PASS` and `Compiler status ERROR`. A pass is one compiler call that
/// ended well, not a usable model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct StatusLines {
    pub pass: u64,
    pub error: u64,
    /// The statuses in the order of the log, at most `LIST_MAX` of them.
    pub sequence: Vec<CompilerStatus>,
    /// The progress dots before each status of `sequence`.
    pub dots: Vec<u64>,
}

/// One status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CompilerStatus {
    Pass,
    Error,
}
