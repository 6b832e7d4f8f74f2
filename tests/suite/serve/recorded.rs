//! Every protocol answers the requests of `recorded.jsonl` as it did when that was written: the same
//! status, the same header fields, the same JSON, numbers within a tolerance.
//!
//! A line is a request (method, path, body) and its answer. With `NEURONC_BLESS=1` the answers are written
//! anew, which is right only where a change is meant.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::serve::client::Response;
use crate::serve::server::{Running, Server, shapes};
use crate::support::{Workplace, fixture, repository};

/// Numbers are equal up to this, relative to the larger one where that is above 1: processors differ.
const TOLERANCE: f64 = 1e-4;

/// One for each form of an output.
const MODELS: [&str; 7] = [
    "feature-extraction",
    "feature-extraction-cls",
    "feature-extraction-plain",
    "question-answering",
    "text-classification",
    "token-classification",
    "fill-mask",
];

/// The headers that say something of the answer.
const HEADERS: [&str; 6] = [
    "allow",
    "content-type",
    "x-neuronc-buckets",
    "x-neuronc-cores",
    "x-neuronc-model",
    "www-authenticate",
];

/// Fields whose values depend on the run or on the machine.
const VARYING: [&str; 6] = [
    "created",
    "max_concurrent_requests",
    "pid",
    "sha",
    "tokenization_workers",
    "version",
];

fn golden() -> PathBuf {
    repository().join("tests/suite/serve/recorded.jsonl")
}

/// A server of all [`MODELS`] on one worker.
fn serve_all() -> Running {
    let place = Workplace::new();
    let mut args = Vec::new();
    for model in MODELS {
        let bundle = place.traced(&fixture(model), model, &shapes(model));
        args.push(bundle.display().to_string());
    }
    args.extend(["--cores", "1", "--models-per-core", "7"].map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let server = Server::start_with(&place, &args);
    server.wait_ready(1);
    Running { server, place }
}

fn recorded(response: &Response) -> Value {
    let headers = HEADERS.iter().filter_map(|name| {
        let value = response.headers.get(*name)?;
        Some(((*name).to_owned(), json!(value)))
    });
    let body = serde_json::from_slice(&response.body)
        .unwrap_or_else(|_| json!(String::from_utf8_lossy(&response.body)));
    json!({
        "status": response.status,
        "headers": headers.collect::<Map<_, _>>(),
        "body": without_varying(body),
    })
}

fn without_varying(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                if VARYING.contains(&name.as_str()) {
                    *value = json!("...");
                } else {
                    *value = without_varying(value.take());
                }
            }
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|value| *value = without_varying(value.take())),
        Value::Number(number) if number.is_f64() => {
            // As many digits as the comparison looks at.
            let rounded = (number.as_f64().unwrap() * 1e6).round() / 1e6;
            value = json!(rounded);
        }
        _ => {}
    }
    value
}

/// The first place at which two values differ.
fn difference(at: &str, found: &Value, expected: &Value) -> Option<String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            if keys(found) != keys(expected) {
                return Some(format!(
                    "{at}: keys {:?}, not {:?}",
                    keys(found),
                    keys(expected)
                ));
            }
            let mut pairs = found.iter().zip(expected.values());
            pairs.find_map(|((key, found), expected)| {
                difference(&format!("{at}/{key}"), found, expected)
            })
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            let mut pairs = found.iter().zip(expected).enumerate();
            pairs.find_map(|(index, (found, expected))| {
                difference(&format!("{at}/{index}"), found, expected)
            })
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (a, b) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            let close = (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0);
            (!close).then(|| format!("{at}: {a}, not {b}"))
        }
        _ => (found != expected).then(|| format!("{at}: {found}, not {expected}")),
    }
}

#[test]
fn every_protocol_answers_as_recorded() {
    let running = serve_all();
    let is_written = std::env::var_os("NEURONC_BLESS").is_some();
    let mut written = String::new();
    for line in fs::read_to_string(golden()).unwrap().lines() {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let request: (String, String, Value) =
            serde_json::from_value(record["request"].clone()).unwrap();
        let (method, path, body) = request;
        let sent = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let response = running.client().send(&method, &path, &sent).unwrap();
        let found = recorded(&response);
        if !is_written {
            let difference = difference("", &found, &record["answer"]);
            assert_eq!(difference, None, "{}", record["request"]);
        }
        record["answer"] = found;
        writeln!(written, "{record}").unwrap();
    }
    if is_written {
        fs::write(golden(), written).unwrap();
    }
}
