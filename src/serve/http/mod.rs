//! HTTP: the routes, one file per protocol, and what all answers have in common.

mod access;
mod access_log;
mod admin;
mod body;
mod connections;
mod context;
mod error;
mod fastapi;
mod form;
mod health;
mod json;
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
mod traces;
mod traffic;
mod ui;

use std::net::SocketAddr;
use std::sync::Arc;

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
use crate::serve::http::connections::{Accepting, Connections};
use crate::serve::http::traffic::NoRoute;
use crate::serve::listener::{Listener, ListenerRole};
use crate::serve::request::frontend::Frontend;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::view::ServerView;
use crate::serve::shutdown::{Shutdown, shut_down};

pub use access::{Keys, check_key_name};
pub use admin::status;
pub use connections::places;
pub use listener_options::ListenerOptions;
pub use openapi::document as openapi;
pub use tls::Tls;
pub use traces::Traces;

/// There where the answer is not that of the model.
const RUNTIME_HEADER: HeaderName = HeaderName::from_static("x-neuronc-runtime");

/// For clients that took a wrong turn.
const ROUTES: &str = "`GET /openapi.json` lists the routes";

/// Answers requests on all `listeners` until `shutdown` says otherwise and those that were accepted are
/// answered. The ports for management close last.
pub(super) async fn serve(
    frontend: Arc<Frontend>,
    options: Arc<ListenerOptions>,
    listeners: Vec<Listener>,
    shutdown: watch::Receiver<Shutdown>,
) -> Result<()> {
    let (stopping, stopped) = watch::channel(false);
    let _following = Arc::clone(&options).follow_files()?;
    let connections = Connections::new(Arc::clone(&frontend), Arc::clone(&options));
    let accepting = Accepting::new(connections, stopped);
    let (answered, ended) = watch::channel(false);
    let managing = accepting.managing(ended);
    let (mut servers, mut managers) = (Vec::new(), Vec::new());
    for Listener { socket, role } in listeners {
        let address = socket.local_addr().context("asking for the own address")?;
        let view = ServerView {
            frontend: Arc::clone(&frontend),
            role,
        };
        let app = app(view, &options, address);
        match role {
            ListenerRole::Management => managers.push(managing.clone().run(socket, app)),
            ListenerRole::All | ListenerRole::Worker(_) => {
                servers.push(accepting.clone().run(socket, app));
            }
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
        () = shut_down(&frontend.served, shutdown, stopping) => Ok(()),
    }
}

/// Everything that a listener at this address answers.
fn app(view: ServerView, options: &Arc<ListenerOptions>, address: SocketAddr) -> Router {
    let (frontend, role) = (Arc::clone(&view.frontend), view.role);
    // Whoever reaches the port for management is an operator, unless there are keys.
    let keyless = match role {
        ListenerRole::Management => Role::Admin,
        ListenerRole::All | ListenerRole::Worker(_) => Role::Predict,
    };
    let mut routes = routes(view);
    if role == ListenerRole::Management {
        let is_loopback = address.ip().is_loopback();
        let reach = Reach { is_loopback };
        routes = routes.layer(from_fn_with_state(reach, access::own_site));
    }
    let access = Access::new(Arc::clone(options), keyless);
    let counted = from_fn_with_state(Arc::clone(&frontend), traffic::count);
    let simulated = map_response_with_state(frontend, say_simulated);
    guarded(routes, access, options)
        .layer(simulated)
        .layer(counted)
}

fn routes(view: ServerView) -> Router {
    let admin = match view.role {
        ListenerRole::Management => admin::routes()
            .layer(from_fn(access::require_admin))
            .merge(ui::routes()),
        ListenerRole::All | ListenerRole::Worker(_) => Router::new(),
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
        .layer(from_fn_with_state(view.clone(), context::of_request))
        .with_state(view)
}

/// `routes` behind the checks of who asks, in the log, and traced if that is asked for.
fn guarded(routes: Router, access: Access, options: &Arc<ListenerOptions>) -> Router {
    let observed = from_fn_with_state(Arc::clone(options), access_log::observed);
    let routes = routes
        .layer(from_fn_with_state(access, access::checked))
        .layer(observed);
    match &options.traces {
        Some(traces) => routes.layer(from_fn_with_state(Arc::clone(traces), traces::traced)),
        None => routes,
    }
}

/// Every answer of a server that computes nothing says so, whatever its protocol.
async fn say_simulated(State(frontend): State<Arc<Frontend>>, mut response: Response) -> Response {
    if frontend.served.is_simulated() {
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
