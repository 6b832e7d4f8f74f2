//! What a model's own small files decide: tracer, head, limits, and which files are needed.

mod head;
mod tracer;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bucket::Input;
use crate::checkpoint::head::head;
use crate::checkpoint::tracer::{for_transformers, positions_of, torchscript_inputs};
use crate::failure::Failure;
use crate::family::{self, Head};
use crate::recipe::Task;
use crate::tokenizer::{TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, VOCABULARY_FILE};

pub use crate::checkpoint::tracer::{Asked, Tracer, TracerChoice};

const CONFIG_FILE: &str = "config.json";
const MODULES_FILE: &str = "modules.json";
const SENTENCE_CONFIG_FILE: &str = "sentence_bert_config.json";
const WEIGHTS_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";
const PICKLE_FILE: &str = "pytorch_model.bin";

/// A model as its files describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub tracer: Tracer,
    pub head: Head,
    /// What the forward takes beside the weights.
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

/// The small files of a model folder, by their name.
pub type SmallFiles = BTreeMap<String, Vec<u8>>;

/// Which of the files `listed` in a model's folder [`Checkpoint::read`] needs.
pub fn small_files<'a>(listed: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    const NAMES: [&str; 5] = [
        CONFIG_FILE,
        MODULES_FILE,
        SENTENCE_CONFIG_FILE,
        INDEX_FILE,
        TOKENIZER_CONFIG_FILE,
    ];
    listed
        .filter(|name| NAMES.contains(name) || is_module_config(name))
        .collect()
}

/// The config of a sentence-transformers module lies in a folder of its own, such as `1_Pooling`.
fn is_module_config(name: &str) -> bool {
    let numbered = name.starts_with(|first: char| first.is_ascii_digit());
    numbered && name.ends_with(CONFIG_FILE) && name.matches('/').count() == 1
}

impl Checkpoint {
    /// Reads the model's description; `listed` are all files of its folder, `task` what the user or
    /// the recipe asks for. The inputs of a model that transformers traces are not known yet, nor how
    /// many tokens its positions cover.
    pub fn read(
        small: &SmallFiles,
        listed: &[&str],
        task: Option<Task>,
        tracer: &Asked,
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
        if let Asked::Torchscript { file, inputs } = tracer {
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

/// A small file as JSON; `None` when the model does not have it.
fn json<T: DeserializeOwned>(small: &SmallFiles, name: &str) -> Result<Option<T>> {
    let Some(bytes) = small.get(name) else {
        return Ok(None);
    };
    serde_json::from_slice(bytes).map(Some).map_err(|error| {
        Failure::usage(format!("`{name}` of the model is not valid"))
            .why(error.to_string())
            .help("it is damaged or cut off: download it again")
            .into()
    })
}

/// What becomes of weights that are a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pickles {
    /// Python reads them, without running what is in them.
    Read,
    Refuse,
}

fn weight_files(small: &SmallFiles, listed: &[&str], pickles: Pickles) -> Result<Vec<String>> {
    let index: Option<Value> = json(small, INDEX_FILE)?;
    if let Some(map) = index
        .as_ref()
        .and_then(|index| index.get("weight_map")?.as_object())
    {
        let mut files: Vec<String> = map
            .values()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        if let Some(absent) = files.iter().find(|file| !listed.contains(&file.as_str())) {
            return Err(Failure::usage(format!("the model has no `{absent}`"))
                .why(format!("`{INDEX_FILE}` names it"))
                .into());
        }
        return Ok(files);
    }
    if listed.contains(&WEIGHTS_FILE) {
        return Ok(vec![WEIGHTS_FILE.to_owned()]);
    }
    if pickles == Pickles::Read && listed.contains(&PICKLE_FILE) {
        return Ok(vec![PICKLE_FILE.to_owned()]);
    }
    let failure = Failure::usage("the model has no safetensors weights");
    Err(match listed.contains(&PICKLE_FILE) {
        true => failure
            .why(format!("it has `{PICKLE_FILE}`, a pickle, which can run code when it is opened"))
            .help(
                "on the Hub, the conversion bot offers safetensors as a pull request: give its revision, \
                 such as `--revision refs/pr/1`; or have transformers read it with `--tracer transformers`",
            ),
        false => failure
            .why(format!("neither `{WEIGHTS_FILE}` nor `{INDEX_FILE}` is there"))
            .help("give the folder or the id of a model with weights"),
    }
    .into())
}

fn tokenizer_files(listed: &[&str]) -> Result<Vec<String>> {
    let wanted: &[&str] = match listed.contains(&TOKENIZER_FILE) {
        true => &[TOKENIZER_FILE, TOKENIZER_CONFIG_FILE],
        false => &[VOCABULARY_FILE, TOKENIZER_CONFIG_FILE],
    };
    if !listed.contains(&wanted[0]) {
        return Err(
            Failure::usage(format!("the model has no `{TOKENIZER_FILE}`"))
                .why(format!("nor `{VOCABULARY_FILE}`"))
                .help(
                    "save the tokenizer beside the model with `tokenizer.save_pretrained(FOLDER)`",
                )
                .into(),
        );
    }
    let present = wanted.iter().filter(|name| listed.contains(name));
    Ok(present.map(|name| (*name).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Pooling;
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
        let checkpoint = Checkpoint::read(&files, &LISTED, None, &Asked::Nothing).unwrap();
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
        let checkpoint = Checkpoint::read(
            &small(&[(CONFIG_FILE, config)]),
            &LISTED,
            None,
            &Asked::Nothing,
        )
        .unwrap();
        let labels = ["A", "B", "C"].map(str::to_owned).to_vec();
        assert_eq!(checkpoint.head, Head::TokenClassification { labels });
    }

    #[test]
    fn pickles_are_refused_with_what_to_do() {
        let files = small(&[(CONFIG_FILE, bert("BertModel"))]);
        let listed = [CONFIG_FILE, PICKLE_FILE, TOKENIZER_FILE];
        let error = Checkpoint::read(&files, &listed, None, &Asked::Nothing)
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
        let error = Checkpoint::read(
            &small(&[(CONFIG_FILE, config)]),
            &LISTED,
            None,
            &Asked::Nothing,
        )
        .unwrap_err();
        assert!(error.to_string().contains("code"), "{error}");
    }

    #[test]
    fn a_module_that_is_not_implemented_is_named() {
        let modules = json!([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]);
        let files = small(&[(CONFIG_FILE, bert("BertModel")), (MODULES_FILE, modules)]);
        let error = Checkpoint::read(&files, &LISTED, None, &Asked::Nothing)
            .unwrap_err()
            .to_string();
        assert!(error.contains("`Dense`"), "{error}");
    }
}
