//! Bodies: that of a request has to come in time, and that of an answer says when it is handed over.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::serve::http::connections::activity::{Activity, InFlight, Receiving};

/// The body of a request did not come in time.
#[derive(Debug)]
pub(in crate::serve::http) struct TooSlow(Duration);

impl TooSlow {
    /// Finds it behind an error that was made of it.
    pub(in crate::serve::http) fn behind(error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<TooSlow>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body took longer than {:?}", self.0)
    }
}

impl Error for TooSlow {}

/// The body of a request, which has to come in a certain time.
pub(super) struct Received {
    body: Incoming,
    /// While more is to come.
    receiving: Option<Receiving>,
    begun: Instant,
    time: Duration,
    /// Set when the body has to be waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Received {
    pub(super) fn new(body: Incoming, activity: &Arc<Activity>, time: Duration) -> Self {
        Self {
            receiving: (!body.is_end_stream()).then(|| activity.receive()),
            body,
            begun: Instant::now(),
            time,
            alarm: None,
        }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            let until = this.begun + this.time;
            let alarm = this
                .alarm
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            return match alarm.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(TooSlow(this.time).into()))),
                Poll::Pending => Poll::Pending,
            };
        };
        if !matches!(frame, Some(Ok(_))) || this.body.is_end_stream() {
            this.receiving = None;
            this.alarm = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(receiving) = self.receiving.take() {
            receiving.leave();
        }
    }
}

/// The body of an answer; its request is in flight until it was handed over.
pub(super) struct Answered {
    body: Body,
    _in_flight: InFlight,
}

impl Answered {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self {
            body,
            _in_flight: in_flight,
        }
    }
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
