//! What MODEL stands for: a recipe, a folder, a TorchScript file or a Hub id.

use std::path::Path;

use anyhow::Result;

use crate::checkpoint;
use crate::cli::flags::plan::PlanFlags;
use crate::failure::{Failure, known_names};
use crate::files;
use crate::hub::ModelSource;
use crate::recipe::{self, Recipe};

const RECIPE_FILE: &str = "recipe.yaml";

/// The recipe that MODEL stands for and the place of its files; those of a TorchScript file lie
/// beside it.
pub(super) fn recipe_and_source(
    flags: &PlanFlags,
    tracer: &checkpoint::RequestedTracer,
) -> Result<(Recipe, ModelSource)> {
    let path = Path::new(&flags.model);
    match tracer {
        checkpoint::RequestedTracer::Torchscript { .. } => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let folder = std::path::absolute(files::parent(path))?;
            Ok((
                Recipe::for_model(&name, &name, None),
                ModelSource::Folder(folder),
            ))
        }
        _ => resolve(&flags.model, flags.revision.as_deref()),
    }
}

/// The recipe that `model` stands for and the place of its files. `revision` replaces the recipe's.
fn resolve(model: &str, revision: Option<&str>) -> Result<(Recipe, ModelSource)> {
    let path = Path::new(model);
    let recipe_file = path.join(RECIPE_FILE);
    if path.is_file() {
        return from_recipe(recipe::load_file(path)?, revision);
    }
    if recipe_file.is_file() {
        return from_recipe(recipe::load_file(&recipe_file)?, revision);
    }
    if path.join("config.json").exists() {
        return from_folder(path, revision);
    }
    if let Some(recipe) = recipe::embedded(model) {
        return from_recipe(recipe?, revision);
    }
    if path.is_dir() {
        return Err(Failure::usage(format!(
            "the folder `{model}` holds neither a model nor a recipe"
        ))
        .why(format!("it has no `config.json` and no `{RECIPE_FILE}`"))
        .help("give the folder that `save_pretrained` wrote")
        .into());
    }
    let is_path = model.starts_with(['.', '/', '~']) || model.matches('/').count() > 1;
    if is_path {
        return Err(Failure::usage(format!("there is no folder `{model}`"))
            .help("give a folder, a Hub id such as `org/name`, or the name of a recipe")
            .into());
    }
    if !model.contains('/') {
        return Err(
            Failure::usage(format!("`{model}` is neither a folder nor a recipe"))
                .why("a Hub id has the form `org/name`")
                .help(format!("recipes: {}", known_names(model, recipe::names())))
                .into(),
        );
    }
    let name = model.rsplit('/').next().unwrap_or(model);
    from_recipe(Recipe::for_model(name, model, None), revision)
}

fn from_recipe(recipe: Recipe, revision: Option<&str>) -> Result<(Recipe, ModelSource)> {
    let source = ModelSource::Hub {
        id: recipe.model.clone(),
        revision: revision
            .map(str::to_owned)
            .or_else(|| recipe.revision.clone()),
    };
    Ok((recipe, source))
}

fn from_folder(path: &Path, revision: Option<&str>) -> Result<(Recipe, ModelSource)> {
    let shown = path.display();
    if let Some(revision) = revision {
        return Err(Failure::usage(format!(
            "`--revision {revision}` and the folder `{shown}` conflict"
        ))
        .why("a folder has no revisions")
        .help("leave out `--revision`, or give a Hub id")
        .into());
    }
    let path = std::path::absolute(path)?;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| "model".to_owned());
    Ok((
        Recipe::for_model(&name, &name, None),
        ModelSource::Folder(path),
    ))
}
