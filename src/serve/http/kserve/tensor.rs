//! Tensors of the protocol: read from JSON or from the bytes after it, and written as either.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::family::Head;
use crate::serve::request::refusal::Refusal;
use crate::task::invalid::{Invalid, InvalidCode};

/// Token ids, 1 for each token and 0 for padding, and segments; the last one may be left out.
pub(super) const ID_INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// The tensors of text that a task takes; of a text classification, the pair may be left out.
pub(super) fn text_inputs(head: &Head) -> &'static [&'static str] {
    match head {
        Head::QuestionAnswering => &["question", "context"],
        Head::TextClassification { .. } => &["text", "text_pair"],
        _ => &["text"],
    }
}

/// A tensor of a request.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputTensor {
    pub(super) name: String,
    shape: Vec<usize>,
    datatype: Datatype,
    /// `binary_data_size`: the values are so many of the bytes after the JSON.
    parameters: Option<Map<String, Value>>,
    /// The values, flat or nested; absent where they follow the JSON as bytes.
    data: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Datatype {
    Int64,
    Bytes,
    Fp32,
}

/// A tensor with its values in row order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) name: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Values {
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Floats(Vec<f32>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Ints(values) => values.len(),
            Values::Texts(values) => values.len(),
            Values::Floats(values) => values.len(),
        }
    }
}

/// A tensor of an answer, as JSON.
#[derive(Serialize, JsonSchema)]
pub(super) struct OutputTensor {
    name: &'static str,
    datatype: Datatype,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    /// Flat; absent where the values follow the JSON as bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Values>,
}

#[derive(Serialize, JsonSchema)]
struct BinarySize {
    binary_data_size: usize,
}

pub(super) fn wrong(name: &str, why: &str) -> Refusal {
    Invalid::new(
        InvalidCode::WrongType,
        name,
        format!("tensor `{name}`: {why}"),
    )
    .into()
}

impl InputTensor {
    /// The tensor under its known name; takes its bytes from the front of `binary`.
    pub(super) fn read(&self, name: &'static str, binary: &mut &[u8]) -> Result<Tensor, Refusal> {
        let values = match self.binary_size()? {
            Some(size) => {
                let bytes = binary.split_off(..size).ok_or_else(|| {
                    wrong(name, "`binary_data_size` is beyond the end of the body")
                })?;
                self.binary_values(name, bytes)?
            }
            None => self.json_values(name)?,
        };
        let size = self
            .shape
            .iter()
            .try_fold(1, |size: usize, n| size.checked_mul(*n));
        if size != Some(values.len()) {
            let (shape, count) = (&self.shape, values.len());
            return Err(wrong(
                name,
                &format!("{count} values are not of the shape {shape:?}"),
            ));
        }
        Ok(Tensor {
            name,
            shape: self.shape.clone(),
            values,
        })
    }

    fn binary_size(&self) -> Result<Option<usize>, Refusal> {
        const SIZE: &str = "binary_data_size";
        let Some(parameters) = &self.parameters else {
            return Ok(None);
        };
        if let Some(other) = parameters.keys().find(|key| *key != SIZE) {
            let other: String = other.chars().take(40).collect();
            return Err(wrong(
                &self.name,
                &format!("there is no parameter `{other}`"),
            ));
        }
        let Some(size) = parameters.get(SIZE) else {
            return Ok(None);
        };
        let number = size.as_u64().and_then(|size| usize::try_from(size).ok());
        let number = number.ok_or_else(|| wrong(&self.name, "`binary_data_size` is no size"))?;
        if self.data.is_some() {
            return Err(wrong(
                &self.name,
                "it has both `data` and `binary_data_size`",
            ));
        }
        Ok(Some(number))
    }

    fn binary_values(&self, name: &str, bytes: &[u8]) -> Result<Values, Refusal> {
        match self.datatype {
            Datatype::Int64 => {
                let (chunks, []) = bytes.as_chunks::<8>() else {
                    return Err(wrong(name, "its bytes are not a whole number of INT64"));
                };
                Ok(Values::Ints(
                    chunks
                        .iter()
                        .map(|chunk| i64::from_le_bytes(*chunk))
                        .collect(),
                ))
            }
            Datatype::Bytes => texts(bytes).map(Values::Texts).ok_or_else(|| {
                wrong(
                    name,
                    "its bytes are not texts in UTF-8, each after its length",
                )
            }),
            Datatype::Fp32 => Err(wrong(name, "FP32 is no type of an input")),
        }
    }

    fn json_values(&self, name: &str) -> Result<Values, Refusal> {
        let data = self
            .data
            .as_ref()
            .ok_or_else(|| wrong(name, "it has no `data`"))?;
        let mut flat = Vec::new();
        flatten(data, &mut flat);
        match self.datatype {
            Datatype::Int64 => {
                let ints = flat.into_iter().map(Value::as_i64).collect::<Option<_>>();
                ints.map(Values::Ints)
                    .ok_or_else(|| wrong(name, "a value is no INT64"))
            }
            Datatype::Bytes => {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let texts = flat.into_iter().map(text).collect::<Option<_>>();
                texts
                    .map(Values::Texts)
                    .ok_or_else(|| wrong(name, "a value is no string"))
            }
            Datatype::Fp32 => Err(wrong(name, "FP32 is no type of an input")),
        }
    }
}

/// The values of lists in lists; as deep as JSON is read.
fn flatten<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        value => into.push(value),
    }
}

/// Texts that each follow their length in 4 bytes.
fn texts(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.split_off(..4)?.try_into().ok()?;
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        let text = bytes.split_off(..length)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
    }
    Some(texts)
}

impl Tensor {
    /// The tensor for an answer; with `binary` its values are appended there.
    pub(super) fn write(self, binary: Option<&mut Vec<u8>>) -> OutputTensor {
        let datatype = match &self.values {
            Values::Ints(_) => Datatype::Int64,
            Values::Texts(_) => Datatype::Bytes,
            Values::Floats(_) => Datatype::Fp32,
        };
        let (parameters, data) = match binary {
            Some(bytes) => {
                let before = bytes.len();
                self.values.append_to(bytes);
                let binary_data_size = bytes.len() - before;
                (Some(BinarySize { binary_data_size }), None)
            }
            None => (None, Some(self.values)),
        };
        OutputTensor {
            name: self.name,
            datatype,
            shape: self.shape,
            parameters,
            data,
        }
    }
}

impl OutputTensor {
    pub(super) fn is_binary(&self) -> bool {
        self.parameters.is_some()
    }
}

impl Values {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Values::Ints(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Values::Floats(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Values::Texts(texts) => {
                for text in texts {
                    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    bytes.extend(length.to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input(value: Value) -> InputTensor {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn values_come_flat_nested_or_as_bytes() {
        let nested =
            input(json!({"name": "x", "shape": [2, 1], "datatype": "INT64", "data": [[1], [2]]}));
        let expected = Values::Ints(vec![1, 2]);
        assert_eq!(nested.read("x", &mut &[][..]).unwrap().values, expected);
        let binary = input(json!({"name": "x", "shape": [2], "datatype": "INT64",
            "parameters": {"binary_data_size": 16}}));
        let mut bytes = Vec::new();
        expected.append_to(&mut bytes);
        bytes.push(7);
        let mut rest = &bytes[..];
        assert_eq!(binary.read("x", &mut rest).unwrap().values, expected);
        assert_eq!(rest, [7]);
    }

    #[test]
    fn texts_come_back_from_their_bytes() {
        let values = Values::Texts(vec!["a 東".to_owned(), String::new()]);
        let mut bytes = Vec::new();
        values.append_to(&mut bytes);
        assert_eq!(texts(&bytes).map(Values::Texts), Some(values));
        assert_eq!(texts(&[1, 0, 0]), None);
        assert_eq!(texts(&[9, 0, 0, 0, b'a']), None);
        assert_eq!(texts(&[1, 0, 0, 0, 0xff]), None);
    }

    #[test]
    fn what_does_not_fit_its_shape_is_refused() {
        for (shape, data) in [
            (json!([2]), json!([1])),
            (json!([usize::MAX, 3]), json!([1])),
        ] {
            let tensor =
                input(json!({"name": "x", "shape": shape, "datatype": "INT64", "data": data}));
            assert!(tensor.read("x", &mut &[][..]).is_err());
        }
    }
}
