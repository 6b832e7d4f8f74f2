//! HTTP: the routes, one file per protocol, and what all answers have in common.

mod access;
mod access_log;
mod admin;
pub(super) mod answer;
pub(super) mod body;
mod connections;
mod fastapi;
mod form;
mod health;
mod kserve;
mod listener_options;
mod metrics;
mod openai;
mod openapi;
mod predict;
mod reloaded;
mod request_id;
mod tei;
mod tls;
pub(super) mod traces;
mod ui;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state, map_response_with_state};
use axum::response::Response;
use axum::routing::{any, get, post};
use futures::future::{try_join, try_join_all};
use tokio::sync::watch;

use crate::runtime::simulated::SIMULATED;
use crate::serve::http::access::{Access, Reach, Role};
use crate::serve::http::answer::{Code, Refusal};
use crate::serve::http::connections::{Accepting, Connections};
use crate::serve::request::context;
use crate::serve::request::traffic::{self, NoRoute};
use crate::serve::{Door, Entrance, Listener, Served, Stop};

pub use access::{Keys, check_key_name};
pub use admin::status;
pub(super) use connections::places;
pub use listener_options::Gate;
pub use openapi::document as openapi;
pub use tls::Tls;
pub use traces::Traces;

/// There where the answer is not that of the model.
const RUNTIME_HEADER: HeaderName = HeaderName::from_static("x-neuronc-runtime");

/// How long what is refused at the end of the drain may take to be sent.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// For clients that took a wrong turn.
const ROUTES: &str = "`GET /openapi.json` lists the routes";

/// Answers requests on all `listeners` until `stop` says otherwise and those that were accepted are answered.
/// The ports for management close last.
pub(super) async fn serve(
    served: Arc<Served>,
    gate: Arc<Gate>,
    listeners: Vec<Listener>,
    stop: watch::Receiver<Stop>,
) -> Result<()> {
    let (stopping, stopped) = watch::channel(false);
    let _following = Arc::clone(&gate).follow_files()?;
    let connections = Connections::new(Arc::clone(&served), Arc::clone(&gate));
    let accepting = Accepting::new(connections, stopped);
    let (answered, ended) = watch::channel(false);
    let managing = accepting.managing(ended);
    let (mut servers, mut managers) = (Vec::new(), Vec::new());
    for Listener { socket, door } in listeners {
        let entrance = Entrance {
            served: Arc::clone(&served),
            door,
        };
        // Whoever reaches the port for management is an operator, unless there are keys.
        let role = match door {
            Door::Management => Role::Admin,
            Door::All | Door::Worker(_) => Role::Predict,
        };
        let access = Access::new(Arc::clone(&gate), role);
        let mut routes = routes(entrance);
        if door == Door::Management {
            let address = socket.local_addr().context("asking for the own address")?;
            let is_loopback = address.ip().is_loopback();
            let reach = Reach { is_loopback };
            routes = routes.layer(from_fn_with_state(reach, access::own_site));
        }
        let counted = from_fn_with_state(Arc::clone(&served), traffic::count);
        let simulated = map_response_with_state(Arc::clone(&served), say_simulated);
        let app = guarded(routes, access, &gate)
            .layer(simulated)
            .layer(counted);
        match door {
            Door::Management => managers.push(managing.clone().run(socket, app)),
            Door::All | Door::Worker(_) => servers.push(accepting.clone().run(socket, app)),
        }
    }
    let answering = async move {
        try_join_all(servers).await?;
        // The ports for management may have failed.
        let _ = answered.send(true);
        Ok(())
    };
    tokio::select! {
        result = try_join(answering, try_join_all(managers)) => result.map(drop),
        () = stop_in_time(&served, stop, stopping) => Ok(()),
    }
}

/// Has the server stop when it is told to, and is done when what was accepted has had its time.
async fn stop_in_time(
    served: &Served,
    mut stop: watch::Receiver<Stop>,
    stopping: watch::Sender<bool>,
) {
    let (notice, drain) = (served.limits.notice, served.limits.drain);
    told(&mut stop, Stop::WithNotice).await;
    served.stopping.store(true, Ordering::Relaxed);
    tracing::info!("stopping: accepted requests are answered first; another Ctrl-C refuses them");
    tokio::select! {
        () = tokio::time::sleep(notice) => {}
        () = told(&mut stop, Stop::WithoutNotice) => {}
    }
    // The servers may already have failed.
    let _ = stopping.send(true);
    tokio::select! {
        () = tokio::time::sleep(drain) => {
            tracing::warn!(?drain, "requests were still open when the drain ended");
        }
        () = told(&mut stop, Stop::WithoutDrain) => {
            tracing::warn!("requests were still open when the drain was cut short");
        }
    }
    served.given_up.send_replace(true);
    tokio::time::sleep(LAST_ANSWERS).await;
}

/// Done when the server is told to stop at least so soon.
async fn told(stop: &mut watch::Receiver<Stop>, how: Stop) {
    if stop.wait_for(|stop| *stop >= how).await.is_err() {
        // Nobody can tell any more.
        std::future::pending::<()>().await;
    }
}

fn routes(entrance: Entrance) -> Router {
    let admin = match entrance.door {
        Door::Management => admin::routes()
            .layer(from_fn(access::require_admin))
            .merge(ui::routes()),
        Door::All | Door::Worker(_) => Router::new(),
    };
    admin
        .route("/", get(fastapi::health).post(predict::root))
        .route("/predict/{model}", post(predict::predict))
        .route("/invocations", post(predict::invocations))
        .route("/ping", get(predict::ping))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{model}", get(openai::model))
        .route("/openapi.json", get(openapi::serve))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::serve))
        .route("/{core}/{model}", any(fastapi::predictions))
        .merge(ui::of_routes())
        .merge(tei::routes(""))
        .merge(tei::routes("/tei/{model}"))
        .merge(kserve::routes())
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(entrance.clone(), context::of_request))
        .with_state(entrance)
}

/// `routes` behind the checks of who asks, in the log, and traced if that is asked for.
fn guarded(routes: Router, access: Access, gate: &Arc<Gate>) -> Router {
    let observed = from_fn_with_state(Arc::clone(gate), access_log::observed);
    let routes = routes
        .layer(from_fn_with_state(access, access::checked))
        .layer(observed);
    match &gate.traces {
        Some(traces) => routes.layer(from_fn_with_state(Arc::clone(traces), traces::traced)),
        None => routes,
    }
}

/// Every answer of a server that computes nothing says so, whatever its protocol.
async fn say_simulated(State(served): State<Arc<Served>>, mut response: Response) -> Response {
    if served.is_simulated() {
        let value = HeaderValue::from_static(SIMULATED);
        response.headers_mut().insert(RUNTIME_HEADER, value);
    }
    response
}

async fn unknown_route(uri: Uri) -> Response {
    let path = uri.path();
    let refusal = Refusal::new(Code::UnknownRoute, format!("there is no route `{path}`"));
    let mut response = form::refuse(path, refusal.help(ROUTES));
    response.extensions_mut().insert(NoRoute);
    response
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let message = format!("`{path}` does not take the method {method}");
    let refusal = Refusal::new(Code::WrongMethod, message);
    form::refuse(path, refusal.help(ROUTES))
}
