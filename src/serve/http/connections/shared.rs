//! Connections that many requests share, as those of HTTP/2 are: each answer has a time of its own, since
//! that of the connection starts anew whenever its client asks something else.
//!
//! Each request is a task of hyper's. It takes the next piece of an answer's body when the client has
//! room for it: a task that does not for too long is dropped, by which the client is told that its
//! stream has ended.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

tokio::task_local! {
    /// When the client of the request of this task last took something of its answer; unset before
    /// there is one.
    static TOOK: Cell<Option<Instant>>;
}

/// The client of the request of this task can take its answer, or took a piece of it.
pub(super) fn took() {
    // A request that shares its connection with none has the times of that.
    let _ = TOOK.try_with(|took| took.set(Some(Instant::now())));
}

/// BucketCounters requests in tasks, and drops those whose client takes nothing of the answer for so long.
#[derive(Debug, Clone)]
pub(super) struct BoundedTasks {
    pub(super) time: Duration,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for BoundedTasks {
    fn execute(&self, request: F) {
        tokio::spawn(TOOK.scope(Cell::new(None), bounded(request, self.time)));
    }
}

async fn bounded(request: impl Future, time: Duration) {
    let mut request = pin!(request);
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if request.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(took) = TOOK.with(Cell::get) else {
            return Poll::Pending;
        };
        let until = took + time;
        // It is set once and looks again when it goes off, rather than being set for each piece.
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= until {
                tracing::debug!("an answer is dropped: its client takes nothing of it");
                return Poll::Ready(());
            }
            alarm.as_mut().reset(until);
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const TIME: Duration = Duration::from_secs(30);

    /// How long a request runs that does this, until it ends or is dropped.
    async fn runs(request: impl Future) -> Duration {
        let begun = Instant::now();
        TOOK.scope(Cell::new(None), bounded(request, TIME)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_dropped_only_when_nothing_of_it_is_taken() {
        let seconds = Duration::from_secs;
        let computes = sleep(seconds(100));
        assert_eq!(runs(computes).await.as_secs(), 100);
        let slow = async {
            for _ in 0..5 {
                took();
                sleep(seconds(20)).await;
            }
        };
        assert_eq!(runs(slow).await.as_secs(), 100);
        let stops = async {
            sleep(seconds(50)).await;
            took();
            sleep(seconds(20)).await;
            took();
            std::future::pending::<()>().await;
        };
        assert_eq!(runs(stops).await.as_secs(), 100);
    }
}
