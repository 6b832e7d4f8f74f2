//! Served answers are those of transformers, from the smallest bucket that fits.

use std::fs;

use serde_json::{Value, json};

use crate::serve::server::{Server, serve, shared};
use crate::serve::texts;
use crate::support::fixture;

/// How far a number may be from the recorded one.
const TOLERANCE: f64 = 1e-4;

/// One fixture for each task, and one that does not pool.
const FIXTURES: [&str; 5] = [
    "feature-extraction-plain",
    "question-answering",
    "text-classification",
    "token-classification",
    "fill-mask",
];

#[test]
fn every_task_answers_as_transformers_does() {
    for name in FIXTURES {
        let server = shared(name);
        let recorded = expected(name)["pipeline"].take();
        let recorded = recorded.as_array().unwrap();
        assert!(!recorded.is_empty(), "{name}: nothing is recorded");
        for request in recorded {
            let body = json!({"inputs": request["inputs"], "parameters": request["parameters"]});
            let response = server.predict(&body);
            assert_eq!(response.status, 200, "{body}: {response:?}");
            check_close(
                &response.json(),
                &in_our_form(name, &request["outputs"]),
                &body,
            );
        }
    }
}

#[test]
fn vectors_are_those_of_the_model() {
    let name = "feature-extraction";
    let server = shared(name);
    for case in expected(name)["cases"].as_array().unwrap() {
        let texts: Vec<&Value> = case["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row["text"])
            .collect();
        let output = &case["output"];
        let size = usize::try_from(output["shape"][1].as_u64().unwrap()).unwrap();
        let vectors: Vec<&[Value]> = output["values"].as_array().unwrap().chunks(size).collect();
        let answer = server.answer(&json!(texts));
        check_close(&answer, &json!(vectors), &json!(texts));
    }
}

#[test]
fn requests_of_one_connection_are_answered_in_their_order() {
    let server = shared("feature-extraction");
    let texts = texts(4);
    let mut client = server.client();
    // All are sent before any is answered.
    for text in &texts {
        let body = json!({"inputs": text}).to_string();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n",
            server.path(),
            body.len()
        );
        client.write(&[head, body].concat().into_bytes()).unwrap();
    }
    for text in &texts {
        check_close(
            &client.read().unwrap().json(),
            &server.answer(&json!(text)),
            &json!(text),
        );
    }
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn the_smallest_bucket_that_fits_is_run() {
    // Its stored tokenizer would make 16 tokens of any text. Texts of other tests would share batches.
    let server = serve("feature-extraction", 1);
    let buckets = |inputs: &Value| buckets(&server, inputs);
    assert_eq!(buckets(&json!("the cat sat on it")), "1x12");
    assert_eq!(buckets(&json!("the cat ".repeat(10))), "1x32");
    assert_eq!(buckets(&json!("the cat ".repeat(20))), "1x48");
    assert_eq!(buckets(&json!(["the cat", "the river"])), "2x12");
    assert_eq!(
        buckets(&json!(["the cat", "the cat ".repeat(10)])),
        "1x12, 1x32"
    );
}

/// The buckets in which `inputs` ran.
pub(super) fn buckets(server: &Server, inputs: &Value) -> String {
    let response = server.predict(&json!({"inputs": inputs}));
    response.headers["x-neuronc-buckets"].clone()
}

/// Fails unless `ours` is `expected`: numbers up to [`TOLERANCE`], everything else exactly.
#[track_caller]
pub(super) fn check_close(ours: &Value, expected: &Value, request: &Value) {
    if let Some(difference) = difference("", ours, expected) {
        panic!("{request}: {difference}");
    }
}

fn difference(path: &str, ours: &Value, expected: &Value) -> Option<String> {
    match (ours, expected) {
        (Value::Array(ours), Value::Array(expected)) if ours.len() == expected.len() => {
            let mut pairs = ours.iter().zip(expected).enumerate();
            pairs.find_map(|(at, (ours, expected))| {
                difference(&format!("{path}[{at}]"), ours, expected)
            })
        }
        (Value::Object(ours), Value::Object(expected)) if ours.len() == expected.len() => {
            let mut fields = expected.iter();
            fields.find_map(|(name, expected)| {
                let ours = ours.get(name).unwrap_or(&Value::Null);
                difference(&format!("{path}.{name}"), ours, expected)
            })
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let distance = (a.as_f64()? - b.as_f64()?).abs();
            (distance > TOLERANCE).then(|| format!("{path} is {ours} and not {expected}"))
        }
        _ => (ours != expected).then(|| format!("{path} is {ours} and not {expected}")),
    }
}

/// What the inference API answers where the pipeline answers `recorded` to a single input.
fn in_our_form(fixture: &str, recorded: &Value) -> Value {
    match fixture {
        "text-classification" => json!([recorded]),
        "feature-extraction-plain" => recorded[0].clone(),
        _ => recorded.clone(),
    }
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture(name).join("expected.json")).unwrap()).unwrap()
}
