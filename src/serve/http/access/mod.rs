//! Who may ask for what: API keys, their roles and their limits.

mod keys;
mod rate;
mod site;

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;

use crate::serve::http::form;
use crate::serve::http::listener_options::ListenerOptions;
use crate::serve::request::refusal::{Code, Refusal};

pub use keys::Keys;
use keys::{Beyond, Key};
pub(in crate::serve) use site::{Reach, own_site};

/// The other header that may have a key.
const KEY_HEADER: &str = "x-api-key";

/// Routes that need no key: who starts and stops servers has none, and pages ask for one.
const OPEN: [&str; 13] = [
    "/docs",
    "/docs/page.css",
    "/docs/page.js",
    "/health",
    "/health/live",
    "/health/ready",
    "/ping",
    "/tei/{model}/health",
    "/ui",
    "/ui/page.css",
    "/ui/page.js",
    "/v2/health/live",
    "/v2/health/ready",
];

/// What a caller may do; every request has one in its extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::serve) enum Role {
    /// Ask models.
    #[default]
    Predict,
    /// Everything.
    Admin,
}

/// True of a route that needs no key.
pub(super) fn is_open(route: &str) -> bool {
    OPEN.contains(&route)
}

/// The key of a request, in its extensions and in those of its answer.
#[derive(Clone)]
pub(super) struct Caller(Arc<Key>);

impl Caller {
    pub(super) fn name(&self) -> &str {
        self.0.name()
    }
}

/// How a listener checks who asks.
#[derive(Clone)]
pub(in crate::serve) struct Access {
    gate: Arc<ListenerOptions>,
    /// What everybody may where there are no keys.
    keyless: Role,
}

impl Access {
    pub(in crate::serve) fn new(gate: Arc<ListenerOptions>, keyless: Role) -> Self {
        Self { gate, keyless }
    }
}

/// What may be called a key; the error says why not.
pub fn check_key_name(name: &str) -> Result<(), String> {
    keys::check_name(name)
}

/// Lets requests pass that have a key, within its limits, and says in their extensions what they may do.
pub(in crate::serve) async fn checked(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let is_open = route.is_some_and(|route| is_open(route.as_str()));
    let Some(keys) = access.gate.keys.as_ref().filter(|_| !is_open) else {
        let role = match access.gate.keys {
            Some(_) => Role::Predict,
            None => access.keyless,
        };
        request.extensions_mut().insert(role);
        return next.run(request).await;
    };
    let presented = presented(request.headers());
    let Some(key) = presented.and_then(|key| keys.find(key)) else {
        return unknown(request.uri().path(), presented.is_some());
    };
    let taken = match key.take() {
        Ok(taken) => taken,
        Err(beyond) => return too_much(request.uri().path(), beyond),
    };
    let caller = Caller(key);
    request.extensions_mut().insert(caller.0.role());
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(caller);
    drop(taken);
    response
}

/// Lets only admins pass.
pub(in crate::serve) async fn require_admin(request: Request, next: Next) -> Response {
    match request.extensions().get::<Role>() {
        Some(Role::Admin) => next.run(request).await,
        _ => {
            let refusal = Refusal::new(Code::Forbidden, "this is for admins")
                .help("use a key whose `role` is `admin`");
            form::refuse(request.uri().path(), refusal)
        }
    }
}

/// The key that a request has.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked("Bearer ".len())?;
        scheme
            .eq_ignore_ascii_case(b"Bearer ")
            .then(|| key.trim_ascii())
    });
    bearer.or_else(|| headers.get(KEY_HEADER).map(HeaderValue::as_bytes))
}

fn unknown(path: &str, has_key: bool) -> Response {
    let (message, challenge) = match has_key {
        true => (
            "the API key is not known",
            r#"Bearer realm="neuronc", error="invalid_token""#,
        ),
        false => ("there is no API key", r#"Bearer realm="neuronc""#),
    };
    let refusal = Refusal::new(Code::InvalidApiKey, message)
        .help("send `authorization: Bearer KEY` or `x-api-key: KEY`");
    let mut response = form::refuse(path, refusal);
    let challenge = HeaderValue::from_static(challenge);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn too_much(path: &str, beyond: Beyond) -> Response {
    let (message, seconds) = match beyond {
        Beyond::InFlight(limit) => (
            format!("{limit} requests of this key are being answered"),
            1,
        ),
        Beyond::Rate(wait) => (
            "this key has had its requests of this second".to_owned(),
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
        ),
    };
    let refusal =
        Refusal::new(Code::KeyLimit, message).help("try again after the time in `Retry-After`");
    let mut response = form::refuse(path, refusal);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_either_header() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let value = |(name, value): &(&'static str, &'static str)| {
                (name.parse().unwrap(), HeaderValue::from_static(value))
            };
            pairs.iter().map(value).collect::<HeaderMap>()
        };
        for (pairs, key) in [
            (vec![("authorization", "Bearer abc")], Some("abc")),
            (vec![("authorization", "bearer  abc ")], Some("abc")),
            (vec![("x-api-key", "abc")], Some("abc")),
            (
                vec![("authorization", "Basic abc"), ("x-api-key", "x")],
                Some("x"),
            ),
            (
                vec![("authorization", "Bearer abc"), ("x-api-key", "x")],
                Some("abc"),
            ),
            (vec![("authorization", "Bear")], None),
            (vec![], None),
        ] {
            let headers = headers(&pairs);
            assert_eq!(presented(&headers), key.map(str::as_bytes), "{pairs:?}");
        }
    }
}
