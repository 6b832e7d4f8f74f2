//! From a model's `config.json` to the specification of its forward, by its family.

use anyhow::Result;
use serde_json::Value;

use crate::failure::{Failure, name_list};
use crate::family::bert;
use crate::family::head::Head;
use crate::family::spec::ModelSpec;

/// From `config.json` and the head that is asked for to a specification.
type Resolver = fn(&Value, &Head) -> Result<ModelSpec>;

/// The families that neuronc traces itself, by their `model_type`.
const FAMILIES: [(&str, Resolver); 1] = [("bert", bert::resolve)];

/// The specification of a model with `head`, by its `config.json`. Every value that the family does
/// not implement is refused by name.
pub fn resolve(config: &Value, head: &Head) -> Result<ModelSpec> {
    let Some(model_type) = config.get("model_type").and_then(Value::as_str) else {
        return Err(Failure::usage("config.json has no `model_type`")
            .why("it decides which forward function is traced")
            .help("give the folder or the id of a transformers model")
            .into());
    };
    let mut families = FAMILIES.iter();
    match families.find(|(name, _)| *name == model_type) {
        Some((_, resolver)) => resolver(config, head),
        None => Err(Failure::usage(format!(
            "model family `{model_type}` is not one that neuronc traces"
        ))
        .why("config.json names it as `model_type`")
        .help(format!(
            "families: {}",
            name_list(FAMILIES.map(|(name, _)| name))
        ))
        .into()),
    }
}

/// True when `model_type` is of a family that neuronc traces itself.
pub fn is_native(model_type: &str) -> bool {
    FAMILIES.iter().any(|(name, _)| *name == model_type)
}
