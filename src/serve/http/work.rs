//! What a request of any protocol goes through: its model, its preparation, and the run of its rows within its deadline.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use crate::bucket::Row;
use crate::failure::name_list;
use crate::family::Head;
use crate::serve::http::answer::{Code, Ran, Refusal};
use crate::serve::http::{traces, traffic};
use crate::serve::job::{Address, RowError, RowOutput};
use crate::serve::models::Use;
use crate::serve::queue::Refused;
use crate::serve::{Entrance, Limits, Served};
use crate::task::TaskModel;
use crate::task::invalid::{Invalid, InvalidCode};

/// In how many milliseconds the client wants its answer, if that is less than the server's own limit.
const DEADLINE_HEADER: &str = "x-neuronc-deadline-ms";

/// Bodies up to this size are worked on where they arrive: that takes less than a millisecond, and handing
/// one to another thread and back costs the processors more than it saves.
const AT_ONCE_BYTES_MAX: u64 = 4 << 10;

/// When to come again to a model whose workers cannot be started.
const BROKEN_RETRY: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// When the request that runs in this task must be answered, or why what it says of that cannot
    /// be read: its protocol decides how that is answered.
    static DEADLINE: Result<Instant, Refusal>;
    /// Its body is known to be small.
    static IS_SMALL: bool;
}

/// Gives each request its deadline, and tells how large it is.
pub(super) async fn in_scope(
    State(entrance): State<Entrance>,
    request: Request,
    next: Next,
) -> Response {
    let limit = entrance.served.limits.request;
    let asked = asked_time(request.headers());
    let deadline =
        asked.map(|asked| Instant::now() + asked.map_or(limit, |asked| asked.min(limit)));
    let body_max = request.body().size_hint().upper();
    let is_small = body_max.is_some_and(|bytes| bytes <= AT_ONCE_BYTES_MAX);
    let answer = IS_SMALL.scope(is_small, next.run(request));
    DEADLINE.scope(deadline, answer).await
}

/// The deadline of the request of this task.
fn deadline(entrance: &Entrance) -> Result<Instant, Refusal> {
    let given = DEADLINE.try_with(Result::clone);
    given.unwrap_or_else(|_| Ok(Instant::now() + entrance.served.limits.request))
}

fn asked_time(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(DEADLINE_HEADER) else {
        return Ok(None);
    };
    let milliseconds = value.to_str().ok().and_then(|text| text.parse().ok());
    let time = milliseconds.map(Duration::from_millis);
    time.map(Some).ok_or_else(|| {
        Refusal::new(
            Code::BadHeader,
            format!("`{DEADLINE_HEADER}` must be a whole number of milliseconds"),
        )
    })
}

/// What was made of a request, and the time that took.
pub(super) struct Timed<T> {
    pub(super) value: T,
    pub(super) took: Duration,
}

/// Runs `work` on a model: at once for a small body, else where it may take its time, off the threads
/// that serve connections.
pub(super) async fn prepare<T: Send + 'static>(
    entrance: &Entrance,
    model: &Use,
    work: impl FnOnce(&TaskModel) -> Result<T, Invalid> + Send + 'static,
) -> Result<Timed<T>, Refusal> {
    deadline(entrance)?;
    let model = model.clone();
    let timed = move || -> Result<_, Refusal> {
        let begun = Instant::now();
        let value = work(&model.model)?;
        Ok(Timed {
            value,
            took: begun.elapsed(),
        })
    };
    if IS_SMALL.try_with(|is_small| *is_small).unwrap_or(false) {
        // As a thread of its own would, so that a panic is answered.
        let done = std::panic::catch_unwind(AssertUnwindSafe(timed));
        return done.map_err(|_| panicked("see the log above"))?;
    }
    let done = tokio::task::spawn_blocking(timed).await;
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
pub(super) struct Outputs {
    pub(super) values: Vec<Vec<f32>>,
    pub(super) ran: Ran,
    pub(super) times: Times,
}

/// Where the time of a request went; of several rows, that of the slowest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) preparing: Duration,
    pub(super) waiting: Duration,
    pub(super) running: Duration,
}

/// The outputs of `rows` before the deadline of the request. `preparing` is the time that it took so far.
pub(super) async fn run_rows(
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
    let times = Times {
        preparing,
        waiting: longest(&outputs, |row| row.timing.waited),
        running: longest(&outputs, |row| row.timing.ran),
    };
    statistics.succeeded(preparing + begun.elapsed(), &times, &outputs);
    traces::has_run(&model.name, preparing, begun, &outputs);
    Ok(Outputs {
        ran: Ran::of(&outputs),
        values: outputs.into_iter().map(|output| output.values).collect(),
        times,
    })
}

fn longest(rows: &[RowOutput], time: impl Fn(&RowOutput) -> Duration) -> Duration {
    rows.iter().map(time).max().unwrap_or_default()
}

async fn outputs(
    entrance: &Entrance,
    model: &Use,
    rows: Vec<Row>,
) -> Result<Vec<RowOutput>, Refusal> {
    let served = &entrance.served;
    let deadline = deadline(entrance)?;
    let address = Address {
        model: model.id,
        worker: entrance.worker(),
    };
    let submitted = served.queue.submit(address, rows, deadline);
    let receivers = submitted.map_err(|refused| not_accepted(refused, &served.limits))?;
    let outputs = futures::future::try_join_all(receivers);
    let outputs = tokio::time::timeout_at(deadline.into(), outputs);
    let outputs = outputs
        .await
        .map_err(|_| {
            let message = "the deadline of the request came before its answer";
            Refusal::new(Code::DeadlineExceeded, message)
        })?
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

/// Nobody answered a row.
fn lost(served: &Served) -> Refusal {
    match served.is_stopping() {
        true => stopping(),
        false => Refusal::new(Code::WorkerDied, "the core that ran this request failed"),
    }
}

fn broken() -> Refusal {
    Refusal::new(Code::NotReady, "no worker of this model can be started")
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
pub(super) fn find_model(entrance: &Entrance, asked: &str) -> Result<Use, Refusal> {
    entrance.find(asked).ok_or_else(|| {
        let models = entrance.models();
        let names = name_list(models.iter().map(|model| &*model.name));
        Refusal::new(Code::UnknownModel, "there is no model of that name")
            .help(&format!("served: {names}"))
    })
}

/// The model of a route that names none: the first one served here that the route is for, else the
/// first one, which will say what it is for.
pub(super) fn default_model(
    entrance: &Entrance,
    is_for: impl Fn(&Head) -> bool,
) -> Result<Use, Refusal> {
    let models = entrance.models();
    let first = models.iter().find(|model| is_for(&model.model.head));
    let first = first.or(models.first()).map(Use::of);
    first.ok_or_else(|| Refusal::new(Code::UnknownModel, "no model is served on this port"))
}
