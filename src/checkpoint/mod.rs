//! What a model's own small files decide: tracer, head, limits, and which files are needed.

mod head;
mod model_files;
mod small_files;
mod tracer;

use anyhow::Result;
use serde_json::Value;

use crate::bucket::Input;
use crate::checkpoint::head::head;
use crate::checkpoint::model_files::{Pickles, tokenizer_files, weight_files};
use crate::checkpoint::small_files::{CONFIG_FILE, SENTENCE_CONFIG_FILE, json};
use crate::checkpoint::tracer::{for_transformers, positions_of, torchscript_inputs};
use crate::failure::Failure;
use crate::family::{self, Head};
use crate::recipe::Task;

pub use crate::checkpoint::small_files::{SmallFiles, small_files};
pub use crate::checkpoint::tracer::{RequestedTracer, Tracer, TracerChoice};

/// A model as its files describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub tracer: Tracer,
    pub head: Head,
    /// The inputs of the forward beside the weights.
    pub inputs: Vec<Input>,
    /// The token id that fills unused places.
    pub pad_id: i64,
    /// The longest input: the smaller of what the positions cover and what the model was made for.
    pub max_tokens: usize,
    /// The files of the weights, relative to the model folder.
    pub weight_files: Vec<String>,
    /// The files of the tokenizer, relative to the model folder.
    pub tokenizer_files: Vec<String>,
}

impl Checkpoint {
    /// The model that the files `small` describe; `listed` are all files of its folder, `task` what the
    /// user or the recipe asks for. The inputs of a model that transformers traces are not known yet, nor how
    /// many tokens its positions cover.
    pub fn resolve(
        small: &SmallFiles,
        listed: &[&str],
        task: Option<Task>,
        tracer: &RequestedTracer,
    ) -> Result<Self> {
        let config: Value = json(small, CONFIG_FILE)?.ok_or_else(no_config)?;
        if config.get("auto_map").is_some() {
            return Err(Failure::usage("the model needs code from its repository")
                .why("config.json has `auto_map`; neuronc never runs remote code")
                .help("choose a model of a family that transformers implements itself")
                .into());
        }
        let head = head(small, &config, task)?;
        let sentence: Option<Value> = json(small, SENTENCE_CONFIG_FILE)?;
        let limit = sentence
            .as_ref()
            .and_then(|settings| settings.get("max_seq_length")?.as_u64())
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(usize::MAX);
        let tokenizer_files = tokenizer_files(listed)?;
        if let RequestedTracer::Torchscript { file, inputs } = tracer {
            return Ok(Self {
                max_tokens: limit.min(positions_of(&config)),
                inputs: torchscript_inputs(inputs, &head),
                pad_id: config
                    .get("pad_token_id")
                    .and_then(Value::as_i64)
                    .unwrap_or(0),
                tracer: Tracer::Torchscript { file: file.clone() },
                head,
                weight_files: vec![file.clone()],
                tokenizer_files,
            });
        }
        if let Some(model_type) = for_transformers(&config, tracer) {
            return Ok(Self {
                max_tokens: limit,
                inputs: Vec::new(),
                pad_id: 0,
                tracer: Tracer::Transformers { model_type },
                head,
                weight_files: weight_files(small, listed, Pickles::Read)?,
                tokenizer_files,
            });
        }
        let spec = family::resolve(&config, &head)?;
        Ok(Self {
            max_tokens: limit.min(spec.encoder.tokens_max()),
            inputs: spec.inputs(),
            pad_id: spec.encoder.pad_id,
            tracer: Tracer::Native { spec },
            head,
            weight_files: weight_files(small, listed, Pickles::Refuse)?,
            tokenizer_files,
        })
    }
}

fn no_config() -> Failure {
    Failure::usage(format!("the model has no `{CONFIG_FILE}`"))
        .why("it says which family the model is of, and its dimensions")
        .help("give the folder or the id of a transformers model")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::model_files::{PICKLE_FILE, WEIGHTS_FILE};
    use crate::checkpoint::small_files::MODULES_FILE;
    use crate::family::Pooling;
    use crate::tokenizer::TOKENIZER_FILE;
    use serde_json::json;

    const LISTED: [&str; 3] = [CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE];

    fn small(files: &[(&str, Value)]) -> SmallFiles {
        let text = |value: &Value| value.to_string().into_bytes();
        files
            .iter()
            .map(|(name, value)| ((*name).to_owned(), text(value)))
            .collect()
    }

    fn bert(architecture: &str) -> Value {
        json!({"model_type": "bert", "architectures": [architecture], "max_position_embeddings": 512})
    }

    #[test]
    fn sentence_transformers_modules_decide_the_head_and_the_limit() {
        let files = small(&[
            (CONFIG_FILE, bert("BertModel")),
            (
                MODULES_FILE,
                json!([{"type": "sentence_transformers.models.Transformer", "path": ""},
                       {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
                       {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}]),
            ),
            (
                "1_Pooling/config.json",
                json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}),
            ),
            (SENTENCE_CONFIG_FILE, json!({"max_seq_length": 256})),
        ]);
        let checkpoint =
            Checkpoint::resolve(&files, &LISTED, None, &RequestedTracer::Automatic).unwrap();
        assert_eq!(checkpoint.max_tokens, 256);
        let head = Head::FeatureExtraction {
            pooling: Some(Pooling::Mean),
            normalize: true,
        };
        assert_eq!(checkpoint.head, head);
    }

    #[test]
    fn labels_follow_their_ids() {
        let mut config = bert("BertForTokenClassification");
        config["id2label"] = json!({"1": "B", "0": "A", "2": "C"});
        let checkpoint = Checkpoint::resolve(
            &small(&[(CONFIG_FILE, config)]),
            &LISTED,
            None,
            &RequestedTracer::Automatic,
        )
        .unwrap();
        let labels = ["A", "B", "C"].map(str::to_owned).to_vec();
        assert_eq!(checkpoint.head, Head::TokenClassification { labels });
    }

    #[test]
    fn pickles_are_refused_with_what_to_do() {
        let files = small(&[(CONFIG_FILE, bert("BertModel"))]);
        let listed = [CONFIG_FILE, PICKLE_FILE, TOKENIZER_FILE];
        let error = Checkpoint::resolve(&files, &listed, None, &RequestedTracer::Automatic)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pickle") && error.contains("refs/pr/"),
            "{error}"
        );
    }

    #[test]
    fn remote_code_is_refused() {
        let mut config = bert("BertModel");
        config["auto_map"] = json!({"AutoModel": "x.py"});
        let error = Checkpoint::resolve(
            &small(&[(CONFIG_FILE, config)]),
            &LISTED,
            None,
            &RequestedTracer::Automatic,
        )
        .unwrap_err();
        assert!(error.to_string().contains("code"), "{error}");
    }

    #[test]
    fn a_module_that_is_not_implemented_is_named() {
        let modules = json!([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]);
        let files = small(&[(CONFIG_FILE, bert("BertModel")), (MODULES_FILE, modules)]);
        let error = Checkpoint::resolve(&files, &LISTED, None, &RequestedTracer::Automatic)
            .unwrap_err()
            .to_string();
        assert!(error.contains("`Dense`"), "{error}");
    }
}
