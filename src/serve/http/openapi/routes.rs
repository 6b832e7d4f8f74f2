//! The routes of each protocol.

use serde_json::{Value, json};

use crate::serve::http::openapi::{Paths, Reply, Route};
use crate::serve::http::tei::{info, tokens};
use crate::serve::http::{answer, kserve, openai, reference, tei};
use crate::task::text_classification::Label;

/// The statuses of refusals of a route that runs a model.
const RUNS: &[u16] = &[400, 404, 413, 422, 429, 500, 503, 504];

/// Requests of the native protocol: what `inputs` is depends on the model's task.
fn task_request() -> Value {
    json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "inputs": {"description": "docs/predict.md has the inputs of each task"},
            "parameters": {"type": ["object", "null"]},
        },
    })
}

pub(super) fn native(paths: &mut Paths) {
    let error = paths.answer::<answer::ErrorAnswer<'static>>();
    for (path, summary) in [
        (
            "/predict/{model}",
            "The model's task, as the Hugging Face inference API has it",
        ),
        ("/", "The same of the first model"),
    ] {
        paths.add(Route {
            tag: "native",
            method: "post",
            path: path.to_owned(),
            summary,
            request: Some(task_request()),
            answer: Reply::Json(json!({})),
            statuses: RUNS,
            error: error.clone(),
        });
    }
    for (path, summary, statuses) in [
        ("/health/live", "Whether the process answers", &[][..]),
        (
            "/health/ready",
            "Whether every model has a core that is ready",
            &[503],
        ),
        ("/openapi.json", "This document", &[]),
    ] {
        paths.add(Route {
            tag: "native",
            method: "get",
            path: path.to_owned(),
            summary,
            request: None,
            answer: Reply::Json(json!({"type": "object"})),
            statuses,
            error: json!({"type": "object"}),
        });
    }
    const METRICS: &[&str] = &["text/plain", "application/openmetrics-text"];
    for (path, summary, kinds) in [
        (
            "/metrics",
            "What the server counts, for Prometheus",
            METRICS,
        ),
        ("/docs", "These routes, as a page", &["text/html"]),
        ("/docs/page.css", "Its style", &["text/css"]),
        ("/docs/page.js", "Its script", &["text/javascript"]),
    ] {
        paths.add(Route {
            tag: "native",
            method: "get",
            path: path.to_owned(),
            summary,
            request: None,
            answer: Reply::Text(kinds),
            statuses: &[],
            error: error.clone(),
        });
    }
}

pub(super) fn openai(paths: &mut Paths) {
    let error = paths.answer::<openai::ErrorAnswer<'static>>();
    let request = paths.request::<openai::EmbeddingsRequest>();
    let embeddings = paths.json::<openai::EmbeddingsAnswer<'static>>();
    let models = paths.json::<openai::ModelsAnswer<'static>>();
    let model = paths.json::<openai::ModelAnswer<'static>>();
    let mut add = |method, path: &str, summary, request, answer, statuses| {
        paths.add(Route {
            tag: "openai",
            method,
            path: path.to_owned(),
            summary,
            request,
            answer,
            statuses,
            error: error.clone(),
        });
    };
    add(
        "post",
        "/v1/embeddings",
        "Embeddings",
        request,
        embeddings,
        RUNS,
    );
    add(
        "get",
        "/v1/models",
        "The models that are served",
        None,
        models,
        &[],
    );
    add(
        "get",
        "/v1/models/{model}",
        "One of them",
        None,
        model,
        &[404],
    );
}

pub(super) fn tei(paths: &mut Paths, prefix: &str, tag: &str) {
    const STATUSES: &[u16] = &[400, 404, 413, 422, 424, 429, 503, 504];
    let error = paths.answer::<tei::ErrorAnswer<'static>>();
    let routes = [
        (
            "embed",
            "A vector for each text",
            paths.request::<tei::EmbedRequest>(),
            paths.json::<Vec<Vec<f32>>>(),
        ),
        (
            "embed_all",
            "A vector for each token, from models that do not pool",
            paths.request::<tei::EmbedAllRequest>(),
            paths.json::<Vec<Vec<Vec<f32>>>>(),
        ),
        (
            "similarity",
            "The cosine of each sentence and the source sentence",
            paths.request::<tei::SimilarityRequest>(),
            paths.json::<Vec<f32>>(),
        ),
        (
            "predict",
            "The labels of each text, best first",
            paths.request::<tei::PredictRequest>(),
            paths.json::<crate::task::OneOrMany<Vec<Label>>>(),
        ),
        (
            "rerank",
            "The texts by how well they answer the query, best first",
            paths.request::<tei::RerankRequest>(),
            paths.json::<Vec<tei::Rank>>(),
        ),
        (
            "tokenize",
            "The tokens of each text",
            paths.request::<tokens::TokenizeRequest>(),
            paths.json::<Vec<Vec<tokens::Token>>>(),
        ),
        (
            "decode",
            "The text that ids stand for",
            paths.request::<tokens::DecodeRequest>(),
            paths.json::<Vec<String>>(),
        ),
        (
            "info",
            "What the model is",
            None,
            paths.json::<info::Info>(),
        ),
        (
            "health",
            "Whether a request would be answered",
            None,
            Reply::Nothing,
        ),
    ];
    for (name, summary, request, answer) in routes {
        paths.add(Route {
            tag,
            method: if request.is_some() { "post" } else { "get" },
            path: format!("{prefix}/{name}"),
            summary,
            request,
            answer,
            statuses: STATUSES,
            error: error.clone(),
        });
    }
}

fn kserve_route(paths: &mut Paths, path: &str, summary: &'static str, answer: Reply) {
    let error = paths.answer::<kserve::ErrorAnswer<'static>>();
    paths.add(Route {
        tag: "kserve",
        method: "get",
        path: path.to_owned(),
        summary,
        request: None,
        answer,
        statuses: &[404, 503],
        error,
    });
}

pub(super) fn kserve_health(paths: &mut Paths) {
    let server = paths.json::<kserve::ServerMetadata>();
    let live = paths.json::<kserve::Live>();
    let ready = paths.json::<kserve::Ready<'static>>();
    let statistics = paths.json::<kserve::statistics::StatisticsAnswer<'static>>();
    kserve_route(paths, "/v2", "What the server is", server);
    kserve_route(
        paths,
        "/v2/health/live",
        "Whether the process answers",
        live,
    );
    kserve_route(
        paths,
        "/v2/health/ready",
        "Whether all models are ready",
        ready,
    );
    kserve_route(
        paths,
        "/v2/models/stats",
        "What the models have done",
        statistics,
    );
}

pub(super) fn kserve_model(paths: &mut Paths, model: &str) {
    let metadata = paths.json::<kserve::ModelMetadata<'static>>();
    let ready = paths.json::<kserve::Ready<'static>>();
    let statistics = paths.json::<kserve::statistics::StatisticsAnswer<'static>>();
    kserve_route(paths, model, "What a model takes and gives", metadata);
    let at = |name: &str| format!("{model}/{name}");
    kserve_route(paths, &at("ready"), "Whether a model is ready", ready);
    kserve_route(paths, &at("stats"), "What a model has done", statistics);
    let route = Route {
        tag: "kserve",
        method: "post",
        path: at("infer"),
        summary: "Texts as tensors, or rows of token ids",
        request: paths.request::<kserve::InferRequest>(),
        answer: Reply::Tensors(paths.answer::<kserve::InferAnswer<'static>>()),
        statuses: &[400, 404, 413, 429, 500, 503, 504],
        error: paths.answer::<kserve::ErrorAnswer<'static>>(),
    };
    paths.add(route);
}

pub(super) fn kserve_repository(paths: &mut Paths) {
    let error = paths.answer::<kserve::ErrorAnswer<'static>>();
    let index = paths.request::<kserve::repository::IndexRequest>();
    let entries = paths.json::<Vec<kserve::repository::IndexEntry>>();
    let load = paths.request::<kserve::repository::LoadRequest>();
    let model = "/v2/repository/models/{model}";
    for (path, summary, request, answer) in [
        (
            "/v2/repository/index".to_owned(),
            "The models and their states",
            index,
            entries,
        ),
        (
            format!("{model}/load"),
            "Loads a model, if it is not loaded: for operators",
            load,
            Reply::Nothing,
        ),
        (
            format!("{model}/unload"),
            "Takes a model away: for operators",
            None,
            Reply::Nothing,
        ),
    ] {
        paths.add(Route {
            tag: "kserve",
            method: "post",
            path,
            summary,
            request,
            answer,
            statuses: &[400, 404, 413],
            error: error.clone(),
        });
    }
}

pub(super) fn sagemaker(paths: &mut Paths) {
    let error = paths.answer::<answer::ErrorAnswer<'static>>();
    paths.add(Route {
        tag: "sagemaker",
        method: "get",
        path: "/ping".to_owned(),
        summary: "Whether a request would be answered",
        request: None,
        answer: Reply::Nothing,
        statuses: &[503],
        error: error.clone(),
    });
    paths.add(Route {
        tag: "sagemaker",
        method: "post",
        path: "/invocations".to_owned(),
        summary: "As POST /predict/{model}, of the model in X-Amzn-SageMaker-Target-Model or the first",
        request: Some(task_request()),
        answer: Reply::Json(json!({})),
        statuses: RUNS,
        error,
    });
}

pub(super) fn fastapi(paths: &mut Paths) {
    let health = json!({"type": "object", "required": ["Status"], "properties":
        {"Status": {"enum": ["Healthy", "Unhealthy"]}}});
    paths.add(Route {
        tag: "fastapi",
        method: "get",
        path: "/".to_owned(),
        summary: "Whether a request would be answered",
        request: None,
        answer: Reply::Json(health.clone()),
        statuses: &[503],
        error: health,
    });
    let path = "/predictions_neuron_core_{core}/model_{j}";
    let route = Route {
        tag: "fastapi",
        method: "get",
        path: path.to_owned(),
        summary: "The answer to the question seq_0 in the context seq_1, by that core",
        request: None,
        answer: paths.json::<reference::DetailAnswer>(),
        statuses: RUNS,
        error: paths.answer::<reference::ErrorAnswer<'static>>(),
    };
    paths.add(route);
    for name in ["seq_0", "seq_1"] {
        let parameter = json!({"name": name, "in": "query", "schema": {"type": "string"}});
        if let Some(parameters) = paths.paths[path]["get"]["parameters"].as_array_mut() {
            parameters.push(parameter);
        }
    }
}
