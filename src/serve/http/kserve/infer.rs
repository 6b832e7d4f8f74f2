//! `POST /v2/models/{model}/infer`: texts as the model's task takes them, or rows of token ids.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::failure::name_list;
use crate::family::Head;
use crate::serve::core::models::ServedModel;
use crate::serve::http::body::RequestBody;
use crate::serve::http::json;
use crate::serve::http::kserve::error::KserveResult;
use crate::serve::http::kserve::model::{PathParts, VERSION, find};
use crate::serve::http::kserve::outputs::{self, Ids};
use crate::serve::http::kserve::tensor::{
    ID_INPUTS, InputTensor, OutputTensor, Tensor, Values, text_inputs, wrong,
};
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::run::{self, Outputs};
use crate::serve::request::view::ServerView;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::{self, Prepared, TaskModel};

/// With binary tensors: how many bytes of the body are JSON; the tensors follow.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

const BINARY_OUTPUT: &str = "binary_data_output";

/// Parameters of Triton's schedulers, which its clients send on their own.
const OF_SCHEDULERS: [&str; 5] = [
    "priority",
    "timeout",
    "sequence_id",
    "sequence_start",
    "sequence_end",
];

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InferRequest {
    id: Option<String>,
    /// As in the path; some clients repeat it.
    model_name: Option<String>,
    /// `binary_data_output`, and the parameters of the model's task; those that say in which order
    /// Triton is to run requests are ignored.
    parameters: Option<Map<String, Value>>,
    inputs: Vec<InputTensor>,
    /// All of them without.
    outputs: Option<Vec<RequestedOutput>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AskedOutput")]
struct RequestedOutput {
    name: String,
    #[serde(default)]
    parameters: OutputParameters,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OutputParameters {
    /// Values as bytes after the JSON.
    binary_data: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct InferAnswer<'a> {
    model_name: &'a str,
    model_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<OutputTensor>,
}

pub(super) async fn infer(
    State(view): State<ServerView>,
    parts: PathParts,
    headers: HeaderMap,
    body: RequestBody,
) -> KserveResult {
    let model = find(&view, parts)?;
    let (name, head) = (Arc::clone(&model.name), Arc::clone(&model.model.head));
    let read = move |body: &[u8]| ReadRequest::read(&headers, body, &name, &head);
    let mut request = run::read(body.bytes()?, read).await?;
    let has_ids = |tensor: &Tensor| ID_INPUTS.contains(&tensor.name);
    let tensors = std::mem::take(&mut request.tensors);
    let parameters = std::mem::take(&mut request.parameters);
    if tensors.iter().any(has_ids) {
        check_no_parameters(&parameters)?;
        // Rows of ids run as they are, and what the graph computes is answered.
        let prepare = move |model: &TaskModel| Ids::read(model, &tensors);
        let write = move |model: &ServedModel, ids: Ids, outputs: Outputs| {
            let width = model.bundle.manifest.output.width;
            let tensors = ids.outputs(&model.model.head, width, outputs.values);
            request.write(tensors.map_err(Refusal::unanswerable)?, &model.name)
        };
        return Ok(run::answer(&view, model, prepare, write).await?);
    }
    // Texts are answered as the model's task does.
    let prepare = move |model: &TaskModel| {
        let inputs = items(text_inputs(&model.head), tensors)?;
        task::prepare(model, &json!({"inputs": inputs, "parameters": parameters}))
    };
    let write = move |model: &ServedModel, prepared: Prepared, outputs: Outputs| {
        let answer = prepared.answer(outputs.values);
        let width = model.bundle.manifest.output.width;
        let tensors = outputs::of_answer(answer.map_err(Refusal::unanswerable)?, width)?;
        request.write(tensors, &model.name)
    };
    Ok(run::answer(&view, model, prepare, write).await?)
}

fn check_no_parameters(parameters: &Map<String, Value>) -> Result<(), Invalid> {
    let Some(name) = parameters.keys().next() else {
        return Ok(());
    };
    let name: String = name.chars().take(40).collect();
    let message = format!("`{name}` is for texts; rows of ids take no parameters");
    Err(Invalid::new(
        InvalidCode::BadParameter,
        "parameters",
        message,
    ))
}

/// A request as it was read.
struct ReadRequest {
    id: Option<String>,
    tensors: Vec<Tensor>,
    parameters: Map<String, Value>,
    /// Unless an output says otherwise.
    is_binary: bool,
    outputs: Vec<RequestedOutput>,
}

impl ReadRequest {
    fn read(headers: &HeaderMap, body: &[u8], model: &str, head: &Head) -> Result<Self, Refusal> {
        let (json, binary) = split(headers, body)?;
        let request: InferRequest = json::parse(json)?;
        if request.model_name.is_some_and(|other| other != model) {
            let message = "`model_name` is not the model of the path";
            return Err(Invalid::new(InvalidCode::BadParameter, "model_name", message).into());
        }
        let mut parameters = request.parameters.unwrap_or_default();
        parameters.retain(|name, _| !OF_SCHEDULERS.contains(&name.as_str()));
        Ok(Self {
            id: request.id,
            tensors: tensors(&request.inputs, head, binary)?,
            is_binary: binary_output(&mut parameters)?,
            parameters,
            outputs: request.outputs.unwrap_or_default(),
        })
    }

    fn write(self, tensors: Vec<Tensor>, model: &str) -> Result<Response, Refusal> {
        let mut bytes = Vec::new();
        let outputs = chosen(tensors, &self.outputs)?;
        let outputs = outputs.into_iter().map(|(tensor, asked)| {
            let is_binary = asked.unwrap_or(self.is_binary);
            tensor.write(is_binary.then_some(&mut bytes))
        });
        let answer = InferAnswer {
            outputs: outputs.collect(),
            model_name: model,
            model_version: VERSION,
            id: self.id,
        };
        written(&answer, bytes)
    }
}

/// The JSON of a body, and the bytes of tensors after it.
fn split<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Refusal> {
    let Some(length) = headers.get(JSON_LENGTH) else {
        return Ok((body, &[]));
    };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    length
        .and_then(|length| body.split_at_checked(length))
        .ok_or_else(|| {
            let message = "`Inference-Header-Content-Length` is not a length within the body";
            Refusal::new(Code::BadHeader, message)
        })
}

/// The tensors of a request under their known names, each once.
fn tensors(inputs: &[InputTensor], head: &Head, mut binary: &[u8]) -> Result<Vec<Tensor>, Refusal> {
    let known = || text_inputs(head).iter().chain(&ID_INPUTS).copied();
    let mut tensors: Vec<Tensor> = Vec::new();
    for input in inputs {
        let name = known().find(|name| *name == input.name).ok_or_else(|| {
            let message = format!(
                "the model takes no such tensor; it takes {}",
                name_list(known())
            );
            Refusal::from(Invalid::new(InvalidCode::UnknownField, "inputs", message))
        })?;
        if tensors.iter().any(|tensor| tensor.name == name) {
            return Err(wrong(name, "it is given twice"));
        }
        tensors.push(input.read(name, &mut binary)?);
    }
    if !binary.is_empty() {
        let message = format!("{} bytes after the JSON belong to no tensor", binary.len());
        return Err(Invalid::new(InvalidCode::WrongType, "inputs", message).into());
    }
    Ok(tensors)
}

/// Takes what a request says of all its outputs.
fn binary_output(parameters: &mut Map<String, Value>) -> Result<bool, Refusal> {
    match parameters.remove(BINARY_OUTPUT) {
        None => Ok(false),
        Some(Value::Bool(is_binary)) => Ok(is_binary),
        Some(_) => {
            let message = format!("`{BINARY_OUTPUT}` must be true or false");
            Err(Invalid::new(InvalidCode::WrongType, "parameters", message).into())
        }
    }
}

/// The texts of the tensors as the items of a request to the task.
fn items(names: &[&str], tensors: Vec<Tensor>) -> Result<Vec<Value>, Invalid> {
    let mut columns = Vec::new();
    for name in names {
        let Some(tensor) = tensors.iter().find(|tensor| tensor.name == *name) else {
            if *name == "text_pair" {
                continue;
            }
            let message = format!("tensor `{name}` is missing");
            return Err(Invalid::new(InvalidCode::MissingField, name, message));
        };
        let is_column = matches!(tensor.shape[..], [_] | [_, 1]);
        let (Values::Texts(texts), true) = (&tensor.values, is_column) else {
            let message = format!("tensor `{name}` must be BYTES of the shape [n] or [n, 1]");
            return Err(Invalid::new(InvalidCode::WrongType, name, message));
        };
        columns.push((*name, texts));
    }
    let count = columns.first().map_or(0, |(_, texts)| texts.len());
    if let Some((name, _)) = columns.iter().find(|(_, texts)| texts.len() != count) {
        let message = format!("tensor `{name}` has not as many texts as `{}`", names[0]);
        return Err(Invalid::new(InvalidCode::WrongType, name, message));
    }
    let item = |row: usize| match &columns[..] {
        [(_, texts)] => json!(texts[row]),
        columns => columns
            .iter()
            .map(|(name, texts)| ((*name).to_owned(), json!(texts[row])))
            .collect(),
    };
    Ok((0..count).map(item).collect())
}

/// The outputs that are asked for, and whether each is to be bytes.
fn chosen(
    tensors: Vec<Tensor>,
    asked: &[RequestedOutput],
) -> Result<Vec<(Tensor, Option<bool>)>, Refusal> {
    if asked.is_empty() {
        return Ok(tensors.into_iter().map(|tensor| (tensor, None)).collect());
    }
    let find = |asked: &RequestedOutput| {
        let found = tensors.iter().find(|tensor| tensor.name == asked.name);
        let found = found.cloned().ok_or_else(|| {
            let names = name_list(tensors.iter().map(|tensor| tensor.name));
            let message = format!("these inputs make no such output; they make {names}");
            Refusal::from(Invalid::new(InvalidCode::UnknownField, "outputs", message))
        })?;
        Ok((found, asked.parameters.binary_data))
    };
    let is_twice = |(index, output): (usize, &RequestedOutput)| {
        asked[..index]
            .iter()
            .any(|before| before.name == output.name)
    };
    if asked.iter().enumerate().any(is_twice) {
        let message = "an output is asked for twice";
        return Err(Invalid::new(InvalidCode::BadParameter, "outputs", message).into());
    }
    asked.iter().map(find).collect()
}

/// The answer, with the bytes of its binary tensors after the JSON.
fn written(answer: &InferAnswer<'_>, bytes: Vec<u8>) -> Result<Response, Refusal> {
    let has_binary = answer.outputs.iter().any(OutputTensor::is_binary);
    let mut body = serde_json::to_vec(answer)
        .map_err(|_| Refusal::new(Code::Internal, "the answer cannot be written as JSON"))?;
    if !has_binary {
        return Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response());
    }
    let length = HeaderValue::from(body.len());
    body.extend(bytes);
    let mut response: Response =
        ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response();
    response.headers_mut().insert(JSON_LENGTH, length);
    Ok(response)
}
