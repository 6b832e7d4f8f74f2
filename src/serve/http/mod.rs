//! HTTP: the protocols, one file or folder each, and what lies between a socket and their routes.
//!
//! A protocol is one value of `protocol`, which has its routes and what the OpenAPI document says of them;
//! [`PROTOCOLS`] lists them all. `connections` carries requests from a socket to the routes. On the way,
//! `access` checks who asks, and `traffic`, `access_log` and `traces` note how it was answered. `context` gives
//! a request its deadline, `body` reads its body, `json` parses it and writes its answer, and `error` is the
//! form of refusals.

mod access;
mod access_log;
mod body;
mod connections;
mod context;
mod error;
mod fastapi;
mod health;
mod json;
mod kserve;
mod listener_options;
mod management;
mod metrics;
mod native;
mod openai;
mod openapi;
mod protocol;
mod reloaded;
mod request_id;
mod sagemaker;
mod tei;
mod tls;
mod traces;
mod traffic;
mod ui;
mod unrouted;

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::middleware::{from_fn_with_state, map_response_with_state};
use axum::response::Response;
use futures::future::{try_join, try_join_all};
use serde_json::Value;
use tokio::sync::watch;

use crate::runtime::simulated::SIMULATED;
use crate::serve::http::access::Access;
use crate::serve::http::access::keys::CallerRole;
use crate::serve::http::access::site::{self, ListenerReach};
use crate::serve::http::access_log::AccessLog;
use crate::serve::http::connections::accepting::Accepting;
use crate::serve::http::connections::serving::Connections;
use crate::serve::http::openapi::Described;
use crate::serve::http::protocol::{Protocols, RouteAccess};
use crate::serve::listener::{Listener, ListenerRole};
use crate::serve::request::frontend::Frontend;
use crate::serve::request::view::ServerView;
use crate::serve::shutdown::{Shutdown, shut_down};

pub use access::keys::{Keys, check_key_name};
pub use connections::places::places;
pub use listener_options::ListenerOptions;
pub use management::status;
pub use tls::Tls;
pub use traces::Traces;

/// All protocols, in the order of the OpenAPI document.
static PROTOCOLS: LazyLock<Protocols> = LazyLock::new(|| {
    const ALL: &[&protocol::Protocol] = &[
        &native::PROTOCOL,
        &openai::PROTOCOL,
        &tei::PROTOCOL,
        &kserve::PROTOCOL,
        &sagemaker::PROTOCOL,
        &fastapi::PROTOCOL,
        &management::PROTOCOL,
    ];
    Protocols::new(ALL, &native::PROTOCOL)
});

/// In every answer that a simulated device gave: it is not that of the model.
const RUNTIME_HEADER: HeaderName = HeaderName::from_static("x-neuronc-runtime");

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

/// The routes of a listener at this address, with everything that a request passes before and after them: it is
/// counted first, then traced, logged, and checked.
fn app(view: ServerView, options: &Arc<ListenerOptions>, address: SocketAddr) -> Router {
    let protocols: &'static Protocols = &PROTOCOLS;
    let (frontend, role) = (Arc::clone(&view.frontend), view.role);
    let mut app = routes(view);
    if role == ListenerRole::Management {
        let is_loopback = address.ip().is_loopback();
        let reach = ListenerReach { is_loopback };
        app = app.layer(from_fn_with_state((reach, protocols), site::own_site));
    }
    let access = Access {
        options: Arc::clone(options),
        // Whoever reaches the port for management is an operator, unless there are keys.
        keyless: match role {
            ListenerRole::Management => CallerRole::Admin,
            ListenerRole::All | ListenerRole::Worker(_) => CallerRole::Predict,
        },
        protocols,
    };
    let log = AccessLog {
        protocols,
        log_requests: options.log_requests,
    };
    app = app
        .layer(from_fn_with_state(access, access::checked))
        .layer(from_fn_with_state(log, access_log::observed));
    if let Some(traces) = &options.traces {
        let state = (Arc::clone(traces), protocols);
        app = app.layer(from_fn_with_state(state, traces::traced));
    }
    let simulated = map_response_with_state(Arc::clone(&frontend), say_simulated);
    app.layer(simulated)
        .layer(from_fn_with_state(frontend, traffic::count))
}

/// The routes of all protocols that are spoken on a port.
fn routes(view: ServerView) -> Router {
    let protocols: &'static Protocols = &PROTOCOLS;
    let mut router = Router::new();
    for (path, mut handler, route) in protocols.routes(view.role) {
        if route.access == RouteAccess::Admin {
            handler = handler.layer(from_fn_with_state(protocols, access::require_admin));
        }
        router = router.route(&path, handler);
    }
    let unknown = async |uri: Uri| unrouted::unknown_route(protocols, &uri);
    let wrong = async |method: Method, uri: Uri| unrouted::wrong_method(protocols, &method, &uri);
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong)
        .layer(from_fn_with_state(view.clone(), context::of_request))
        .with_state(view)
}

/// Marks every answer of a server that computes nothing, whatever its protocol.
async fn say_simulated(State(frontend): State<Arc<Frontend>>, mut response: Response) -> Response {
    if frontend.served.is_simulated() {
        let value = HeaderValue::from_static(SIMULATED);
        response.headers_mut().insert(RUNTIME_HEADER, value);
    }
    response
}

/// The OpenAPI document of a server of models and aliases of these names, of any server where there are none,
/// as it is seen through a port. With `keys`, nothing but the health of the server is answered without.
pub fn openapi(names: &[&str], role: ListenerRole, keys: bool) -> Value {
    let server = Described {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        role,
        has_keys: keys,
    };
    openapi::document(&PROTOCOLS, &server)
}

#[cfg(test)]
mod tests;
