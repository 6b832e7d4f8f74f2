//! What came in and how it was answered: the account of connections and requests, of which `/metrics`
//! tells.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::serve::Served;
use crate::serve::core::histogram::{Histogram, SECONDS};
use crate::serve::http::answer::Reason;

/// What a request that took no route of ours is counted as: its path is its client's text.
const UNKNOWN: &str = "unknown";

/// On the answer to a path that is none of ours, although it may look like one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoRoute;

/// The template of the route that gave an answer, such as `/predict/{model}`.
pub(crate) fn route_of<'a>(
    matched: Option<&'a MatchedPath>,
    response: &Response,
) -> Option<&'a str> {
    match response.extensions().get::<NoRoute>() {
        Some(NoRoute) => None,
        None => matched.map(MatchedPath::as_str),
    }
}

tokio::task_local! {
    /// The model whose rows the request of this task has run.
    static MODEL: OnceCell<Arc<str>>;
}

/// The connections and requests of a server.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Requests that are not yet answered.
    open: AtomicUsize,
    connections: AtomicUsize,
    account: Mutex<Account>,
}

/// What is counted; by names of ours and of operators, so that clients cannot make it grow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    /// By route and status.
    pub(crate) answered: BTreeMap<String, BTreeMap<u16, u64>>,
    /// By code.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// By model: seconds from the head of a request to that of its answer.
    pub(crate) durations: BTreeMap<Arc<str>, Histogram>,
}

impl Traffic {
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// A connection, for as long as what is given back lives.
    pub(crate) fn connected(&self) -> Open<'_> {
        Open::of(&self.connections)
    }

    /// A client was refused before it could ask for anything.
    pub(crate) fn refused(&self, code: &'static str) {
        *self.lock().refused.entry(code).or_default() += 1;
    }

    pub(crate) fn account(&self) -> Account {
        self.lock().clone()
    }

    fn answered(&self, route: &str, response: &Response, model: Option<Arc<str>>, seconds: f64) {
        let mut account = self.lock();
        let status = response.status().as_u16();
        match account.answered.get_mut(route) {
            Some(statuses) => *statuses.entry(status).or_default() += 1,
            None => {
                let statuses = BTreeMap::from([(status, 1)]);
                account.answered.insert(route.to_owned(), statuses);
            }
        }
        if let Some(Reason(code)) = response.extensions().get() {
            *account.refused.entry(code).or_default() += 1;
        }
        if let Some(model) = model {
            let durations = account.durations.entry(model);
            let durations = durations.or_insert_with(|| Histogram::new(SECONDS));
            durations.observe(seconds);
        }
    }

    /// Only numbers are changed while it is held.
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, or a request that is being answered or whose client hangs up meanwhile.
pub(crate) struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts each request when it is answered.
pub(crate) async fn count(
    State(served): State<Arc<Served>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let traffic = &served.traffic;
    let _open = Open::of(&traffic.open);
    let begun = Instant::now();
    let answer = async {
        let response = next.run(request).await;
        let model = MODEL.with(|model| model.get().cloned());
        (response, model)
    };
    let (response, model) = MODEL.scope(OnceCell::new(), answer).await;
    let route = route_of(route.as_ref(), &response).unwrap_or(UNKNOWN);
    traffic.answered(route, &response, model, begun.elapsed().as_secs_f64());
    response
}

/// Says that the request of this task runs rows of a model.
pub(crate) fn is_for(model: &Arc<str>) {
    // The first one counts, and there is nothing to count outside of a request.
    let _ = MODEL.try_with(|known| known.set(Arc::clone(model)));
}

/// The protocol that a route belongs to, as `docs/protocols.md` names it.
pub(crate) fn protocol(route: &str) -> &'static str {
    let first = route.split('/').nth(1).unwrap_or_default();
    match first {
        _ if route == UNKNOWN => UNKNOWN,
        "v1" => "openai",
        "v2" => "kserve",
        "tei" => "tei",
        "invocations" | "ping" => "sagemaker",
        "{core}" => "fastapi",
        "admin" | "ui" => "management",
        "" | "docs" | "health" | "metrics" | "openapi.json" if route != "/health" => "native",
        "predict" if route != "/predict" => "native",
        _ => "tei",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_belong_to_protocols() {
        for (route, of) in [
            ("/", "native"),
            ("/predict/{model}", "native"),
            ("/health/ready", "native"),
            ("/docs/page.js", "native"),
            ("/predict", "tei"),
            ("/health", "tei"),
            ("/embed", "tei"),
            ("/tei/{model}/embed", "tei"),
            ("/v2", "kserve"),
            ("/v1/models/{model}", "openai"),
            ("/ping", "sagemaker"),
            ("/{core}/{model}", "fastapi"),
            ("/admin/status", "management"),
            (UNKNOWN, "unknown"),
        ] {
            assert_eq!(protocol(route), of, "{route}");
        }
    }
}
