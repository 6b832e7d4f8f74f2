//! The head of a model, by its small files.

use anyhow::Result;
use serde_json::Value;

use crate::checkpoint::small_files::{CONFIG_FILE, MODULES_FILE, SmallFiles, json};
use crate::failure::{Failure, name_list};
use crate::family::{Head, Pooling, Scores};
use crate::recipe::Task;

pub(super) fn head(small: &SmallFiles, config: &Value, requested: Option<Task>) -> Result<Head> {
    let task = match requested {
        Some(task) => task,
        None => task_of(config)?,
    };
    Ok(match task {
        Task::FeatureExtraction => sentence_head(small)?,
        Task::QuestionAnswering => Head::QuestionAnswering,
        Task::TextClassification => {
            let labels = labels(config)?;
            Head::TextClassification {
                scores: scores(config, labels.len()),
                labels,
            }
        }
        Task::TokenClassification => Head::TokenClassification {
            labels: labels(config)?,
        },
        Task::FillMask => Head::FillMask {
            tied: config
                .get("tie_word_embeddings")
                .and_then(Value::as_bool)
                .unwrap_or(true),
        },
    })
}

fn task_of(config: &Value) -> Result<Task> {
    let architectures: Vec<&str> = config
        .get("architectures")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    architectures
        .iter()
        .find_map(|architecture| Task::of_architecture(architecture))
        .ok_or_else(|| {
            let named = name_list(architectures.iter().copied());
            Failure::usage("the task does not follow from config.json")
                .why(format!("`architectures` there: {named}"))
                .help(format!(
                    "give `--task`: {}",
                    name_list(Task::ALL.map(Task::name))
                ))
                .into()
        })
}

/// Labels in the order of their ids; transformers' default names where the config has none.
fn labels(config: &Value) -> Result<Vec<String>> {
    let Some(map) = config.get("id2label").and_then(Value::as_object) else {
        let count = config
            .get("num_labels")
            .and_then(Value::as_u64)
            .unwrap_or(2);
        return Ok((0..count).map(|id| format!("LABEL_{id}")).collect());
    };
    (0..map.len())
        .map(|id| {
            let label = map.get(&id.to_string()).and_then(Value::as_str);
            label.map(str::to_owned).ok_or_else(|| {
                Failure::usage("config.json: `id2label` does not number its labels from 0")
                    .why(format!("it has {} entries and none for {id}", map.len()))
                    .into()
            })
        })
        .collect()
}

/// As transformers' text classification pipeline chooses.
fn scores(config: &Value, labels: usize) -> Scores {
    match config.get("problem_type").and_then(Value::as_str) {
        Some("regression") => Scores::Logits,
        Some("multi_label_classification") => Scores::Sigmoid,
        _ if labels == 1 => Scores::Sigmoid,
        _ => Scores::Softmax,
    }
}

/// The modules that sentence-transformers would run after the encoder; token embeddings without.
fn sentence_head(small: &SmallFiles) -> Result<Head> {
    let modules: Option<Vec<SentenceModule>> = json(small, MODULES_FILE)?;
    let mut pooling = None;
    let mut normalize = false;
    for module in modules.unwrap_or_default() {
        let kind = module.kind.rsplit('.').next().unwrap_or_default();
        match kind {
            "Transformer" => {}
            "Pooling" => pooling = Some(pooling_of(small, &module.path)?),
            "Normalize" => normalize = true,
            _ => {
                return Err(Failure::usage(format!(
                    "{MODULES_FILE}: module `{kind}` is not implemented"
                ))
                .why(format!("`{}` runs it after the encoder", module.path))
                .help(format!(
                    "implemented: {}",
                    name_list(["Transformer", "Pooling", "Normalize"])
                ))
                .into());
            }
        }
    }
    Ok(Head::FeatureExtraction { pooling, normalize })
}

/// A row of `modules.json`.
#[derive(serde::Deserialize)]
struct SentenceModule {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

fn pooling_of(small: &SmallFiles, folder: &str) -> Result<Pooling> {
    let name = format!("{folder}/{CONFIG_FILE}");
    let config: Value =
        json(small, &name)?.ok_or_else(|| Failure::usage(format!("the model has no `{name}`")))?;
    let modes: Vec<&str> = config
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| **value == Value::Bool(true))
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
        .collect();
    match modes.as_slice() {
        ["mean_tokens"] => Ok(Pooling::Mean),
        ["cls_token"] => Ok(Pooling::Cls),
        ["max_tokens"] => Ok(Pooling::Max),
        other => Err(Failure::usage(format!(
            "{name}: pooling by {} is not implemented",
            name_list(other.iter().copied())
        ))
        .help(format!(
            "implemented: one of {}",
            name_list(["mean_tokens", "cls_token", "max_tokens"])
        ))
        .into()),
    }
}
