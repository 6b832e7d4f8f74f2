//! Who may ask for what: API keys, their roles and their limits.

pub(super) mod keys;
mod rate;
pub(super) mod site;

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::serve::http::access::keys::{CallerRole, Key, KeyLimitReached};
use crate::serve::http::listener_options::ListenerOptions;
use crate::serve::http::protocol::Protocols;
use crate::serve::request::refusal::{Code, Refusal};

/// The other header that may have a key.
const KEY_HEADER: &str = "x-api-key";

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
    pub(in crate::serve) options: Arc<ListenerOptions>,
    /// The role of everybody where there are no keys.
    pub(in crate::serve) keyless: CallerRole,
    pub(in crate::serve) protocols: &'static Protocols,
}

/// Lets requests pass that have a key, within its limits, and says in their extensions what they may do.
pub(in crate::serve) async fn checked(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(keys) = &access.options.keys else {
        request.extensions_mut().insert(access.keyless);
        return next.run(request).await;
    };
    let protocols = access.protocols;
    let route = request.extensions().get::<MatchedPath>();
    if route.is_some_and(|route| protocols.is_open(route.as_str())) {
        request.extensions_mut().insert(CallerRole::Predict);
        return next.run(request).await;
    }
    let refuse = |refusal| protocols.refuse(request.uri().path(), refusal);
    let presented = presented(request.headers());
    let Some(key) = presented.and_then(|key| keys.find(key)) else {
        return unknown(refuse, presented.is_some());
    };
    let taken = match key.take() {
        Ok(taken) => taken,
        Err(beyond) => return too_much(refuse, beyond),
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
pub(in crate::serve) async fn require_admin(
    State(protocols): State<&'static Protocols>,
    request: Request,
    next: Next,
) -> Response {
    if request.extensions().get() == Some(&CallerRole::Admin) {
        return next.run(request).await;
    }
    let refusal = Refusal::new(Code::Forbidden, "this is for admins")
        .help("use a key whose `role` is `admin`");
    protocols.refuse(request.uri().path(), refusal)
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

fn unknown(refuse: impl FnOnce(Refusal) -> Response, has_key: bool) -> Response {
    let (message, challenge) = match has_key {
        true => (
            "the API key is not known",
            r#"Bearer realm="neuronc", error="invalid_token""#,
        ),
        false => ("there is no API key", r#"Bearer realm="neuronc""#),
    };
    let refusal = Refusal::new(Code::InvalidApiKey, message)
        .help("send `authorization: Bearer KEY` or `x-api-key: KEY`");
    let mut response = refuse(refusal);
    let challenge = HeaderValue::from_static(challenge);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn too_much(refuse: impl FnOnce(Refusal) -> Response, beyond: KeyLimitReached) -> Response {
    let (message, seconds) = match beyond {
        KeyLimitReached::InFlight(limit) => (
            format!("{limit} requests of this key are being answered"),
            1,
        ),
        KeyLimitReached::Rate(wait) => (
            "this key has had its requests of this second".to_owned(),
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
        ),
    };
    let refusal =
        Refusal::new(Code::KeyLimit, message).help("try again after the time in `Retry-After`");
    let mut response = refuse(refusal);
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
