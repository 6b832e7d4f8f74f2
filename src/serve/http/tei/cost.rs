//! The headers of Text Embeddings Inference, which say what a request cost.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use serde::Serialize;

use crate::serve::core::models::ServedModel;
use crate::serve::http::json;
use crate::serve::request::refusal::Refusal;
use crate::serve::request::run::RunSummary;

/// A request as its headers tell of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextRequest {
    pub(super) begun: Instant,
    /// Of all its texts; token ids have none.
    pub(super) characters: usize,
}

impl TextRequest {
    /// Writes its answer with its headers; times are in whole milliseconds.
    pub(super) fn write<T: Serialize>(
        self,
        answer: &T,
        model: &ServedModel,
        summary: &RunSummary,
    ) -> Result<Response, Refusal> {
        let mut response = json::write(answer, summary)?;
        let total = milliseconds(self.begun.elapsed());
        let times = &summary.times;
        let numbers = [
            ("x-compute-time", total.clone()),
            ("x-compute-characters", self.characters.to_string()),
            ("x-compute-tokens", summary.tokens.to_string()),
            ("x-total-time", total),
            ("x-tokenization-time", milliseconds(times.preparing)),
            ("x-queue-time", milliseconds(times.waiting)),
            ("x-inference-time", milliseconds(times.running)),
        ];
        let chip = model.plan().chip.clone();
        let headers: &mut HeaderMap = response.headers_mut();
        for (name, value) in numbers.into_iter().chain([("x-compute-type", chip)]) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        Ok(response)
    }
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

/// The number of characters of a text.
pub(super) fn characters(text: &str) -> usize {
    text.chars().count()
}
