//! Liveness and readiness.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::serve::Served;
use crate::serve::supervisor::CoreState;

/// 200 while the process answers at all.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// 200 when a request would be answered, 503 otherwise, with the state of every core.
pub(super) async fn ready(State(served): State<Arc<Served>>) -> (StatusCode, Json<Value>) {
    let cores: Vec<Value> = served
        .cores
        .iter()
        .map(|core| describe(&core.state()))
        .collect();
    let (status, word) = match served.is_ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (
        status,
        Json(json!({"status": word, "model": served.name, "cores": cores})),
    )
}

fn describe(state: &CoreState) -> Value {
    match state {
        CoreState::Starting => json!({"state": "starting"}),
        CoreState::Ready { process_id } => json!({"state": "ready", "pid": process_id}),
        CoreState::Down { cause } => json!({"state": "down", "cause": cause}),
        CoreState::Closed => json!({"state": "closed"}),
    }
}
