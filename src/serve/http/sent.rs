//! The body of a request, read before the request's deadline and up to the largest size.

use std::convert::Infallible;
use std::pin::pin;
use std::task::Poll;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use futures::StreamExt as _;

use crate::serve::http::answer::{Code, Refusal};
use crate::serve::http::connections::TooSlow;
use crate::serve::http::scope;
use crate::serve::{Entrance, Limits};

/// The body of a request, or why there is none.
pub(super) struct Sent(Result<Bytes, Refusal>);

impl Sent {
    pub(super) fn bytes(self) -> Result<Bytes, Refusal> {
        self.0
    }

    #[cfg(test)]
    pub(super) fn of(bytes: &'static [u8]) -> Self {
        Self(Ok(Bytes::from_static(bytes)))
    }
}

impl FromRequest<Entrance> for Sent {
    /// How a body is refused is up to the protocol of the route.
    type Rejection = Infallible;

    async fn from_request(request: Request, entrance: &Entrance) -> Result<Self, Infallible> {
        let limits = &entrance.served.limits;
        Ok(Self(read(request.into_body(), limits).await))
    }
}

async fn read(body: Body, limits: &Limits) -> Result<Bytes, Refusal> {
    let asked = scope::asked();
    let mut all = pin!(whole(body, limits));
    // Most bodies come with their head, and need no alarm.
    let bytes = match futures::poll!(all.as_mut()) {
        Poll::Ready(bytes) => bytes?,
        Poll::Pending => {
            let bytes = match asked {
                Ok(Some(asked)) => {
                    let bytes = tokio::time::timeout_at(asked.into(), all).await;
                    bytes.map_err(|_| scope::too_late().closing())??
                }
                _ => all.await?,
            };
            scope::has_waited(limits.request);
            bytes
        }
    };
    scope::has_come(bytes.len());
    Ok(bytes)
}

async fn whole(body: Body, limits: &Limits) -> Result<Bytes, Refusal> {
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |size| size > limits.body_bytes) {
        return Err(too_large(limits));
    }
    let mut parts = body.into_data_stream();
    let Some(first) = parts.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(|error| cut_off(&error, limits))?;
    check_size(first.len(), limits)?;
    let Some(mut next) = parts.next().await else {
        return Ok(first);
    };
    let mut bytes = first.to_vec();
    loop {
        let part = next.map_err(|error| cut_off(&error, limits))?;
        check_size(bytes.len() + part.len(), limits)?;
        bytes.extend_from_slice(&part);
        match parts.next().await {
            Some(part) => next = part,
            None => return Ok(bytes.into()),
        }
    }
}

fn check_size(size: usize, limits: &Limits) -> Result<(), Refusal> {
    match size > limits.body_bytes {
        true => Err(too_large(limits)),
        false => Ok(()),
    }
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
