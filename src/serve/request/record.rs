//! Notes of what the request of a task has run, for those who count requests and for those who trace them.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::serve::core::job::RowOutput;

tokio::task_local! {
    /// The model whose rows the request has run.
    static MODEL: OnceCell<Arc<str>>;
    /// Only there while the request is traced: it costs an allocation.
    static RUN: OnceCell<RunRecord>;
}

/// The way of a request's rows through the workers, by the row that came back last.
#[derive(Debug)]
pub(crate) struct RunRecord {
    pub(crate) model: Arc<str>,
    pub(crate) rows: usize,
    pub(crate) bucket: String,
    /// The NeuronCores of the worker, as the runtime writes them.
    pub(crate) core: Arc<str>,
    /// The time that the preparation of the rows took.
    pub(crate) prepared: Duration,
    pub(crate) submitted: Instant,
    pub(crate) waited: Duration,
    pub(crate) ran: Duration,
}

/// BucketCounters `request`, and returns also the model whose rows it has run.
pub(crate) async fn with_model<F: Future>(request: F) -> (F::Output, Option<Arc<str>>) {
    let noted = async {
        let output = request.await;
        (output, MODEL.with(|model| model.get().cloned()))
    };
    MODEL.scope(OnceCell::new(), noted).await
}

/// BucketCounters `request`, and gives what it has run to `tell` where it has run something.
pub(crate) async fn with_run<F: Future>(request: F, tell: impl FnOnce(&RunRecord)) -> F::Output {
    let noted = async {
        let output = request.await;
        RUN.with(|run| run.get().map(tell));
        output
    };
    RUN.scope(OnceCell::new(), noted).await
}

/// Notes the model whose rows the request runs.
pub(crate) fn note_model(model: &Arc<str>) {
    // The first one counts, and there is nothing to count outside of a request.
    let _ = MODEL.try_with(|noted| noted.set(Arc::clone(model)));
}

/// Notes what the request has run, if it is traced. Its `rows` were submitted at `submitted`, after they had
/// been prepared for the time of `prepared`.
pub(crate) fn note_run(
    model: &Arc<str>,
    prepared: Duration,
    submitted: Instant,
    rows: &[RowOutput],
) {
    let last = rows
        .iter()
        .max_by_key(|row| row.timing.waited + row.timing.ran);
    let Some(last) = last else { return };
    let run = || RunRecord {
        model: Arc::clone(model),
        rows: rows.len(),
        bucket: last.bucket.to_string(),
        core: Arc::clone(&last.core),
        prepared,
        submitted,
        waited: last.timing.waited,
        ran: last.timing.ran,
    };
    // The first run counts.
    let _ = RUN.try_with(|noted| {
        noted.get_or_init(run);
    });
}
