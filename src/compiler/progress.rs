//! Events of a compilation, for progress bars.

use crate::bucket::Bucket;
use crate::executor::events::Stage;

/// An event of a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompilationProgress {
    /// The executor has loaded the weights and begins to trace.
    Tracing,
    /// A bucket was traced.
    Traced {
        bucket: Bucket,
        millis: u64,
    },
    /// A bucket needs no compilation, since an earlier run compiled it.
    Kept {
        bucket: Bucket,
    },
    /// The compilation of a bucket has reached this stage.
    Stage {
        bucket: Bucket,
        stage: Stage,
    },
    /// Number of dots that the compiler of a bucket has printed so far.
    Dots {
        bucket: Bucket,
        count: u64,
    },
    Compiled {
        bucket: Bucket,
        millis: u64,
    },
    Failed {
        bucket: Bucket,
    },
    /// All files are complete, and their hashes are computed.
    Sealing,
}
