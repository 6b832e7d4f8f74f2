//! Bodies: that of a request has to come in time, and that of an answer says when it is handed over.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Version;
use futures::StreamExt as _;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::serve::http::connections::activity::{Activity, InFlight, Receiving};
use crate::serve::http::connections::shared;

/// What is handed over at a time on a connection of many requests: what its client has no room for
/// waits here, where it has its time.
const PIECE_BYTES: usize = 16 << 10;

/// So much is read of a body that nobody wants.
const UNWANTED_BYTES_MAX: usize = 8 << 20;

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
pub(super) struct TimedBody {
    /// Always there, until this is dropped.
    body: Option<Incoming>,
    /// While more is to come.
    receiving: Option<Receiving>,
    version: Version,
    begun: Instant,
    time: Duration,
    /// Set when the body has to be waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    pub(super) fn new(
        body: Incoming,
        version: Version,
        activity: &Arc<Activity>,
        time: Duration,
    ) -> Self {
        Self {
            receiving: (!body.is_end_stream()).then(|| activity.receive()),
            body: Some(body),
            version,
            begun: Instant::now(),
            time,
            alarm: None,
        }
    }
}

/// Reads on what nobody wants. A client of HTTP/2 would else find its stream reset while it sends, and may
/// throw away the answer that says why (curl 7.88 does).
async fn read_off(body: Incoming) {
    let mut parts = Body::new(body).into_data_stream();
    let mut left = UNWANTED_BYTES_MAX;
    while let Some(Ok(part)) = parts.next().await {
        match left.checked_sub(part.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
            let until = this.begun + this.time;
            let alarm = this
                .alarm
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            return match alarm.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(TooSlow(this.time).into()))),
                Poll::Pending => Poll::Pending,
            };
        };
        if !matches!(frame, Some(Ok(_))) || body.is_end_stream() {
            this.receiving = None;
            this.alarm = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Incoming::size_hint);
        hint.unwrap_or_default()
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        let Some(receiving) = self.receiving.take() else {
            return;
        };
        match (self.body.take(), Handle::try_current()) {
            (Some(body), Ok(runtime)) if self.version == Version::HTTP_2 => {
                let until = self.begun + self.time;
                runtime.spawn(async move {
                    // A client that goes on longer sees its stream reset after all.
                    let _ = timeout_at(until, read_off(body)).await;
                    drop(receiving);
                });
            }
            _ => receiving.leave(),
        }
    }
}

/// The body of an answer; its request is in flight until it was handed over.
pub(super) struct AnswerBody {
    body: Body,
    _in_flight: InFlight,
    /// The connection is that of other requests, too.
    is_shared: bool,
    /// What of a part of the body has not been handed over.
    rest: Bytes,
}

impl AnswerBody {
    pub(super) fn new(body: Body, in_flight: InFlight, version: Version) -> Self {
        let is_shared = version == Version::HTTP_2;
        if is_shared {
            shared::took();
        }
        Self {
            body,
            _in_flight: in_flight,
            is_shared,
            rest: Bytes::new(),
        }
    }

    /// The next piece of the rest.
    fn piece(&mut self) -> Frame<Bytes> {
        let size = self.rest.len().min(PIECE_BYTES);
        Frame::data(self.rest.split_to(size))
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.is_shared {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        shared::took();
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                self.rest = data;
                Some(Ok(self.piece()))
            }
            Some(Ok(Err(trailers))) => Some(Ok(trailers)),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest + body.lower());
        if let Some(upper) = body.upper() {
            hint.set_upper(rest + upper);
        }
        hint
    }
}
