//! The small files of a model's folder: which are needed, and their content as JSON.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::tokenizer::TOKENIZER_CONFIG_FILE;

pub(super) const CONFIG_FILE: &str = "config.json";
pub(super) const MODULES_FILE: &str = "modules.json";
pub(super) const SENTENCE_CONFIG_FILE: &str = "sentence_bert_config.json";
pub(super) const INDEX_FILE: &str = "model.safetensors.index.json";

/// The small files of a model folder, by their name.
pub type SmallFiles = BTreeMap<String, Vec<u8>>;

/// Which of the files `listed` in a model's folder [`crate::checkpoint::Checkpoint::resolve`] needs.
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

/// A small file as JSON; `None` when the model does not have it.
pub(super) fn json<T: DeserializeOwned>(small: &SmallFiles, name: &str) -> Result<Option<T>> {
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
