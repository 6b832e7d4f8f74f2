//! Which files of a model's folder hold its weights and its tokenizer.

use anyhow::Result;
use serde_json::Value;

use crate::checkpoint::small_files::{INDEX_FILE, SmallFiles, json};
use crate::failure::Failure;
use crate::tokenizer::{TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, VOCABULARY_FILE};

pub(super) const WEIGHTS_FILE: &str = "model.safetensors";
pub(super) const PICKLE_FILE: &str = "pytorch_model.bin";

/// The treatment of weights that are a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pickles {
    /// Python reads them, without running what is in them.
    Read,
    Refuse,
}

/// The files of the weights, relative to the model folder; safetensors where there are some.
pub(super) fn weight_files(
    small: &SmallFiles,
    listed: &[&str],
    pickles: Pickles,
) -> Result<Vec<String>> {
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
    Err(if listed.contains(&PICKLE_FILE) {
        failure
            .why(format!("it has `{PICKLE_FILE}`, a pickle, which can run code when it is opened"))
            .help(
                "on the Hub, the conversion bot offers safetensors as a pull request: give its revision, \
                 such as `--revision refs/pr/1`; or have transformers read it with `--tracer transformers`",
            )
    } else {
        failure
            .why(format!("neither `{WEIGHTS_FILE}` nor `{INDEX_FILE}` is there"))
            .help("give the folder or the id of a model with weights")
    }
    .into())
}

/// The files of the tokenizer, relative to the model folder.
pub(super) fn tokenizer_files(listed: &[&str]) -> Result<Vec<String>> {
    let wanted = if listed.contains(&TOKENIZER_FILE) {
        [TOKENIZER_FILE, TOKENIZER_CONFIG_FILE]
    } else {
        [VOCABULARY_FILE, TOKENIZER_CONFIG_FILE]
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
