//! Liveness and readiness.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::runtime::simulated::SIMULATED;
use crate::serve::Entrance;
use crate::serve::supervisor::CoreState;

/// 200 while the process answers at all.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// 200 when a request would be answered, 503 otherwise, with the state of every core.
pub(super) async fn ready(State(entrance): State<Entrance>) -> (StatusCode, Json<Value>) {
    let name = |model: usize| &entrance.served.models[model].name;
    let cores = entrance.cores().iter().map(|core| {
        let mut value = describe(&core.state());
        value["core"] = json!(core.name());
        value["models"] = core
            .models()
            .iter()
            .map(|model| json!(name(*model)))
            .collect();
        value
    });
    let cores: Vec<Value> = cores.collect();
    let models: Vec<&String> = entrance.models().map(name).collect();
    let (status, word) = match entrance.is_ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let mut body = json!({"status": word, "models": models, "cores": cores});
    if entrance.served.is_simulated {
        body["runtime"] = json!(SIMULATED);
    }
    (status, Json(body))
}

fn describe(state: &CoreState) -> Value {
    match state {
        CoreState::Starting => json!({"state": "starting"}),
        CoreState::Ready { process_id: None } => json!({"state": "ready"}),
        CoreState::Ready {
            process_id: Some(pid),
        } => json!({"state": "ready", "pid": pid}),
        CoreState::Down { cause } => json!({"state": "down", "cause": cause}),
        CoreState::Closed => json!({"state": "closed"}),
    }
}
