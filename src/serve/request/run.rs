//! What a request of any protocol goes through: its model, its preparation, and the run of its rows within its deadline.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::response::Response;
use tracing::Span;

use crate::bucket::Row;
use crate::failure::name_list;
use crate::family::Head;
use crate::serve::core::job::{Address, RowError, RowOutput};
use crate::serve::core::models::Use;
use crate::serve::core::queue::Refused;
use crate::serve::http::answer::{Code, Ran, Refusal};
use crate::serve::http::body::Sent;
use crate::serve::http::traces;
use crate::serve::request::{context, traffic};
use crate::serve::{Entrance, Limits, Served};
use crate::task::TaskModel;
use crate::task::invalid::{Invalid, InvalidCode};

/// Answers of up to so many values are written where their outputs arrive: that, too, takes about a
/// millisecond at most.
const VALUES_AT_ONCE_MAX: usize = 32 << 10;

/// When to come again to a model that no worker can run.
const BROKEN_RETRY: Duration = Duration::from_secs(30);

/// What was made of a request, and the time that took.
pub(crate) struct Timed<T> {
    pub(crate) value: T,
    pub(crate) took: Duration,
}

/// What `read` makes of a body.
pub(crate) async fn read<T: Send + 'static>(
    body: Sent,
    read: impl FnOnce(&[u8]) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let body = body.bytes()?;
    match context::is_small() {
        true => here(|| read(&body)),
        false => elsewhere(move || read(&body)).await,
    }
}

/// What `work` makes of a request for a model.
pub(crate) async fn prepare<T: Send + 'static, E: Into<Refusal>>(
    model: &Use,
    work: impl FnOnce(&TaskModel) -> Result<T, E> + Send + 'static,
) -> Result<Timed<T>, Refusal> {
    context::deadline()?;
    let timed = |model: &TaskModel| {
        let begun = Instant::now();
        let value = work(model).map_err(Into::into)?;
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

/// The answer that `write` makes of outputs of so many values.
pub(crate) async fn answer(
    values: usize,
    write: impl FnOnce() -> Result<Response, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    match context::is_small() && values <= VALUES_AT_ONCE_MAX {
        true => here(write),
        false => elsewhere(write).await,
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
    let held = context::held();
    let timely = move || {
        let _held = held;
        match Instant::now() < deadline {
            true => span.in_scope(work),
            // Nobody waits for it any more.
            false => Err(context::too_late()),
        }
    };
    let done = tokio::task::spawn_blocking(timely);
    let done = tokio::time::timeout_at(deadline.into(), done).await;
    let done = done.map_err(|_| context::too_late())?;
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
    pub(crate) ran: Ran,
    pub(crate) times: Times,
}

impl Outputs {
    /// How many values there are.
    pub(crate) fn size(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }
}

/// Where the time of a request went; of several rows, that of the one that was done last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) preparing: Duration,
    pub(crate) waiting: Duration,
    pub(crate) running: Duration,
}

/// The outputs of `rows` before the deadline of the request. `preparing` is the time that it took so far.
pub(crate) async fn run_rows(
    entrance: &Entrance,
    model: &Use,
    rows: Vec<Row>,
    preparing: Duration,
) -> Result<Outputs, Refusal> {
    let begun = Instant::now();
    traffic::is_for(&model.name);
    let outputs = outputs(entrance, model, rows).await;
    let statistics = &model.statistics;
    let outputs = outputs.inspect_err(|_| statistics.failed(begun.elapsed()))?;
    let timings = outputs.iter().map(|row| row.timing);
    let last = timings.max_by_key(|timing| timing.waited + timing.ran);
    let times = Times {
        preparing,
        waiting: last.map_or(Duration::ZERO, |last| last.waited),
        running: last.map_or(Duration::ZERO, |last| last.ran),
    };
    statistics.succeeded(preparing + begun.elapsed(), &times, &outputs);
    traces::has_run(&model.name, preparing, begun, &outputs);
    Ok(Outputs {
        ran: Ran::of(&model.name, &outputs),
        values: outputs.into_iter().map(|output| output.values).collect(),
        times,
    })
}

async fn outputs(
    entrance: &Entrance,
    model: &Use,
    rows: Vec<Row>,
) -> Result<Vec<RowOutput>, Refusal> {
    let served = &entrance.served;
    let deadline = context::deadline()?;
    let address = Address {
        model: model.id,
        worker: entrance.worker(),
    };
    let submitted = served.queue.submit(address, rows, deadline);
    let receivers = submitted.map_err(|refused| not_accepted(refused, &served.limits))?;
    let outputs = futures::future::try_join_all(receivers);
    let outputs = tokio::time::timeout_at(deadline.into(), outputs);
    let mut given_up = served.given_up.subscribe();
    let outputs = tokio::select! {
        biased;
        outputs = outputs => outputs,
        _ = given_up.wait_for(|is_over| *is_over) => return Err(stopping()),
    };
    let outputs = outputs
        .map_err(|_| context::too_late())?
        .map_err(|_| lost(served))?;
    outputs
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(refused)
}

/// Why rows were not taken into the queue.
fn not_accepted(refused: Refused, limits: &Limits) -> Refusal {
    match refused {
        Refused::Full { waiting, wait } => Refusal::new(
            Code::QueueFull,
            format!(
                "{waiting} rows are waiting already, and {} may",
                limits.queue_rows
            ),
        )
        .help("try again after the time in `Retry-After`")
        .retry_after(wait),
        Refused::TooMany { rows } => {
            let limit = limits.queue_rows;
            let message = format!("the request needs {rows} rows; it may have {limit}");
            Invalid::new(InvalidCode::TooMany, "", message).into()
        }
        Refused::Killer => Refusal::new(
            Code::Quarantined,
            "a row of this request ended the workers that ran it",
        )
        .help("it is refused for ten minutes"),
        Refused::Broken => broken(),
        Refused::Gone => gone(),
        Refused::Closed => stopping(),
    }
}

/// The answer to a probe that has a refusal for it: why a request might not be answered.
pub(crate) fn check_ready(entrance: &Entrance) -> Result<(), Refusal> {
    if entrance.is_ready() {
        return Ok(());
    }
    if entrance.served.is_stopping() {
        return Err(stopping());
    }
    let why = match entrance.models().is_empty() {
        true => "no model is served",
        false => "a model has no core that is ready",
    };
    Err(Refusal::new(Code::NotReady, why))
}

/// Nobody answered a row.
fn lost(served: &Served) -> Refusal {
    match served.is_stopping() {
        true => stopping(),
        false => Refusal::new(Code::WorkerDied, "the core that ran this request failed"),
    }
}

fn broken() -> Refusal {
    Refusal::new(Code::NotReady, "no worker can run this model at present")
        .retry_after(Some(BROKEN_RETRY))
}

fn gone() -> Refusal {
    Refusal::new(Code::UnknownModel, "the model was taken away")
}

fn stopping() -> Refusal {
    Refusal::new(Code::Stopping, "the server is stopping")
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
        RowError::Closed => stopping(),
    }
}

/// The model of that name; one that is not served here is refused with the names of those that are.
pub(crate) fn find_model(entrance: &Entrance, asked: &str) -> Result<Use, Refusal> {
    entrance.find(asked).ok_or_else(|| {
        let models = entrance.models();
        let names = name_list(models.iter().map(|model| &*model.name));
        Refusal::new(Code::UnknownModel, "there is no model of that name")
            .help(&format!("served: {names}"))
    })
}

/// The model of a route that names none: the first one served here that the route is for, else the
/// first one, which will say what it is for.
pub(crate) fn default_model(
    entrance: &Entrance,
    is_for: impl Fn(&Head) -> bool,
) -> Result<Use, Refusal> {
    let first = entrance.first(|model| is_for(&model.model.head));
    let first = first.or_else(|| entrance.first(|_| true));
    first.ok_or_else(|| Refusal::new(Code::UnknownModel, "no model is served on this port"))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use axum::response::IntoResponse as _;

    use super::*;

    /// Whether a request of so many bytes is read, and an answer of so many values written, on the thread
    /// that serves connections.
    async fn is_here(bytes: usize, values: usize) -> [bool; 2] {
        let own = thread::current().id();
        let is_own = move || thread::current().id() == own;
        let work = async {
            let read = read(Sent::of(b""), move |_| Ok(is_own())).await;
            let write = move || Ok(is_own().to_string().into_response());
            let answer = answer(values, write).await.unwrap().into_body();
            let answer = axum::body::to_bytes(answer, usize::MAX).await.unwrap();
            [read.unwrap(), *answer == *b"true"]
        };
        context::with_bytes(bytes, work).await
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
            let panics = read(Sent::of(b""), |_| -> Result<(), Refusal> { panic!("here") });
            let refusal = context::with_bytes(bytes, panics).await.unwrap_err();
            assert_eq!(refusal.code(), Code::Internal);
        }
    }
}
