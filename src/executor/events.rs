//! What an executor reports while it works on a job, one JSON object per line.

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;

/// A line on an executor's stdout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first line: who answers.
    Started {
        protocol: u32,
        executor: String,
        /// Versions of the frameworks in the executor, such as `libtorch`.
        versions: Vec<(String, String)>,
    },
    /// The weights were written.
    Weights { bytes: u64 },
    /// A graph was traced and written.
    Graph { bucket: Bucket, millis: u64 },
    /// The reference outputs were written.
    References { rows: usize },
    /// The job failed; the last line.
    Failed {
        class: FailureClass,
        message: String,
    },
    /// The job is done; the last line.
    Done,
}

/// What kind of failure an executor reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The job or a file it names cannot be used.
    Input,
    /// Memory or disk ran out.
    Resources,
    /// The framework failed.
    Framework,
}
