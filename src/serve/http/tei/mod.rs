//! The protocol of Text Embeddings Inference: `/embed` and its like, for the first model that the route
//! is for, and under `/tei/{model}` for each.

mod classify;
mod cost;
mod embed;
mod error;
mod info;
mod model;
mod options;
mod tokens;

use axum::response::IntoResponse as _;
use axum::routing::on;
use serde_json::{Value, json};

use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::http::protocol::{Protocol, Route, RouteGroup};
use crate::serve::http::tei::classify::{PredictRequest, Rank, RerankRequest};
use crate::serve::http::tei::embed::{EmbedAllRequest, EmbedRequest, SimilarityRequest};
use crate::serve::http::tei::error::{TeiError, TeiRefusal};
use crate::serve::http::tei::tokens::{DecodeRequest, Token, TokenizeRequest};
use crate::task::OneOrMany;
use crate::task::text_classification::Label;

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "tei",
    prefix: Some("/tei/"),
    is_management: false,
    refuse: |refusal| TeiRefusal(refusal).into_response(),
    error: Schemas::answer::<TeiError<'static>>,
    groups: &[
        RouteGroup {
            tag: "tei",
            at: "",
            routes: ROUTES,
        },
        RouteGroup {
            tag: "tei of a model",
            at: "/tei/{model}",
            routes: ROUTES,
        },
    ],
};

/// The statuses of refusals of a route that runs a model.
const RUN_REFUSALS: &[u16] = &[404, 422, 424, 429, 503, 504];

const ROUTES: &[Route] = &[
    Route::post(
        "/embed",
        |method, _| on(method, embed::embed),
        "A vector for each text",
    )
    .takes::<EmbedRequest>(inputs)
    .answers::<Vec<Vec<f32>>>()
    .refuses(RUN_REFUSALS),
    Route::post(
        "/embed_all",
        |method, _| on(method, embed::embed_all),
        "A vector for each token, from models that do not pool",
    )
    .takes::<EmbedAllRequest>(inputs)
    .answers::<Vec<Vec<Vec<f32>>>>()
    .refuses(RUN_REFUSALS),
    Route::post(
        "/similarity",
        |method, _| on(method, embed::similarity),
        "The cosine of each sentence and the source sentence",
    )
    .takes::<SimilarityRequest>(
        |_| json!({"inputs": {"source_sentence": "the cat", "sentences": ["the river"]}}),
    )
    .answers::<Vec<f32>>()
    .refuses(RUN_REFUSALS),
    Route::post(
        "/predict",
        |method, _| on(method, classify::predict),
        "The labels of each text, best first",
    )
    .takes::<PredictRequest>(inputs)
    .answers::<OneOrMany<Vec<Label>>>()
    .refuses(RUN_REFUSALS),
    Route::post(
        "/rerank",
        |method, _| on(method, classify::rerank),
        "The texts by how well they answer the query, best first",
    )
    .takes::<RerankRequest>(|_| json!({"query": "the cat", "texts": ["the river", "a book"]}))
    .answers::<Vec<Rank>>()
    .refuses(RUN_REFUSALS),
    Route::post(
        "/tokenize",
        |method, _| on(method, tokens::tokenize),
        "The tokens of each text",
    )
    .takes::<TokenizeRequest>(inputs)
    .answers::<Vec<Vec<Token>>>()
    .refuses(&[404, 422, 424]),
    Route::post(
        "/decode",
        |method, _| on(method, tokens::decode),
        "The text that ids stand for",
    )
    .takes::<DecodeRequest>(|_| json!({"ids": [1, 2]}))
    .answers::<Vec<String>>()
    .refuses(&[404, 422, 424]),
    Route::get(
        "/info",
        |method, _| on(method, info::info),
        "What the model is",
    )
    .answers::<info::Info>()
    .refuses(&[404]),
    Route::get(
        "/health",
        |method, _| on(method, info::health),
        "Whether a request would be answered",
    )
    .open()
    .refuses(&[404, 503]),
];

fn inputs(_: &str) -> Value {
    json!({"inputs": "the cat"})
}
