//! Version 2 of the Open Inference Protocol: what `tests/clients` does not show of it.

use serde_json::{Value, json};

use crate::serve::client::Response;
use crate::serve::server::shared;

fn infer(model: &'static str, body: Value) -> Response {
    shared(model).post(&format!("/v2/models/{model}/infer"), &body)
}

fn ints(name: &str, shape: [usize; 2], data: &[i64]) -> Value {
    json!({"name": name, "datatype": "INT64", "shape": shape, "data": data})
}

fn text(values: &[&str]) -> Value {
    json!({"name": "text", "datatype": "BYTES", "shape": [values.len()], "data": values})
}

/// The ids of a text, with a mask of ones.
fn row(model: &'static str, body: &str) -> Vec<i64> {
    let tokens = shared(model)
        .post("/tokenize", &json!({"inputs": body}))
        .json();
    let tokens = tokens[0].as_array().unwrap().iter();
    tokens.map(|token| token["id"].as_i64().unwrap()).collect()
}

/// The outputs of a row of ids, filled up with two places of padding.
fn outputs_of_row(model: &'static str, body: &str) -> (Value, usize) {
    let mut ids = row(model, body);
    let length = ids.len();
    let mut mask = vec![1; length];
    for values in [&mut ids, &mut mask] {
        values.extend([0, 0]);
    }
    let shape = [1, length + 2];
    let response = infer(
        model,
        json!({"inputs": [ints("input_ids", shape, &ids), ints("attention_mask", shape, &mask)]}),
    );
    assert_eq!(response.status, 200, "{response:?}");
    (response.json()["outputs"].take(), length)
}

fn floats(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn a_graph_gives_what_its_head_computes() {
    let (outputs, _) = outputs_of_row("text-classification", "the cat");
    assert_eq!(
        (&outputs[0]["name"], &outputs[0]["shape"]),
        (&json!("logits"), &json!([1, 3]))
    );
    let raw = json!({"inputs": "the cat", "raw_scores": true});
    let labels = shared("text-classification").post("/predict", &raw).json();
    let best = floats(&outputs[0]["data"])
        .into_iter()
        .fold(f64::MIN, f64::max);
    assert!((best - labels[0]["score"].as_f64().unwrap()).abs() < 1e-5);

    let (outputs, length) = outputs_of_row("token-classification", "the cat");
    let labels = outputs[0]["shape"][2].as_u64().unwrap();
    let data = floats(&outputs[0]["data"]);
    let real = length * usize::try_from(labels).unwrap();
    assert_eq!(outputs[0]["shape"], json!([1, length + 2, labels]));
    assert!(data[..real].iter().all(|value| *value != 0.0));
    assert!(data[real..].iter().all(|value| *value == 0.0));

    let (outputs, length) = outputs_of_row("question-answering", "what is red");
    let names = [0, 1].map(|index: usize| outputs[index]["name"].as_str().unwrap());
    assert_eq!(names, ["start_logits", "end_logits"]);
    assert_eq!(outputs[1]["shape"], json!([1, length + 2]));

    let (outputs, length) = outputs_of_row("feature-extraction-plain", "the cat");
    assert_eq!(
        (&outputs[1]["name"], &outputs[1]["data"]),
        (&json!("lengths"), &json!([length]))
    );
    let native = shared("feature-extraction-plain").answer(&json!("the cat"));
    let native: Vec<f64> = native.as_array().unwrap().iter().flat_map(floats).collect();
    let raw = floats(&outputs[0]["data"]);
    assert_eq!(raw.len(), native.len());
    assert!(raw.iter().zip(&native).all(|(a, b)| (a - b).abs() < 1e-5));

    let (outputs, _) = outputs_of_row("fill-mask", "the [MASK]");
    let vocabulary = outputs[0]["shape"][1].as_u64().unwrap();
    assert!(vocabulary > 100, "{vocabulary}");
}

#[test]
fn texts_are_answered_as_the_task_does() {
    let response = infer(
        "feature-extraction",
        json!({"id": "a", "inputs": [text(&["the cat", "the river"])]}),
    );
    let answer = response.json();
    assert_eq!(
        (&answer["id"], &answer["model_version"]),
        (&json!("a"), &json!("1"))
    );
    assert_eq!(answer["outputs"][0]["shape"], json!([2, 32]));
    let native = shared("feature-extraction").answer(&json!(["the cat", "the river"]));
    let native: Vec<f64> = native.as_array().unwrap().iter().flat_map(floats).collect();
    assert_eq!(floats(&answer["outputs"][0]["data"]), native);

    let pair =
        json!({"name": "text_pair", "datatype": "BYTES", "shape": [1, 1], "data": [["the river"]]});
    let body = json!({"inputs": [text(&["the cat"]), pair], "parameters": {"top_k": 1}});
    let outputs = infer("text-classification", body).json()["outputs"].take();
    let native = json!({"inputs": {"text": "the cat", "text_pair": "the river"}});
    let native = shared("text-classification").predict(&native).json();
    assert_eq!(outputs[0]["data"][0], native[0][0]["label"]);
    assert_eq!(outputs[1]["data"][0], native[0][0]["score"]);

    let body = json!({"inputs": [text(&["the cat"])]});
    let entities = infer("token-classification", body).json()["outputs"][0].take();
    let entities: Value = serde_json::from_str(entities["data"][0].as_str().unwrap()).unwrap();
    assert_eq!(
        entities,
        shared("token-classification").answer(&json!("the cat"))
    );
}

#[test]
fn binary_tensors_must_be_within_the_body() {
    let server = shared("feature-extraction");
    let send = |length: &str, body: &[u8]| {
        let mut client = server.client();
        let head = format!(
            "POST /v2/models/feature-extraction/infer HTTP/1.1\r\nhost: t\r\n\
             inference-header-content-length: {length}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write(&[head.as_bytes(), body].concat()).unwrap();
        client.read().unwrap()
    };
    let json = json!({
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 7}}],
        "outputs": [{"name": "embedding", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let length = json.len().to_string();
    let with = |bytes: &[u8]| [json.as_bytes(), bytes].concat();
    let good = send(&length, &with(b"\x03\0\0\0cat"));
    assert_eq!(good.status, 200, "{good:?}");
    let size: usize = good.headers["inference-header-content-length"]
        .parse()
        .unwrap();
    assert_eq!(good.headers["content-type"], "application/octet-stream");
    assert_eq!(good.body.len() - size, 4 * 32);
    let head: Value = serde_json::from_slice(&good.body[..size]).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 128);

    for (length, bytes, part) in [
        ("x", &b""[..], "not a length within the body"),
        ("99999", b"", "not a length within the body"),
        (&length, b"\x03\0\0\0ca", "beyond the end"),
        (
            &length,
            b"\x03\0\0\0catmore",
            "4 bytes after the JSON belong to no tensor",
        ),
        (&length, b"\x09\0\0\0cat", "UTF-8"),
    ] {
        let bad = send(length, &with(bytes));
        assert_eq!(bad.status, 400, "{bad:?}");
        assert!(
            bad.json()["error"].as_str().unwrap().contains(part),
            "{bad:?}"
        );
    }
}

#[test]
fn health_versions_and_repository() {
    let server = shared("feature-extraction");
    let status = |path: &str| server.get(path).status;
    for path in [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/feature-extraction/ready",
    ] {
        assert_eq!(status(path), 200, "{path}");
    }
    assert_eq!(
        status("/v2/models/feature-extraction/versions/1/ready"),
        200
    );
    assert_eq!(
        status("/v2/models/feature-extraction/versions/2/ready"),
        404
    );
    assert_eq!(status("/v2/models/nobody"), 404);
    let index = server
        .client()
        .send("POST", "/v2/repository/index", b"")
        .unwrap()
        .json();
    assert_eq!(
        index,
        json!([{"name": "feature-extraction", "version": "1", "state": "READY", "reason": ""}])
    );
    let post = |path: &str| server.post(path, &json!({}));
    let model = "/v2/repository/models/feature-extraction";
    assert_eq!(post(&format!("{model}/load")).status, 200);
    assert_eq!(post(&format!("{model}/unload")).status, 400);
    assert_eq!(post("/v2/repository/models/nobody/load").status, 404);
    let stats = server.get("/v2/models/stats").json();
    assert_eq!(stats["model_stats"][0]["name"], "feature-extraction");
}
