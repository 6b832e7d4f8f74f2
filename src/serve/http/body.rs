//! The body of a request, read before the request's deadline, up to the largest size, and within the
//! room for the bodies of all requests.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures::StreamExt as _;

use crate::serve::http::answer::{Code, Refusal};
use crate::serve::http::connections::TooSlow;
use crate::serve::request::body_budget::Held;
use crate::serve::request::context::{self, SMALL_BYTES_MAX};
use crate::serve::{Entrance, Limits, Served};

/// When to come again with a body for which there was no room.
const NO_ROOM_RETRY: Duration = Duration::from_secs(1);

/// The body of a request, or why there is none.
pub(crate) struct Sent(Result<Bytes, Refusal>);

impl Sent {
    pub(crate) fn bytes(self) -> Result<Bytes, Refusal> {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn of(bytes: &'static [u8]) -> Self {
        Self(Ok(Bytes::from_static(bytes)))
    }
}

impl FromRequest<Entrance> for Sent {
    /// How a body is refused is up to the protocol of the route.
    type Rejection = Infallible;

    async fn from_request(request: Request, entrance: &Entrance) -> Result<Self, Infallible> {
        let (head, body) = request.into_parts();
        Ok(Self(match as_it_is(&head.headers) {
            Ok(()) => read(body, &entrance.served).await,
            Err(refusal) => Err(refusal),
        }))
    }
}

/// Refuses a body that is compressed.
fn as_it_is(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let message = "the body has a `content-encoding`";
    let refusal = Refusal::new(Code::UnsupportedEncoding, message);
    Err(refusal.help("send it as it is").closing())
}

async fn read(body: Body, served: &Served) -> Result<Bytes, Refusal> {
    let asked = context::asked()?;
    let mut all = pin!(whole(body, served));
    // Most bodies come with their head, and need no alarm.
    let bytes = match futures::poll!(all.as_mut()) {
        Poll::Ready(bytes) => bytes?,
        Poll::Pending => {
            let bytes = match asked {
                Some(asked) => {
                    let bytes = tokio::time::timeout_at(asked.into(), all).await;
                    bytes.map_err(|_| context::too_late().closing())??
                }
                None => all.await?,
            };
            context::has_waited(served.limits.request);
            bytes
        }
    };
    context::has_come(bytes.len());
    Ok(bytes)
}

async fn whole(body: Body, served: &Served) -> Result<Bytes, Refusal> {
    let limits = &served.limits;
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |size| size > limits.body_bytes) {
        return Err(too_large(limits));
    }
    let mut parts = body.into_data_stream();
    let Some(first) = parts.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(|error| cut_off(&error, limits))?;
    let mut taking = Taking { served, held: None };
    taking.take(0, first.len())?;
    let Some(mut next) = parts.next().await else {
        taking.end();
        return Ok(first);
    };
    let mut bytes = first.to_vec();
    loop {
        let part = next.map_err(|error| cut_off(&error, limits))?;
        taking.take(bytes.len(), part.len())?;
        bytes.extend_from_slice(&part);
        match parts.next().await {
            Some(part) => next = part,
            None => break,
        }
    }
    taking.end();
    Ok(bytes.into())
}

/// What a body takes of the room for all of them; the first bytes are free, so that large bodies leave
/// the small ones alone.
struct Taking<'a> {
    served: &'a Served,
    held: Option<Arc<Held>>,
}

impl Taking<'_> {
    /// Takes room for so many bytes that come after others.
    fn take(&mut self, before: usize, bytes: usize) -> Result<(), Refusal> {
        let limits = &self.served.limits;
        let beyond = |bytes: usize| bytes.saturating_sub(SMALL_BYTES_MAX);
        if before + bytes > limits.body_bytes {
            return Err(too_large(limits));
        }
        let more = beyond(before + bytes) - beyond(before);
        if more == 0 {
            return Ok(());
        }
        let held = self.held.get_or_insert_with(|| self.served.room.hold());
        match held.take(more) {
            true => Ok(()),
            false => Err(no_room()),
        }
    }

    fn end(self) {
        if let Some(held) = self.held {
            context::keep(held);
        }
    }
}

fn no_room() -> Refusal {
    let message = "the bodies of other requests take all the room that there is";
    let refusal = Refusal::new(Code::TooManyBytes, message);
    refusal.retry_after(Some(NO_ROOM_RETRY)).closing()
}

fn too_large(limits: &Limits) -> Refusal {
    let message = format!("the body has more than {} bytes", limits.body_bytes);
    let refusal = Refusal::new(Code::BodyTooLarge, message);
    refusal.help("send fewer inputs at a time").closing()
}

fn cut_off(error: &axum::Error, limits: &Limits) -> Refusal {
    let refusal = match TooSlow::behind(error) {
        true => Refusal::new(
            Code::BodyTooSlow,
            format!("the body did not come within {:?}", limits.body),
        ),
        false => Refusal::new(
            Code::MalformedJson,
            format!("the body did not come as a whole: {error}"),
        ),
    };
    refusal.closing()
}
