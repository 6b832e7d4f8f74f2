//! `POST /v1/embeddings`, as OpenAI's clients use it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::serve::client::Response;
use crate::serve::server::shared;

const PATH: &str = "/v1/embeddings";

/// The answer of the fixture's server to `fields` and the model's name.
fn ask(fields: Value) -> Response {
    let mut body = json!({"model": "feature-extraction"});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    shared("feature-extraction").post(PATH, &body)
}

fn vector(embedding: &Value) -> Vec<f32> {
    serde_json::from_value(embedding.clone()).unwrap()
}

#[test]
fn a_text_and_a_list_of_texts_are_embedded() {
    let one = ask(json!({"input": "the cat"})).json();
    let native = shared("feature-extraction").answer(&json!("the cat"));
    assert_eq!(one["object"], "list");
    assert_eq!(one["model"], "feature-extraction");
    assert_eq!(one["data"].as_array().unwrap().len(), 1);
    assert_eq!(one["data"][0]["object"], "embedding");
    assert_eq!(one["data"][0]["index"], 0);
    assert_eq!(one["data"][0]["embedding"], native);

    let many = ask(json!({"input": ["the river", "the cat"], "user": "someone"})).json();
    let close = |a: &Value, b: &Value| {
        vector(a)
            .iter()
            .zip(vector(b))
            .all(|(a, b)| (a - b).abs() < 1e-5)
    };
    assert_eq!(many["data"][1]["index"], 1);
    assert!(close(&many["data"][1]["embedding"], &native));
    assert!(!close(&many["data"][0]["embedding"], &native));
}

#[test]
fn usage_counts_the_tokens_of_all_texts() {
    let usage = |input: Value| ask(json!({"input": input})).json()["usage"].take();
    assert_eq!(
        usage(json!("the cat")),
        json!({"prompt_tokens": 4, "total_tokens": 4})
    );
    assert_eq!(
        usage(json!(["the cat", "the"])),
        json!({"prompt_tokens": 7, "total_tokens": 7})
    );
}

#[test]
fn base64_holds_the_same_floats() {
    let floats = ask(json!({"input": "the cat", "encoding_format": "float"})).json();
    let encoded = ask(json!({"input": "the cat", "encoding_format": "base64"})).json();
    let encoded = encoded["data"][0]["embedding"].as_str().unwrap();
    let bytes = STANDARD.decode(encoded).unwrap();
    let (chunks, rest) = bytes.as_chunks::<4>();
    let decoded: Vec<f32> = chunks
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    assert!(rest.is_empty());
    assert_eq!(decoded, vector(&floats["data"][0]["embedding"]));
}

#[test]
fn dimensions_keep_the_first_values_at_length_1() {
    let whole = vector(&ask(json!({"input": "the cat"})).json()["data"][0]["embedding"]);
    let short = ask(json!({"input": "the cat", "dimensions": 8})).json();
    let short = vector(&short["data"][0]["embedding"]);
    let length = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert_eq!(short.len(), 8);
    assert!((length(&short) - 1.0).abs() < 1e-6);
    let kept = length(&whole[..8]);
    for (short, whole) in short.iter().zip(&whole) {
        assert!((short - whole / kept).abs() < 1e-6);
    }
}

#[test]
fn ids_of_tokens_are_embedded_like_their_text() {
    let ids = |text: &str| {
        let body = json!({"inputs": text, "add_special_tokens": false});
        let tokens = shared("feature-extraction").post("/tokenize", &body).json();
        let tokens = tokens[0].as_array().unwrap().iter();
        tokens.map(|token| token["id"].clone()).collect::<Value>()
    };
    let text = ask(json!({"input": "the cat"})).json();
    let one = ask(json!({"input": ids("the cat")})).json();
    assert_eq!(one["data"], text["data"]);
    assert_eq!(one["usage"], text["usage"]);
    let many = ask(json!({"input": [ids("the cat"), ids("the river"), "the cat"]})).json();
    assert_eq!(many["data"].as_array().unwrap().len(), 3);
    for (input, part) in [
        (json!([[]]), "`input[0]` is an empty list"),
        (json!([9_999_999]), "not in the model's vocabulary"),
        (json!([-1]), "token ids"),
    ] {
        let refused = ask(json!({"input": input}));
        let message = refused.json()["error"]["message"].to_string();
        assert!(refused.status == 400 && message.contains(part), "{message}");
    }
}

#[test]
fn models_are_listed_and_found() {
    let server = shared("feature-extraction");
    let listed = server.get("/v1/models").json();
    assert_eq!(
        (&listed["object"], &listed["data"][0]["object"]),
        (&json!("list"), &json!("model"))
    );
    let one = server.get("/v1/models/feature-extraction").json();
    assert_eq!(listed["data"][0], one);
    let unknown = server.get("/v1/models/nobody");
    assert_eq!(
        (unknown.status, &unknown.json()["error"]["code"]),
        (404, &json!("unknown_model"))
    );
}
