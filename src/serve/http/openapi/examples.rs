//! A body for each route that takes one.

use serde_json::{Value, json};

/// A request of a route, of something that is served where that is known.
pub(super) fn of(path: &str, names: &[String]) -> Option<Value> {
    let name = names.first().map_or("my-model", String::as_str);
    let inputs = json!({"inputs": "the cat"});
    let example = match path {
        "/" | "/invocations" | "/predict/{model}" => inputs,
        "/v1/embeddings" => json!({"model": name, "input": "the cat"}),
        "/v2/repository/index" => json!({"ready": true}),
        "/v2/repository/models/{model}/load" => {
            json!({"parameters": {"bundle": "/bundles/my-bundle"}})
        }
        "/admin/models/{model}" => json!({"bundle": "/bundles/my-bundle", "cores": "0"}),
        "/admin/aliases/{alias}" => json!({"models": {name: 1}}),
        path => match path.rsplit('/').next()? {
            "embed" | "embed_all" | "predict" | "tokenize" => inputs,
            "similarity" => {
                json!({"inputs": {"source_sentence": "the cat", "sentences": ["the river"]}})
            }
            "rerank" => json!({"query": "the cat", "texts": ["the river", "a book"]}),
            "decode" => json!({"ids": [1, 2]}),
            "infer" => json!({"inputs": [
                {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["the cat"]},
            ]}),
            _ => return None,
        },
    };
    Some(example)
}
