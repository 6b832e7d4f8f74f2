//! Liveness and readiness.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::runtime::simulated::SIMULATED;
use crate::serve::core::worker::WorkerState;
use crate::serve::http::management::status::words;
use crate::serve::request::view::ServerView;

/// 200 while the process answers at all.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// 200 when a request would be answered, 503 otherwise, with the state of every core.
pub(super) async fn ready(State(view): State<ServerView>) -> (StatusCode, Json<Value>) {
    let cores = view.workers().iter().map(|core| {
        let status = core.status();
        let names = status.wanted.iter().map(|model| json!(&*model.name));
        let failed = status.wanted.iter().filter_map(|model| {
            let failure = status.failed.get(&model.id)?;
            Some((model.name.to_string(), json!(failure.why)))
        });
        let failed: Map<String, Value> = failed.collect();
        let mut value = describe(&status.state);
        value["core"] = json!(&*core.name);
        value["models"] = names.collect();
        if !failed.is_empty() {
            value["failed"] = Value::Object(failed);
        }
        value
    });
    let cores: Vec<Value> = cores.collect();
    let models = view.models();
    let models: Vec<&str> = models.iter().map(|model| &*model.name).collect();
    let (status, word) = match view.is_ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let mut body = json!({"status": word, "models": models, "cores": cores});
    if view.served().is_simulated() {
        body["runtime"] = json!(SIMULATED);
    }
    (status, Json(body))
}

fn describe(state: &WorkerState) -> Value {
    let (word, pid, cause) = words(state);
    let mut value = json!({"state": word});
    if let Some(pid) = pid {
        value["pid"] = json!(pid);
    }
    if let Some(cause) = cause {
        value["cause"] = json!(cause);
    }
    value
}
