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

/// A request without its model, the status, code and parameter of its refusal, and a part of the
/// message.
const REFUSALS: [(&str, &str, &str); 15] = [
    (r#"{}"#, "400 missing_field input", "`input` is missing"),
    (
        r#"{"input": 7}"#,
        "400 wrong_type input",
        "a string or a list of strings",
    ),
    (
        r#"{"input": ["cat", 7]}"#,
        "400 wrong_type input",
        "a list of strings",
    ),
    (r#"{"input": ""}"#, "400 empty input", "`input` is empty"),
    (
        r#"{"input": ["cat", ""]}"#,
        "400 empty input[1]",
        "`input[1]` is empty",
    ),
    (r#"{"input": []}"#, "400 empty input", "an empty list"),
    (
        r#"{"input": "LONG"}"#,
        "400 too_long input",
        "101 tokens, and the longest input of this model has 48; shorten it",
    ),
    (
        r#"{"input": "cat", "dimensions": 33}"#,
        "400 bad_parameter dimensions",
        "this model have 32",
    ),
    (
        r#"{"input": "cat", "dimensions": 0}"#,
        "400 bad_parameter dimensions",
        "is 0",
    ),
    (
        r#"{"input": "cat", "dimensions": "8"}"#,
        "400 wrong_type dimensions",
        "a whole number",
    ),
    (
        r#"{"input": "cat", "encoding_format": 1}"#,
        "400 wrong_type encoding_format",
        "`base64`",
    ),
    (
        r#"{"input": "cat", "user": 7}"#,
        "400 wrong_type user",
        "a string",
    ),
    (
        r#"{"input": "cat", "dimension": 8}"#,
        "400 unknown_field dimension",
        "mean `dimensions`?",
    ),
    (
        r#"{"input": "cat", "model": "other"}"#,
        "404 unknown_model null",
        "`feature-extraction`",
    ),
    (
        r#"{"input": "cat", "model": null}"#,
        "400 missing_field model",
        "`model` is missing",
    ),
];

#[test]
fn refusals_have_the_shape_of_openai() {
    for (fields, expected, part) in REFUSALS {
        let fields = fields.replace("LONG", "cat ".repeat(99).trim());
        let response = ask(serde_json::from_str(&fields).unwrap());
        let error = response.json()["error"].take();
        let code = error["code"].as_str().unwrap();
        let param = error["param"].as_str().unwrap_or("null");
        assert_eq!(
            format!("{} {code} {param}", response.status),
            expected,
            "{fields}: {error}"
        );
        assert_eq!(error["type"], "invalid_request_error");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(part),
            "{fields}: `{part}` is not in: {message}"
        );
        assert!(
            !message.contains("truncate"),
            "no field of OpenAI's: {message}"
        );
    }
}

#[test]
fn a_body_that_is_no_request_is_refused_in_the_shape_of_openai() {
    let server = shared("feature-extraction");
    let send = |body: &[u8]| server.client().send("POST", PATH, body).unwrap();
    let malformed = send(b"{\"input\": \"the cat\",}");
    assert_eq!(
        (malformed.status, &malformed.json()["error"]["code"]),
        (400, &json!("malformed_json"))
    );
    let message = malformed.json()["error"]["message"].to_string();
    assert!(message.contains("line 1 column 21"), "{message}");
    let list = send(b"[]");
    assert_eq!(
        (list.status, &list.json()["error"]["code"]),
        (400, &json!("wrong_type"))
    );
    let large = send(&vec![b' '; 3 << 20]);
    assert_eq!(
        (large.status, &large.json()["error"]["code"]),
        (413, &json!("body_too_large"))
    );
}

#[test]
fn a_model_that_gives_no_vectors_says_so() {
    for (name, part) in [
        (
            "text-classification",
            "text-classification, not for embeddings",
        ),
        ("feature-extraction-plain", "a vector for each token"),
    ] {
        let response = shared(name).post(PATH, &json!({"model": name, "input": "the cat"}));
        let error = response.json()["error"].take();
        assert_eq!(
            (response.status, &error["code"]),
            (400, &json!("wrong_task"))
        );
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
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
