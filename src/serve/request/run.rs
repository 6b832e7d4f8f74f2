//! The run of a request of any protocol: its preparation, its rows on the workers, and its answer, within its
//! deadline and off the threads that serve connections where any of it takes its time.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use crate::bucket::{Bucket, Row};
use crate::serve::core::job::{Address, RowError, RowOutput};
use crate::serve::core::models::{ModelLease, ServedModel};
use crate::serve::core::queue::SubmitError;
use crate::serve::core::state::ServedState;
use crate::serve::core::statistics::RequestTimes;
use crate::serve::limits::Limits;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::view::ServerView;
use crate::serve::request::{context, record};
use crate::task::feature_extraction::Embeddings;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::{Prepared, TaskModel};

/// Answers of up to so many values are written where their outputs arrive: that, too, takes about a
/// millisecond at most.
const VALUES_AT_ONCE_MAX: usize = 32 << 10;

/// When to come again to a model that no worker can run.
const BROKEN_RETRY: Duration = Duration::from_secs(30);

/// A request that is prepared for its model, before its rows run.
pub(crate) trait PreparedRequest: Send + 'static {
    /// Takes out the rows to run.
    fn take_rows(&mut self) -> Vec<Row>;
}

impl PreparedRequest for Prepared {
    fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }
}

impl PreparedRequest for Embeddings {
    fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }
}

/// Answers a request of any protocol: prepares it with `prepare`, runs its rows, and writes its answer with
/// `write` from their outputs.
pub(crate) async fn answer<P: PreparedRequest, E: Into<Refusal>, T: Send + 'static>(
    view: &ServerView,
    model: ModelLease,
    prepare: impl FnOnce(&TaskModel) -> Result<P, E> + Send + 'static,
    write: impl FnOnce(&ServedModel, P, Outputs) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let mut prepared = timed(&model, prepare).await?;
    let rows = prepared.value.take_rows();
    let outputs = run_rows(view, &model, rows, prepared.took).await?;
    let values = outputs.size();
    written(values, move || write(&model, prepared.value, outputs)).await
}

/// Prepares what needs no rows to run.
pub(crate) async fn prepare<T: Send + 'static, E: Into<Refusal>>(
    model: &ModelLease,
    prepare: impl FnOnce(&TaskModel) -> Result<T, E> + Send + 'static,
) -> Result<T, Refusal> {
    let prepared = timed(model, prepare).await?;
    Ok(prepared.value)
}

/// A value made of a request, and the time that making it took.
struct Timed<T> {
    value: T,
    took: Duration,
}

/// Reads a body with `read`.
pub(crate) async fn read<T: Send + 'static>(
    body: impl AsRef<[u8]> + Send + 'static,
    read: impl FnOnce(&[u8]) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if context::is_small() {
        here(|| read(body.as_ref()))
    } else {
        elsewhere(move || read(body.as_ref())).await
    }
}

/// Prepares a request for its model with `prepare`.
async fn timed<T: Send + 'static, E: Into<Refusal>>(
    model: &ModelLease,
    prepare: impl FnOnce(&TaskModel) -> Result<T, E> + Send + 'static,
) -> Result<Timed<T>, Refusal> {
    // A deadline that cannot be read is refused before there is any work.
    context::deadline()?;
    let timed = |model: &TaskModel| {
        let begun = Instant::now();
        let value = prepare(model).map_err(Into::into)?;
        Ok(Timed {
            value,
            took: begun.elapsed(),
        })
    };
    if context::is_small() {
        return here(|| timed(&model.model));
    }
    let model = model.model.clone();
    elsewhere(move || timed(&model)).await
}

/// Writes an answer of so many values with `write`.
async fn written<T: Send + 'static>(
    values: usize,
    write: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if context::is_small() && values <= VALUES_AT_ONCE_MAX {
        here(write)
    } else {
        elsewhere(write).await
    }
}

/// Does what takes next to no time.
fn here<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    // As a thread of its own would, so that a panic is answered.
    let done = std::panic::catch_unwind(AssertUnwindSafe(work));
    done.map_err(|_| panicked("see the log above"))?
}

/// Does what takes its time, off the threads that serve connections, and until the request's deadline.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let deadline = context::deadline()?;
    let span = Span::current();
    let held = context::body_share();
    let timely = move || {
        let _held = held;
        if Instant::now() < deadline {
            span.in_scope(work)
        } else {
            // It waited too long for a thread, and nobody waits for it any more.
            Err(Refusal::too_late())
        }
    };
    let done = tokio::task::spawn_blocking(timely);
    let done = tokio::time::timeout_at(deadline.into(), done).await;
    let done = done.map_err(|_| Refusal::too_late())?;
    done.map_err(|error| panicked(&error.to_string()))?
}

fn panicked(why: &str) -> Refusal {
    tracing::error!("a request panicked: {why}");
    Refusal::new(
        Code::Internal,
        "neuronc failed on this request; its log says more",
    )
}

/// The outputs of a request's rows, in their order, and how they came about.
pub(crate) struct Outputs {
    pub(crate) values: Vec<Vec<f32>>,
    pub(crate) summary: RunSummary,
}

impl Outputs {
    /// The number of all values.
    fn size(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }
}

/// The model, the buckets and the cores that a request's rows ran on, and the time that they took.
#[derive(Debug)]
pub(crate) struct RunSummary {
    pub(crate) model: Arc<str>,
    pub(crate) buckets: BTreeSet<Bucket>,
    /// Of each worker, as the runtime writes them.
    pub(crate) cores: BTreeSet<Arc<str>>,
    /// Of all rows, special tokens included.
    pub(crate) tokens: usize,
    pub(crate) times: RequestTimes,
}

/// BucketCounters `rows` before the deadline of the request. `preparing` is the time that the request took so far.
async fn run_rows(
    view: &ServerView,
    model: &ModelLease,
    rows: Vec<Row>,
    preparing: Duration,
) -> Result<Outputs, Refusal> {
    let begun = Instant::now();
    let tokens = rows.iter().map(|row| row.ids.len()).sum();
    record::note_model(&model.name);
    let outputs = outputs(view, model, rows).await;
    let statistics = &model.statistics;
    let outputs = outputs.inspect_err(|_| statistics.failed(begun.elapsed()))?;
    let timings = outputs.iter().map(|row| row.timing);
    let last = timings.max_by_key(|timing| timing.waited + timing.ran);
    let times = RequestTimes {
        preparing,
        waiting: last.map_or(Duration::ZERO, |last| last.waited),
        running: last.map_or(Duration::ZERO, |last| last.ran),
    };
    statistics.succeeded(preparing + begun.elapsed(), &times, &outputs);
    record::note_run(&model.name, preparing, begun, &outputs);
    let cores = outputs.iter().map(|output| Arc::clone(&output.core));
    let summary = RunSummary {
        model: Arc::clone(&model.name),
        buckets: outputs.iter().map(|output| output.bucket).collect(),
        cores: cores.collect(),
        tokens,
        times,
    };
    Ok(Outputs {
        values: outputs.into_iter().map(|output| output.values).collect(),
        summary,
    })
}

async fn outputs(
    view: &ServerView,
    model: &ModelLease,
    rows: Vec<Row>,
) -> Result<Vec<RowOutput>, Refusal> {
    let served = view.served();
    let deadline = context::deadline()?;
    let address = Address {
        model: model.id,
        worker: view.worker(),
    };
    let submitted = served.queue.submit(address, rows, deadline);
    let receivers = submitted.map_err(|refused| not_accepted(refused, &served.limits))?;
    let outputs = futures::future::try_join_all(receivers);
    let outputs = tokio::time::timeout_at(deadline.into(), outputs);
    let mut given_up = served.given_up.subscribe();
    let outputs = tokio::select! {
        biased;
        outputs = outputs => outputs,
        _ = given_up.wait_for(|is_over| *is_over) => return Err(Refusal::stopping()),
    };
    let outputs = outputs
        .map_err(|_| Refusal::too_late())?
        .map_err(|_| lost(served))?;
    outputs
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(refused)
}

/// Why rows were not taken into the queue.
fn not_accepted(refused: SubmitError, limits: &Limits) -> Refusal {
    match refused {
        SubmitError::Full { waiting, wait } => Refusal::new(
            Code::QueueFull,
            format!(
                "{waiting} rows are waiting already, and {} may",
                limits.queue_rows
            ),
        )
        .help("try again after the time in `Retry-After`")
        .retry_after(wait),
        SubmitError::TooMany { rows } => {
            let limit = limits.queue_rows;
            let message = format!("the request needs {rows} rows; it may have {limit}");
            Invalid::new(InvalidCode::TooMany, "", message).into()
        }
        SubmitError::Quarantined => Refusal::new(
            Code::Quarantined,
            "a row of this request ended the workers that ran it",
        )
        .help("it is refused for ten minutes"),
        SubmitError::Broken => broken(),
        SubmitError::Gone => gone(),
        SubmitError::Closed => Refusal::stopping(),
    }
}

/// Nobody answered a row.
fn lost(served: &ServedState) -> Refusal {
    if served.is_stopping() {
        Refusal::stopping()
    } else {
        Refusal::new(Code::WorkerDied, "the core that ran this request failed")
    }
}

fn broken() -> Refusal {
    Refusal::new(Code::NotReady, "no worker can run this model at present")
        .retry_after(Some(BROKEN_RETRY))
}

fn gone() -> Refusal {
    Refusal::new(Code::UnknownModel, "the model was taken away")
}

fn refused(error: RowError) -> Refusal {
    match error {
        RowError::Failed(_) => Refusal::new(
            Code::Internal,
            "the model could not be run; the log says why",
        ),
        RowError::Numeric => Refusal::new(
            Code::Numeric,
            "the model made values that are not finite of this request",
        ),
        RowError::WorkerDied => {
            Refusal::new(Code::WorkerDied, "the workers that ran this request died")
        }
        RowError::Broken => broken(),
        RowError::Gone => gone(),
        RowError::Closed => Refusal::stopping(),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::serve::request::context::RequestContext;

    async fn with_bytes<F: Future>(bytes: usize, request: F) -> F::Output {
        let context = RequestContext::new(Ok(None), Duration::from_secs(60), bytes);
        context.scope(request).await
    }

    /// True, for each, where a request of `bytes` is read, and an answer of `values` written, on the thread
    /// that serves connections.
    async fn is_here(bytes: usize, values: usize) -> [bool; 2] {
        let own = thread::current().id();
        let is_own = move || thread::current().id() == own;
        let request = async {
            let read = read(b"", move |_| Ok(is_own())).await;
            let written = written(values, move || Ok(is_own())).await;
            [read.unwrap(), written.unwrap()]
        };
        with_bytes(bytes, request).await
    }

    #[tokio::test]
    async fn what_takes_its_time_does_not_take_that_of_connections() {
        assert_eq!(is_here(4 << 10, 384).await, [true, true]);
        assert_eq!(is_here(4 << 10, 1 << 20).await, [true, false]);
        assert_eq!(is_here((4 << 10) + 1, 384).await, [false, false]);
    }

    #[tokio::test]
    async fn a_panic_is_answered_wherever_it_is() {
        for bytes in [10, 1 << 20] {
            let panics = read(b"", |_| -> Result<(), Refusal> { panic!("here") });
            let refusal = with_bytes(bytes, panics).await.unwrap_err();
            assert_eq!(refusal.code(), Code::Internal);
        }
    }
}
