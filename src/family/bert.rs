//! The BERT family: its config and its weights.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::family::Head;
use crate::family::weights::{Use, WeightSpec};

/// The dimensions of a BERT model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f64,
    pub hidden_act: Activation,
    pub pad_token_id: i64,
}

/// The activation between the two feed-forward layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// The exact form, with the error function.
    #[serde(rename = "gelu")]
    Gelu,
    /// The tanh approximation.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    #[serde(rename = "relu")]
    Relu,
}

/// Settings of `BertConfig` that change the computation, each with the one value implemented.
fn fixed_settings() -> [(&'static str, Value); 4] {
    [
        ("position_embedding_type", "absolute".into()),
        ("is_decoder", false.into()),
        ("add_cross_attention", false.into()),
        ("chunk_size_feed_forward", 0.into()),
    ]
}

impl BertConfig {
    /// Reads `config.json`; missing keys take the defaults of transformers' `BertConfig`.
    pub fn from_config(config: &Value) -> Result<Self> {
        for (key, implemented) in fixed_settings() {
            match config.get(key) {
                None | Some(Value::Null) => {}
                Some(value) if *value == implemented => {}
                Some(value) => return Err(not_implemented(key, value, &implemented.to_string())),
            }
        }
        let mut fields = serde_json::Map::new();
        for (key, default) in defaults() {
            let value = config.get(key).filter(|value| !value.is_null()).cloned();
            fields.insert(key.to_owned(), value.unwrap_or(default));
        }
        if let Some(act) = fields.get("hidden_act")
            && serde_json::from_value::<Activation>(act.clone()).is_err()
        {
            return Err(not_implemented(
                "hidden_act",
                act,
                "`gelu`, `gelu_new` or `relu`",
            ));
        }
        let config: Self = serde_json::from_value(Value::Object(fields)).map_err(|error| {
            Failure::usage("config.json is not a BERT config").why(error.to_string())
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(Failure::usage(format!("config.json: `{key}` is 0")).into());
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Failure::usage(format!(
                "config.json: `hidden_size` {} is not a multiple of `num_attention_heads` {}",
                self.hidden_size, self.num_attention_heads
            ))
            .into());
        }
        Ok(())
    }

    /// The weights of the encoder and of `head`, in the order in which the forward takes them.
    pub fn weights(&self, head: &Head) -> Vec<WeightSpec> {
        let mut weights = self.encoder_weights();
        if let Head::FillMask { tied: true } = head {
            // The vocabulary product takes the table as it is; a lookup takes it in any type.
            weights[0].used_as = Use::Matmul;
        }
        weights.extend(self.head_weights(head));
        weights
    }

    fn encoder_weights(&self) -> Vec<WeightSpec> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let mut weights = vec![
            table("embeddings.word_embeddings", self.vocab_size, hidden),
            table(
                "embeddings.position_embeddings",
                self.max_position_embeddings,
                hidden,
            ),
            table(
                "embeddings.token_type_embeddings",
                self.type_vocab_size,
                hidden,
            ),
        ];
        weights.extend(layer_norm("embeddings.LayerNorm", hidden));
        for layer in 0..self.num_hidden_layers {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            for part in ["query", "key", "value"] {
                weights.extend(linear(
                    &name(&format!("attention.self.{part}")),
                    hidden,
                    hidden,
                ));
            }
            weights.extend(linear(&name("attention.output.dense"), hidden, hidden));
            weights.extend(layer_norm(&name("attention.output.LayerNorm"), hidden));
            weights.extend(linear(&name("intermediate.dense"), inner, hidden));
            weights.extend(linear(&name("output.dense"), hidden, inner));
            weights.extend(layer_norm(&name("output.LayerNorm"), hidden));
        }
        weights
            .into_iter()
            .map(|weight| weight.or_prefixed("bert."))
            .collect()
    }

    fn head_weights(&self, head: &Head) -> Vec<WeightSpec> {
        let hidden = self.hidden_size;
        match head {
            Head::FeatureExtraction { .. } => Vec::new(),
            Head::QuestionAnswering => linear("qa_outputs", 2, hidden).into(),
            Head::TokenClassification { labels } => {
                linear("classifier", labels.len(), hidden).into()
            }
            Head::TextClassification { labels, .. } => {
                let pooler = linear("pooler.dense", hidden, hidden);
                let pooler = pooler.map(|weight| weight.or_prefixed("bert."));
                pooler
                    .into_iter()
                    .chain(linear("classifier", labels.len(), hidden))
                    .collect()
            }
            Head::FillMask { tied } => {
                let transform = "cls.predictions.transform";
                let mut weights: Vec<WeightSpec> =
                    linear(&format!("{transform}.dense"), hidden, hidden).into();
                weights.extend(layer_norm(&format!("{transform}.LayerNorm"), hidden));
                if !tied {
                    let [weight, _] = linear("cls.predictions.decoder", self.vocab_size, hidden);
                    weights.push(weight);
                }
                weights.push(
                    WeightSpec::new("cls.predictions.bias", &[self.vocab_size], Use::Other)
                        .or_named("cls.predictions.decoder.bias"),
                );
                weights
            }
        }
    }
}

fn table(name: &str, rows: usize, columns: usize) -> WeightSpec {
    WeightSpec::new(&format!("{name}.weight"), &[rows, columns], Use::Embedding)
}

/// Weight `[outputs, inputs]` and bias `[outputs]` of a linear layer.
fn linear(name: &str, outputs: usize, inputs: usize) -> [WeightSpec; 2] {
    [
        WeightSpec::new(&format!("{name}.weight"), &[outputs, inputs], Use::Matmul),
        WeightSpec::new(&format!("{name}.bias"), &[outputs], Use::Matmul),
    ]
}

/// Scale and shift of a layer norm; checkpoints converted from TensorFlow say gamma and beta.
fn layer_norm(name: &str, size: usize) -> [WeightSpec; 2] {
    [("weight", "gamma"), ("bias", "beta")].map(|(ours, theirs)| {
        WeightSpec::new(&format!("{name}.{ours}"), &[size], Use::Other)
            .or_named(&format!("{name}.{theirs}"))
    })
}

fn not_implemented(key: &str, value: &Value, implemented: &str) -> anyhow::Error {
    Failure::usage(format!(
        "config.json: `{key}` is {value}, which the bert family does not implement"
    ))
    .why(format!("implemented: {implemented}"))
    .help("choose a model with that setting, or trace this one with another tool")
    .into()
}

/// Defaults of transformers' `BertConfig` for the keys that [`BertConfig`] has.
fn defaults() -> [(&'static str, Value); 10] {
    [
        ("vocab_size", 30522.into()),
        ("hidden_size", 768.into()),
        ("num_hidden_layers", 12.into()),
        ("num_attention_heads", 12.into()),
        ("intermediate_size", 3072.into()),
        ("max_position_embeddings", 512.into()),
        ("type_vocab_size", 2.into()),
        ("layer_norm_eps", 1e-12.into()),
        ("hidden_act", "gelu".into()),
        ("pad_token_id", 0.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_setting_that_is_not_implemented_is_refused_by_name() {
        for (key, value) in [
            ("hidden_act", json!("silu")),
            ("position_embedding_type", json!("relative_key")),
            ("is_decoder", json!(true)),
        ] {
            let error =
                BertConfig::from_config(&json!({ "model_type": "bert", key: value })).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn missing_keys_take_the_defaults_of_transformers() {
        let config =
            BertConfig::from_config(&json!({"hidden_size": 384, "is_decoder": null})).unwrap();
        assert_eq!((config.hidden_size, config.num_hidden_layers), (384, 12));
    }

    #[test]
    fn heads_must_divide_the_hidden_size() {
        let error = BertConfig::from_config(&json!({"num_attention_heads": 7})).unwrap_err();
        assert!(error.to_string().contains("768"), "{error}");
    }

    #[test]
    fn a_tied_decoder_is_not_asked_for_twice() {
        let config = BertConfig::from_config(&json!({})).unwrap();
        let count = |tied| config.weights(&Head::FillMask { tied }).len();
        assert_eq!(count(false), count(true) + 1);
    }
}
