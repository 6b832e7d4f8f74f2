//! Which protocol a path belongs to: what is refused before a route is reached is refused in its form.

use axum::response::{IntoResponse as _, Response};

use crate::serve::http::fastapi::{self, Detail};
use crate::serve::http::kserve::KserveRefusal;
use crate::serve::http::openai::OpenAiRefusal;
use crate::serve::http::tei::TeiRefusal;
use crate::serve::request::refusal::Refusal;

/// The routes of Text Embeddings Inference that no prefix gives away.
const TEI: [&str; 9] = [
    "embed",
    "embed_all",
    "similarity",
    "predict",
    "rerank",
    "tokenize",
    "decode",
    "info",
    "health",
];

/// `refusal` as the protocol of `path` has it.
pub(super) fn refuse(path: &str, refusal: Refusal) -> Response {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match first {
        "v1" => OpenAiRefusal::from(refusal).into_response(),
        "v2" => KserveRefusal::from(refusal).into_response(),
        "tei" => TeiRefusal::from(refusal).into_response(),
        first if rest.is_empty() && TEI.contains(&first) => {
            TeiRefusal::from(refusal).into_response()
        }
        first if first.starts_with(fastapi::PREFIX) => Detail(refusal).into_response(),
        _ => refusal.into_response(),
    }
}
