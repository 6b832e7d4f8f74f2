//! The body of a request, read before the request's deadline, up to the largest size, and within the memory
//! for the bodies of all requests.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures::StreamExt as _;

use crate::serve::http::connections::body::TooSlow;
use crate::serve::limits::Limits;
use crate::serve::request::body_budget::BodyShare;
use crate::serve::request::context::{self, SMALL_BYTES_MAX};
use crate::serve::request::frontend::Frontend;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::view::ServerView;

/// The time after which to come again with a body for which there was no memory.
const NO_MEMORY_RETRY: Duration = Duration::from_secs(1);

/// The body of a request, or the refusal of it.
pub(super) struct RequestBody(Result<Bytes, Refusal>);

impl RequestBody {
    pub(super) fn bytes(self) -> Result<Bytes, Refusal> {
        self.0
    }
}

impl FromRequest<ServerView> for RequestBody {
    /// How a body is refused is up to the protocol of the route.
    type Rejection = Infallible;

    async fn from_request(request: Request, view: &ServerView) -> Result<Self, Infallible> {
        let (head, body) = request.into_parts();
        Ok(Self(match as_it_is(&head.headers) {
            Ok(()) => read(body, &view.frontend).await,
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

async fn read(body: Body, frontend: &Frontend) -> Result<Bytes, Refusal> {
    let asked = context::client_deadline()?;
    let mut all = pin!(whole(body, frontend));
    // Most bodies come with their head, and need no alarm.
    let bytes = match futures::poll!(all.as_mut()) {
        Poll::Ready(bytes) => bytes?,
        Poll::Pending => {
            let bytes = match asked {
                Some(asked) => {
                    let bytes = tokio::time::timeout_at(asked.into(), all).await;
                    bytes.map_err(|_| Refusal::too_late().closing())??
                }
                None => all.await?,
            };
            context::restart_limit(frontend.served.limits.request);
            bytes
        }
    };
    context::add_bytes(bytes.len());
    Ok(bytes)
}

async fn whole(body: Body, frontend: &Frontend) -> Result<Bytes, Refusal> {
    let limits = &frontend.served.limits;
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |size| size > limits.body_bytes) {
        return Err(too_large(limits));
    }
    let mut parts = body.into_data_stream();
    let Some(first) = parts.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(|error| cut_off(&error, limits))?;
    let mut memory = BodyMemory {
        frontend,
        share: None,
    };
    memory.take(0, first.len())?;
    let Some(mut next) = parts.next().await else {
        memory.end();
        return Ok(first);
    };
    let mut bytes = first.to_vec();
    loop {
        let part = next.map_err(|error| cut_off(&error, limits))?;
        memory.take(bytes.len(), part.len())?;
        bytes.extend_from_slice(&part);
        match parts.next().await {
            Some(part) => next = part,
            None => break,
        }
    }
    memory.end();
    Ok(bytes.into())
}

/// The memory that a body takes of that for all bodies. The first bytes are free, so that large bodies leave
/// the small ones alone.
struct BodyMemory<'a> {
    frontend: &'a Frontend,
    share: Option<Arc<BodyShare>>,
}

impl BodyMemory<'_> {
    /// Takes memory for bytes that come after `before` others.
    fn take(&mut self, before: usize, bytes: usize) -> Result<(), Refusal> {
        let limits = &self.frontend.served.limits;
        let beyond = |bytes: usize| bytes.saturating_sub(SMALL_BYTES_MAX);
        if before + bytes > limits.body_bytes {
            return Err(too_large(limits));
        }
        let more = beyond(before + bytes) - beyond(before);
        if more == 0 {
            return Ok(());
        }
        let share = self
            .share
            .get_or_insert_with(|| self.frontend.bodies.share());
        if share.take(more) {
            Ok(())
        } else {
            Err(no_memory())
        }
    }

    fn end(self) {
        if let Some(share) = self.share {
            context::keep_body(share);
        }
    }
}

fn no_memory() -> Refusal {
    let message = "the bodies of other requests take all the room that there is";
    let refusal = Refusal::new(Code::TooManyBytes, message);
    refusal.retry_after(Some(NO_MEMORY_RETRY)).closing()
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
