//! A graph that neuronx-cc was called for: the unit of logs that hold no figures of operators.

use schemars::JsonSchema;
use serde::Serialize;

/// One graph that a compiler was called for, or that the cache was asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct LogGraph {
    /// The name of the module, such as `MODULE_1+2`, where the log names it.
    pub name: Option<String>,
    pub status: GraphStatus,
    /// The code of the error that ended it.
    pub code: Option<String>,
    /// The exit status of the compiler; negative when a signal killed it.
    pub exit_status: Option<i64>,
    /// The progress dots that the compiler printed for it.
    pub progress_dots: u64,
    /// The number of times that it was taken from the cache; every rank counts.
    pub cache_hits: u64,
    /// The duration that the log states, in seconds.
    pub elapsed_s: Option<f64>,
    /// The index of the run that it belongs to, where the log names runs.
    pub run: Option<usize>,
}

/// The end of the compilation of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GraphStatus {
    Passed,
    /// Taken from the cache, not compiled again.
    Cached,
    Failed,
    /// A signal ended the compiler: nearly always for memory.
    Killed,
    /// The cache holds an earlier failure, and the compiler was not called.
    FailedInCache,
    /// Begun; the end is not in the log.
    #[default]
    Unfinished,
    /// Compiled at the same time as others: some of them passed, and the log does not say which.
    NotTold,
    /// Taken out of a program for a later compilation.
    Extracted,
}
