//! The routes of Text Embeddings Inference: shapes, errors and headers.

use serde_json::{Value, json};

use crate::serve::client::Response;
use crate::serve::server::shared;

fn ask(model: &'static str, route: &str, body: Value) -> Response {
    shared(model).post(route, &body)
}

#[track_caller]
fn answer(model: &'static str, route: &str, body: Value) -> Value {
    let response = ask(model, route, body);
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn check_close(one: &[f32], other: &[f32]) {
    let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
    assert_eq!(one.len(), other.len());
    assert!(one.iter().zip(other).all(close), "{one:?} {other:?}");
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

#[test]
fn embeddings_are_a_list_even_for_one_text_and_have_length_1() {
    let one = answer(
        "feature-extraction-cls",
        "/embed",
        json!({"inputs": "the cat"}),
    );
    let many = answer(
        "feature-extraction-cls",
        "/tei/feature-extraction-cls/embed",
        json!({"inputs": ["the river", "the cat"]}),
    );
    assert_eq!(
        (
            one.as_array().unwrap().len(),
            many.as_array().unwrap().len()
        ),
        (1, 2)
    );
    check_close(&floats(&one[0]), &floats(&many[1]));
    assert!((length(&floats(&one[0])) - 1.0).abs() < 1e-5);
    let own = json!({"inputs": "the cat", "normalize": false});
    let own = floats(&answer("feature-extraction-cls", "/embed", own)[0]);
    assert!((length(&own) - 1.0).abs() > 0.01, "{own:?}");
    let short = json!({"inputs": "the cat", "dimensions": 8});
    let short = floats(&answer("feature-extraction-cls", "/embed", short)[0]);
    assert_eq!(short.len(), 8);
    assert!((length(&short) - 1.0).abs() < 1e-5);
}

#[test]
fn ids_are_embedded_like_their_text() {
    let route = "/embed";
    let tokens = answer(
        "feature-extraction",
        "/tokenize",
        json!({"inputs": "the cat"}),
    );
    let tokens = tokens[0].as_array().unwrap();
    let whole: Vec<&Value> = tokens.iter().map(|token| &token["id"]).collect();
    let text = answer("feature-extraction", route, json!({"inputs": "the cat"}));
    let ids = answer("feature-extraction", route, json!({"inputs": whole}));
    assert_eq!(ids, text);
    let inner = &whole[1..whole.len() - 1];
    let mixed = answer(
        "feature-extraction",
        route,
        json!({"inputs": [inner, "the cat"]}),
    );
    check_close(&floats(&mixed[0]), &floats(&text[0]));
    let unknown = ask("feature-extraction", route, json!({"inputs": [9_999_999]}));
    assert_eq!(
        (unknown.status, &unknown.json()["error_type"]),
        (422, &json!("Tokenizer"))
    );
}

#[test]
fn tokens_have_their_place_in_the_text_and_decode_to_it() {
    let tokens = answer(
        "feature-extraction",
        "/tokenize",
        json!({"inputs": "The cat"}),
    );
    let token = |index: usize| &tokens[0][index];
    assert_eq!(token(0)["special"], true);
    assert_eq!(token(0)["start"], Value::Null);
    assert_eq!(
        (&token(1)["text"], &token(1)["start"], &token(1)["stop"]),
        (&json!("The"), &json!(0), &json!(3))
    );
    let bare = json!({"inputs": ["The cat"], "add_special_tokens": false});
    let bare = answer("feature-extraction", "/tokenize", bare);
    assert_eq!(
        bare[0].as_array().unwrap()[..],
        tokens[0].as_array().unwrap()[1..3]
    );
    let ids: Vec<&Value> = tokens[0]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["id"])
        .collect();
    let text = answer("feature-extraction", "/decode", json!({"ids": ids}));
    assert_eq!(text, json!(["the cat"]));
    let whole = json!({"ids": [ids], "skip_special_tokens": false});
    let whole = answer("feature-extraction", "/decode", whole);
    assert_eq!(whole, json!(["[CLS] the cat [SEP]"]));
}

#[test]
fn every_token_has_a_vector_where_the_model_does_not_pool() {
    let body = || json!({"inputs": ["the cat", "cat"]});
    let vectors = answer("feature-extraction-plain", "/embed_all", body());
    let counts: Vec<usize> = [0, 1]
        .map(|text| vectors[text].as_array().unwrap().len())
        .into();
    assert_eq!(counts, [4, 3]);
    let pooled = ask("feature-extraction", "/embed_all", body());
    assert_eq!(
        (pooled.status, &pooled.json()["error_type"]),
        (424, &json!("Backend"))
    );
}

#[test]
fn similarity_is_the_cosine() {
    let body =
        json!({"inputs": {"source_sentence": "the cat", "sentences": ["the cat", "the river"]}});
    let cosines = floats(&answer("feature-extraction", "/similarity", body));
    let vectors = answer(
        "feature-extraction",
        "/embed",
        json!({"inputs": ["the cat", "the river"]}),
    );
    let (one, other) = (floats(&vectors[0]), floats(&vectors[1]));
    let dot: f32 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
    check_close(&cosines, &[1.0, dot]);
}

#[test]
fn predictions_are_sorted_and_answer_in_the_form_of_the_request() {
    let one = answer(
        "text-classification",
        "/predict",
        json!({"inputs": "the cat"}),
    );
    let scores: Vec<f64> = one
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["score"].as_f64().unwrap())
        .collect();
    assert_eq!(scores.len(), 3);
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    let native = shared("text-classification")
        .predict(&json!({"inputs": "the cat", "parameters": {"top_k": 3}}));
    assert_eq!(one, native.json()[0]);

    let pair = answer(
        "text-classification",
        "/predict",
        json!({"inputs": ["the cat", "the river"]}),
    );
    assert!(pair[0]["label"].is_string(), "a pair is one input: {pair}");
    let batch = json!({"inputs": [["the cat", "the river"], ["the cat"]]});
    let batch = answer("text-classification", "/predict", batch);
    assert_eq!(batch.as_array().unwrap().len(), 2);
    let close = |a: &Value, b: &Value| {
        (a["score"].as_f64().unwrap() - b["score"].as_f64().unwrap()).abs() < 1e-5
    };
    assert!(close(&batch[0][0], &pair[0]) && close(&batch[1][0], &one[0]));
    let raw = json!({"inputs": "the cat", "raw_scores": true});
    let raw = answer("text-classification", "/predict", raw);
    let sum: f64 = raw
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["score"].as_f64().unwrap().exp())
        .sum();
    let first = raw[0]["score"].as_f64().unwrap().exp() / sum;
    assert!((first - scores[0]).abs() < 1e-5);
}

#[test]
fn ranks_are_sorted_and_name_their_text() {
    let body = |more: Value| {
        let mut body = json!({"query": "the cat", "texts": ["the river", "the cat", "a book"]});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let ranks = answer("one-label", "/rerank", body(json!({"return_text": true})));
    let ranks = ranks.as_array().unwrap();
    let score = |rank: &Value| rank["score"].as_f64().unwrap();
    assert!(ranks.is_sorted_by(|a, b| score(a) >= score(b)), "{ranks:?}");
    let texts = ["the river", "the cat", "a book"];
    for rank in ranks {
        let index = usize::try_from(rank["index"].as_u64().unwrap()).unwrap();
        assert_eq!(rank["text"], texts[index]);
    }
    let raw = answer("one-label", "/rerank", body(json!({"raw_scores": true})));
    assert_eq!(raw[0].get("text"), None);
    let logistic = 1.0 / (1.0 + (-score(&raw[0])).exp());
    assert!((logistic - score(&ranks[0])).abs() < 1e-5);

    let none = ask("one-label", "/rerank", body(json!({"texts": []})));
    assert_eq!(
        (none.status, &none.json()["error_type"]),
        (400, &json!("Empty"))
    );
    for model in ["text-classification", "feature-extraction"] {
        let refused = ask(model, "/rerank", body(json!({})));
        assert_eq!(
            (refused.status, &refused.json()["error_type"]),
            (424, &json!("Backend"))
        );
    }
}

#[test]
fn headers_say_what_a_request_cost() {
    let response = ask(
        "feature-extraction",
        "/embed",
        json!({"inputs": ["the cat", "the"]}),
    );
    let number = |name: &str| response.headers[name].parse::<u64>().unwrap();
    assert_eq!(response.headers["x-compute-type"], "cpu");
    assert_eq!(
        (number("x-compute-tokens"), number("x-compute-characters")),
        (7, 10)
    );
    let parts = ["x-tokenization-time", "x-queue-time", "x-inference-time"].map(number);
    assert!(
        parts.iter().sum::<u64>() <= number("x-total-time"),
        "{response:?}"
    );
    assert_eq!(number("x-compute-time"), number("x-total-time"));
}

#[test]
fn info_and_health() {
    let server = shared("one-label");
    let info = server.get("/info").json();
    assert_eq!(info["model_id"], "one-label");
    assert_eq!(
        info["model_type"]["reranker"]["id2label"],
        json!({"0": "LABEL_0"})
    );
    assert_eq!(
        (&info["max_input_length"], &info["auto_truncate"]),
        (&json!(64), &json!(false))
    );
    // 128 of each connection.
    let requests = info["max_concurrent_requests"].as_u64().unwrap();
    assert!(
        requests > 1024 && requests.is_multiple_of(128),
        "{requests}"
    );
    let threads = std::thread::available_parallelism().unwrap().get();
    assert_eq!(info["tokenization_workers"], threads);
    let embedder = shared("feature-extraction").get("/info").json();
    assert_eq!(
        embedder["model_type"],
        json!({"embedding": {"pooling": "mean"}})
    );
    assert_eq!(
        (
            server.get("/health").status,
            server.get("/health").body.len()
        ),
        (200, 0)
    );
    assert_eq!(server.get("/tei/nobody/health").status, 404);
    let no_text = server.get("/tei/%ff/health");
    assert_eq!(
        (no_text.status, &no_text.json()["error_type"]),
        (404, &json!("Validation"))
    );
}

#[test]
fn a_long_text_is_cut_where_the_request_asks_for_it() {
    let long = "cat ".repeat(99);
    let cut = json!({"inputs": long, "truncate": true, "truncation_direction": "Left"});
    let cut = answer("feature-extraction", "/embed", cut);
    assert_eq!(cut.as_array().unwrap().len(), 1);
}
