//! The BERT family: from its `config.json` to a specification.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::family::head::Head;
use crate::family::names::{EncoderNames, EncoderPart};
use crate::family::spec::{
    Activation, AttentionSpec, EncoderSpec, FeedForwardKind, FeedForwardSpec, HeadStep, ModelSpec,
    NormKind, NormPlace, NormSpec, PositionSpec,
};

/// The keys of `config.json` that decide the forward.
#[derive(Debug, Deserialize)]
struct BertConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
    hidden_act: Activation,
    pad_token_id: i64,
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

/// The values of `hidden_act` that are implemented; a head has tanh, but no layer.
const ACTIVATIONS: [&str; 4] = ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"];

/// Settings of `BertConfig` that change the computation, each with the one value implemented.
fn fixed_settings() -> [(&'static str, Value); 4] {
    [
        ("position_embedding_type", "absolute".into()),
        ("is_decoder", false.into()),
        ("add_cross_attention", false.into()),
        ("chunk_size_feed_forward", 0.into()),
    ]
}

/// The prefix of the encoder's names in checkpoints that have a head as well.
const PREFIX: &str = "bert.";

/// The specification of the model of `config` with `head`. Missing keys take the defaults of
/// transformers' `BertConfig`.
pub(super) fn resolve(config: &Value, head: &Head) -> Result<ModelSpec> {
    let config = BertConfig::parse(config)?;
    Ok(ModelSpec {
        family: "bert".to_owned(),
        head: config.head_steps(head)?,
        encoder: config.encoder(),
    })
}

impl BertConfig {
    fn parse(config: &Value) -> Result<Self> {
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
            && !ACTIVATIONS.iter().any(|name| act == name)
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

    fn encoder(&self) -> EncoderSpec {
        // The names in bundles are BERT's.
        let names = EncoderPart::ALL.map(|part| (part, vec![part.pattern().to_owned()]));
        EncoderSpec {
            vocabulary: self.vocab_size,
            hidden: self.hidden_size,
            layers: self.num_hidden_layers,
            pad_id: self.pad_token_id,
            positions: PositionSpec::Absolute {
                rows: self.max_position_embeddings,
                offset: 0,
            },
            token_types: Some(self.type_vocab_size),
            norm: NormSpec {
                kind: NormKind::Layer,
                place: NormPlace::Post,
                epsilon: self.layer_norm_eps,
            },
            attention: AttentionSpec {
                heads: self.num_attention_heads,
            },
            feed_forward: FeedForwardSpec {
                kind: FeedForwardKind::Plain,
                width: self.intermediate_size,
                activation: self.hidden_act,
            },
            names: EncoderNames {
                prefixes: vec![String::new(), PREFIX.to_owned()],
                parts: BTreeMap::from(names),
            },
        }
    }

    fn head_steps(&self, head: &Head) -> Result<Vec<HeadStep>> {
        let classifier = |outputs: usize| dense("classifier", outputs, None);
        Ok(match head {
            Head::FeatureExtraction { pooling, normalize } => {
                if pooling.is_none() && *normalize {
                    return Err(Failure::usage("the embeddings of tokens are not normalized")
                        .why("modules.json has a Normalize module and no Pooling module before it")
                        .help("choose a model whose modules make one embedding of a text")
                        .into());
                }
                let pool = pooling.map(HeadStep::Pool);
                let normalize = normalize.then_some(HeadStep::Normalize);
                pool.into_iter().chain(normalize).collect()
            }
            Head::QuestionAnswering => vec![dense("qa_outputs", 2, None)],
            Head::TokenClassification { labels } => vec![classifier(labels.len())],
            Head::TextClassification { labels, .. } => vec![
                HeadStep::FirstToken,
                HeadStep::Dense {
                    name: "pooler.dense".to_owned(),
                    also: vec![format!("{PREFIX}pooler.dense")],
                    outputs: self.hidden_size,
                    activation: Some(Activation::Tanh),
                },
                classifier(labels.len()),
            ],
            Head::FillMask { tied } => vec![
                HeadStep::TokenAtPosition,
                dense(
                    "cls.predictions.transform.dense",
                    self.hidden_size,
                    Some(self.hidden_act),
                ),
                HeadStep::Norm {
                    name: "cls.predictions.transform.LayerNorm".to_owned(),
                },
                HeadStep::Decode {
                    table: (!tied).then(|| "cls.predictions.decoder".to_owned()),
                    bias: "cls.predictions.bias".to_owned(),
                    also: vec!["cls.predictions.decoder.bias".to_owned()],
                },
            ],
        })
    }
}

/// A linear layer that checkpoints have under one name.
fn dense(name: &str, outputs: usize, activation: Option<Activation>) -> HeadStep {
    HeadStep::Dense {
        name: name.to_owned(),
        also: Vec::new(),
        outputs,
        activation,
    }
}

fn not_implemented(key: &str, value: &Value, implemented: &str) -> anyhow::Error {
    Failure::usage(format!(
        "config.json: `{key}` is {value}, which the bert family does not implement"
    ))
    .why(format!("implemented: {implemented}"))
    .help("choose a model with that setting, or trace this one with another tool")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{Pooling, Scores};
    use serde_json::json;

    #[test]
    fn a_setting_that_is_not_implemented_is_refused_by_name() {
        for (key, value) in [
            ("hidden_act", json!("silu")),
            ("hidden_act", json!("tanh")),
            ("position_embedding_type", json!("relative_key")),
            ("is_decoder", json!(true)),
        ] {
            let error =
                resolve(&json!({ "model_type": "bert", key: value }), &ANSWERS).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    const ANSWERS: Head = Head::QuestionAnswering;

    #[test]
    fn missing_keys_take_the_defaults_of_transformers() {
        let config = json!({"hidden_size": 384, "is_decoder": null});
        let encoder = resolve(&config, &ANSWERS).unwrap().encoder;
        assert_eq!((encoder.hidden, encoder.layers), (384, 12));
        assert_eq!((encoder.tokens_max(), encoder.token_types), (512, Some(2)));
    }

    #[test]
    fn heads_must_divide_the_hidden_size() {
        let error = resolve(&json!({"num_attention_heads": 7}), &ANSWERS).unwrap_err();
        assert!(error.to_string().contains("768"), "{error}");
    }

    #[test]
    fn a_tied_decoder_is_not_asked_for_twice() {
        let weights = |tied| {
            let spec = resolve(&json!({}), &Head::FillMask { tied }).unwrap();
            spec.weights().len()
        };
        assert_eq!(weights(false), weights(true) + 1);
    }

    #[test]
    fn the_layout_of_the_output_is_what_the_head_says_of_it() {
        let labels = || vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let embedding = |pooling| Head::FeatureExtraction {
            pooling,
            normalize: false,
        };
        let heads = [
            (embedding(None), 384),
            (embedding(Some(Pooling::Mean)), 384),
            (Head::QuestionAnswering, 2),
            (
                Head::TextClassification {
                    labels: labels(),
                    scores: Scores::Softmax,
                },
                3,
            ),
            (Head::TokenClassification { labels: labels() }, 3),
            (Head::FillMask { tied: true }, 30_522),
        ];
        for (head, width) in heads {
            let spec = resolve(&json!({"hidden_size": 384}), &head).unwrap();
            assert_eq!(spec.output().width, width, "{head:?}");
            assert!(head.output().allows(&spec.output()), "{head:?}");
        }
    }

    #[test]
    fn only_a_pooled_embedding_can_be_normalized() {
        let head = Head::FeatureExtraction {
            pooling: None,
            normalize: true,
        };
        let error = resolve(&json!({}), &head).unwrap_err().to_string();
        assert!(error.contains("no Pooling"), "{error}");
    }
}
