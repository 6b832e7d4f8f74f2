//! The routes of each protocol.

use serde_json::json;

use crate::serve::http::openapi::{Body, Paths, Reply, Route, parameters};
use crate::serve::http::tei::{self, info, tokens};
use crate::serve::http::{error, fastapi, kserve, openai};
use crate::serve::listener::ListenerRole;
use crate::task::text_classification::Label;

/// The statuses of refusals of a route that runs a model.
const RUNS: &[u16] = &[404, 422, 429, 500, 503, 504];

/// Requests of the native protocol: what `inputs` is depends on the model's task.
fn task_request() -> Body {
    Body::Json(json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "inputs": {"description": "docs/predict.md has the inputs of each task"},
            "parameters": {"type": ["object", "null"]},
            "options": {
                "type": ["object", "null"],
                "properties": {
                    "use_cache": {"type": "boolean"},
                    "wait_for_model": {"type": "boolean"},
                },
                "additionalProperties": false,
            },
        },
    }))
}

pub(super) fn native(paths: &mut Paths) {
    let error = paths.answer::<error::NativeError<'static>>();
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
            body: task_request(),
            answer: Reply::Json(json!({})),
            refusals: RUNS,
            error: error.clone(),
        });
    }
    let object = json!({"type": "object"});
    for (path, summary, refusals, error) in [
        (
            "/health/live",
            "Whether the process answers",
            &[][..],
            &error,
        ),
        (
            "/health/ready",
            "Whether every model has a core that is ready",
            &[503],
            &object,
        ),
        ("/openapi.json", "This document", &[], &error),
    ] {
        paths.add(Route {
            tag: "native",
            method: "get",
            path: path.to_owned(),
            summary,
            body: Body::Nothing,
            answer: Reply::Json(object.clone()),
            refusals,
            error: error.clone(),
        });
    }
    const METRICS: &[&str] = &["text/plain", "application/openmetrics-text"];
    for (path, summary, kinds, refusals) in [
        (
            "/metrics",
            "What the server counts, for Prometheus",
            METRICS,
            &[500][..],
        ),
        ("/docs", "These routes, as a page", &["text/html"], &[]),
        ("/docs/page.css", "Its style", &["text/css"], &[]),
        ("/docs/page.js", "Its script", &["text/javascript"], &[]),
    ] {
        paths.add(Route {
            tag: "native",
            method: "get",
            path: path.to_owned(),
            summary,
            body: Body::Nothing,
            answer: Reply::Text(kinds),
            refusals,
            error: error.clone(),
        });
    }
}

pub(super) fn openai(paths: &mut Paths) {
    let error = paths.answer::<openai::OpenAiError<'static>>();
    let body = paths.request::<openai::EmbeddingsRequest>();
    let embeddings = paths.json::<openai::EmbeddingsAnswer<'static>>();
    let models = paths.json::<openai::ModelsAnswer<'static>>();
    let model = paths.json::<openai::ModelAnswer<'static>>();
    for (method, path, summary, body, answer, refusals) in [
        (
            "post",
            "/v1/embeddings",
            "Embeddings",
            body,
            embeddings,
            &[404, 429, 500, 503, 504][..],
        ),
        (
            "get",
            "/v1/models",
            "The models that are served",
            Body::Nothing,
            models,
            &[],
        ),
        (
            "get",
            "/v1/models/{model}",
            "One of them",
            Body::Nothing,
            model,
            &[404],
        ),
    ] {
        paths.add(Route {
            tag: "openai",
            method,
            path: path.to_owned(),
            summary,
            body,
            answer,
            refusals,
            error: error.clone(),
        });
    }
}

pub(super) fn tei(paths: &mut Paths, prefix: &str, tag: &str) {
    let error = paths.answer::<tei::TeiError<'static>>();
    let posts = tei_posts(paths).map(|(name, summary, body, answer)| {
        let refusals: &[u16] = match name {
            "tokenize" | "decode" => &[404, 422, 424],
            _ => &[404, 422, 424, 429, 503, 504],
        };
        ("post", name, summary, body, answer, refusals)
    });
    let info = paths.json::<info::Info>();
    let gets = [
        ("info", "What the model is", info, &[404][..]),
        (
            "health",
            "Whether a request would be answered",
            Reply::Nothing,
            &[404, 503],
        ),
    ]
    .map(|(name, summary, answer, refusals)| {
        ("get", name, summary, Body::Nothing, answer, refusals)
    });
    for (method, name, summary, body, answer, refusals) in posts.into_iter().chain(gets) {
        paths.add(Route {
            tag,
            method,
            path: format!("{prefix}/{name}"),
            summary,
            body,
            answer,
            refusals,
            error: error.clone(),
        });
    }
}

fn tei_posts(paths: &mut Paths) -> [(&'static str, &'static str, Body, Reply); 7] {
    [
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
    ]
}

/// Adds a route that is looked at.
fn kserve_look(
    paths: &mut Paths,
    path: &str,
    summary: &'static str,
    answer: Reply,
    refusals: &'static [u16],
) {
    let error = paths.answer::<kserve::KserveError<'static>>();
    paths.add(Route {
        tag: "kserve",
        method: "get",
        path: path.to_owned(),
        summary,
        body: Body::Nothing,
        answer,
        refusals,
        error,
    });
}

pub(super) fn kserve_health(paths: &mut Paths) {
    let server = paths.json::<kserve::ServerMetadata>();
    let live = paths.json::<kserve::Live>();
    let ready = paths.json::<kserve::Ready<'static>>();
    let statistics = paths.json::<kserve::statistics::StatisticsAnswer<'static>>();
    kserve_look(paths, "/v2", "What the server is", server, &[]);
    let summary = "Whether the process answers";
    kserve_look(paths, "/v2/health/live", summary, live, &[]);
    let summary = "Whether all models are ready";
    kserve_look(paths, "/v2/health/ready", summary, ready, &[503]);
    let summary = "What the models have done";
    kserve_look(paths, "/v2/models/stats", summary, statistics, &[]);
}

pub(super) fn kserve_model(paths: &mut Paths, model: &str) {
    let metadata = paths.json::<kserve::ModelMetadata<'static>>();
    let ready = paths.json::<kserve::Ready<'static>>();
    let statistics = paths.json::<kserve::statistics::StatisticsAnswer<'static>>();
    let at = |name: &str| format!("{model}/{name}");
    let summary = "What a model takes and gives";
    kserve_look(paths, model, summary, metadata, &[404]);
    let summary = "Whether a model is ready";
    kserve_look(paths, &at("ready"), summary, ready, &[404, 503]);
    let summary = "What a model has done";
    kserve_look(paths, &at("stats"), summary, statistics, &[404]);
    let route = Route {
        tag: "kserve",
        method: "post",
        path: at("infer"),
        summary: "Texts as tensors, or rows of token ids",
        body: paths.request::<kserve::InferRequest>(),
        answer: Reply::Tensors(paths.answer::<kserve::InferAnswer<'static>>()),
        refusals: RUNS,
        error: paths.answer::<kserve::KserveError<'static>>(),
    };
    paths.add(route);
    let length = json!({
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "the length of the JSON, where bytes of tensors follow it",
        "schema": {"type": "integer", "minimum": 0},
    });
    paths.parameter((&at("infer"), "post"), length);
}

pub(super) fn kserve_repository(paths: &mut Paths) {
    let error = paths.answer::<kserve::KserveError<'static>>();
    let index = paths.optional_request::<kserve::repository::IndexRequest>();
    let entries = paths.json::<Vec<kserve::repository::IndexEntry>>();
    let load = paths.optional_request::<kserve::repository::LoadRequest>();
    let model = "/v2/repository/models/{model}";
    let (changes, unloaded): (&[u16], _) = match paths.door {
        ListenerRole::Management => (&[400, 404, 409, 500], Reply::Nothing),
        ListenerRole::All | ListenerRole::Worker(_) => (&[400, 404], Reply::Refused),
    };
    for (path, summary, body, answer, refusals) in [
        (
            "/v2/repository/index".to_owned(),
            "The models and their states",
            index,
            entries,
            &[][..],
        ),
        (
            format!("{model}/load"),
            "Loads a model, if it is not loaded: for operators",
            load,
            Reply::Nothing,
            changes,
        ),
        (
            format!("{model}/unload"),
            "Takes a model away: for operators",
            Body::Nothing,
            unloaded,
            changes,
        ),
    ] {
        paths.add(Route {
            tag: "kserve",
            method: "post",
            path,
            summary,
            body,
            answer,
            refusals,
            error: error.clone(),
        });
    }
}

pub(super) fn sagemaker(paths: &mut Paths) {
    let error = paths.answer::<error::NativeError<'static>>();
    paths.add(Route {
        tag: "sagemaker",
        method: "get",
        path: "/ping".to_owned(),
        summary: "Whether a request would be answered",
        body: Body::Nothing,
        answer: Reply::Nothing,
        refusals: &[503],
        error: error.clone(),
    });
    paths.add(Route {
        tag: "sagemaker",
        method: "post",
        path: "/invocations".to_owned(),
        summary: "As POST /predict/{model}, of the model in X-Amzn-SageMaker-Target-Model or the first",
        body: task_request(),
        answer: Reply::Json(json!({})),
        refusals: RUNS,
        error,
    });
    let model = json!({
        "name": "X-Amzn-SageMaker-Target-Model",
        "in": "header",
        "schema": parameters::served(&paths.names),
    });
    paths.parameter(("/invocations", "post"), model);
}

pub(super) fn fastapi(paths: &mut Paths) {
    let health = json!({"type": "object", "required": ["Status"], "properties":
        {"Status": {"enum": ["Healthy", "Unhealthy"]}}});
    let error = paths.answer::<error::NativeError<'static>>();
    paths.add(Route {
        tag: "fastapi",
        method: "get",
        path: "/".to_owned(),
        summary: "Whether a request would be answered",
        body: Body::Nothing,
        answer: Reply::Json(health.clone()),
        refusals: &[503],
        error,
    });
    // Unlike what refuses a key, which is ours.
    let content = &mut paths.paths["/"]["get"]["responses"]["503"]["content"];
    content["application/json"]["schema"] = health;
    let path = "/predictions_neuron_core_{core}/model_{j}";
    let route = Route {
        tag: "fastapi",
        method: "get",
        path: path.to_owned(),
        summary: "The answer to the question seq_0 in the context seq_1, by that core",
        body: Body::Nothing,
        answer: paths.json::<fastapi::DetailAnswer>(),
        refusals: RUNS,
        error: paths.answer::<fastapi::FastApiError<'static>>(),
    };
    paths.add(route);
    for name in ["seq_0", "seq_1"] {
        let parameter = json!({"name": name, "in": "query", "schema": {"type": "string"}});
        paths.parameter((path, "get"), parameter);
    }
}
