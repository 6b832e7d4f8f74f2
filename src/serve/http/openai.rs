//! The OpenAI protocol: `POST /v1/embeddings`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::serve::Served;
use crate::serve::http::answer::{self, Code, Refusal};
use crate::task::OneOrMany;
use crate::task::feature_extraction::{self, Options};

/// The request, with the fields that OpenAI's clients send.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingsRequest {
    input: OneOrMany<String>,
    model: String,
    #[serde(default)]
    encoding_format: Encoding,
    /// Keeps the first so many values of each vector, scaled to length 1 again.
    dimensions: Option<usize>,
    /// An id of the caller's user; not looked at.
    #[serde(rename = "user")]
    _user: Option<String>,
}

/// How a vector is written.
#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    /// Little-endian 32-bit floats.
    Base64,
}

#[derive(Serialize)]
struct EmbeddingsAnswer<'a> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// Tokens, special ones included.
#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

/// A refusal in OpenAI's form.
pub(super) struct OpenAiRefusal(Refusal);

impl<T: Into<Refusal>> From<T> for OpenAiRefusal {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

impl IntoResponse for OpenAiRefusal {
    fn into_response(self) -> Response {
        let kind = match self.0.status().is_client_error() {
            true => "invalid_request_error",
            false => "server_error",
        };
        let body = json!({"error": {
            "message": self.0.message(),
            "type": kind,
            "param": self.0.field(),
            "code": self.0.name(),
        }});
        answer::with_headers(&self.0, Json(body).into_response())
    }
}

/// `POST /v1/embeddings`.
pub(super) async fn embeddings(
    State(served): State<Arc<Served>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, OpenAiRefusal> {
    let request: EmbeddingsRequest =
        serde_json::from_value(answer::parse(body)?).map_err(|error| {
            Refusal::new(Code::Invalid, format!("not an embeddings request: {error}"))
        })?;
    answer::check_model(&served, &request.model)?;
    let reader = Arc::clone(&served);
    let input = request.input;
    let prepare =
        move || feature_extraction::embeddings(&reader.model, &input, "input", Options::STANDARD);
    let prepared = answer::off_thread(prepare).await??;
    let tokens = prepared.tokens();
    let outputs = answer::run_rows(&served, prepared.rows.clone()).await?;
    let vectors = prepared
        .vectors(outputs)
        .map_err(|error| answer::unanswerable(&error))?;
    let mut data = Vec::with_capacity(vectors.len());
    for (index, vector) in vectors.into_iter().enumerate() {
        let vector = shorten(vector, request.dimensions)?;
        data.push(Embedding {
            object: "embedding",
            index,
            embedding: encode(vector, request.encoding_format),
        });
    }
    let answer = EmbeddingsAnswer {
        object: "list",
        data,
        model: &served.name,
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    };
    Ok(Json(answer).into_response())
}

fn shorten(mut vector: Vec<f32>, dimensions: Option<usize>) -> Result<Vec<f32>, Refusal> {
    let Some(dimensions) = dimensions else {
        return Ok(vector);
    };
    if dimensions == 0 || dimensions > vector.len() {
        let message = format!(
            "`dimensions` is {dimensions}; this model has {}",
            vector.len()
        );
        return Err(Refusal::new(Code::Invalid, message));
    }
    vector.truncate(dimensions);
    feature_extraction::scale_to_length_1(&mut vector);
    Ok(vector)
}

fn encode(vector: Vec<f32>, encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}
