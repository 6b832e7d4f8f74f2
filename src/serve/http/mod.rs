//! HTTP: the routes, one file per protocol, and what all answers have in common.

mod answer;
mod health;
mod openai;
mod predict;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use tokio::sync::watch;

use crate::serve::Served;
use crate::serve::http::answer::{Code, Refusal};

/// For clients that took a wrong turn.
const ROUTES: &str =
    "routes: POST /predict/{model}, POST /v1/embeddings, GET /health/live, GET /health/ready";

/// Answers requests until `stop` is done and those that were accepted are answered.
pub(super) async fn serve(
    served: Arc<Served>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let listener =
        tokio::net::TcpListener::from_std(listener).context("handing over the listener")?;
    let drain = served.limits.drain;
    let (stopping, mut stopped) = watch::channel(false);
    let flag = Arc::clone(&served);
    let signal = async move {
        stop.await;
        flag.stopping.store(true, Ordering::Relaxed);
        tracing::info!("stopping: accepted requests are answered first");
        // The drain below may already have ended.
        let _ = stopping.send(true);
    };
    let server = axum::serve(listener, routes(served)).with_graceful_shutdown(signal);
    let bounded = async move {
        // An error means that the server itself has ended.
        if stopped.wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        result = server => result.context("serving"),
        () = bounded => {
            tracing::warn!(?drain, "requests were still open when the drain ended");
            Ok(())
        }
    }
}

fn routes(served: Arc<Served>) -> Router {
    Router::new()
        .route("/predict/{model}", post(predict::predict))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(served.limits.body_bytes))
        .with_state(served)
}

async fn unknown_route(uri: Uri) -> Refusal {
    Refusal::new(
        Code::UnknownRoute,
        format!("there is no route `{}`", uri.path()),
    )
    .help(ROUTES)
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(
        Code::WrongMethod,
        format!("`{}` does not take the method {method}", uri.path()),
    )
    .help(ROUTES)
}
