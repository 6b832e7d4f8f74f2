//! Recipes: which model, which task, which shapes.
//!
//! The recipes under `models/` are embedded by listing that folder at build time.
//! `models/all-minilm-l6-v2/recipe.yaml` documents each key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, known_names};
use crate::files;
use crate::profile::{BucketGrid, Tolerance};

include!(concat!(env!("OUT_DIR"), "/models.rs"));

/// The version of the recipe format that this build reads.
const FORMAT: u32 = 1;

/// The task of a model, with the name that the Hub has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    FeatureExtraction,
    QuestionAnswering,
    TextClassification,
    TokenClassification,
    FillMask,
}

impl Task {
    pub const ALL: [Task; 5] = [
        Task::FeatureExtraction,
        Task::QuestionAnswering,
        Task::TextClassification,
        Task::TokenClassification,
        Task::FillMask,
    ];

    /// The name on the command line, in manifests and on the Hub.
    pub fn name(self) -> &'static str {
        match self {
            Task::FeatureExtraction => "feature-extraction",
            Task::QuestionAnswering => "question-answering",
            Task::TextClassification => "text-classification",
            Task::TokenClassification => "token-classification",
            Task::FillMask => "fill-mask",
        }
    }

    /// The task that an entry of a config's `architectures` was trained for, such as
    /// `BertForQuestionAnswering`; `None` for heads that neuronc has no task for.
    pub fn of_architecture(architecture: &str) -> Option<Self> {
        const HEADS: [(&str, Task); 6] = [
            ("ForQuestionAnswering", Task::QuestionAnswering),
            ("ForSequenceClassification", Task::TextClassification),
            ("ForTokenClassification", Task::TokenClassification),
            ("ForMaskedLM", Task::FillMask),
            ("ForPreTraining", Task::FillMask),
            ("Model", Task::FeatureExtraction),
        ];
        HEADS
            .iter()
            .find(|(suffix, _)| architecture.ends_with(suffix))
            .map(|(_, task)| *task)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Task {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        Task::ALL
            .into_iter()
            .find(|task| task.name() == text)
            .ok_or_else(|| {
                Failure::usage(format!("task `{text}` is unknown"))
                    .help(known_names(text, Task::ALL.map(Task::name)))
            })
    }
}

/// A model, its task and its shapes; everything but the model may be left to the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub format: u32,
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    /// Hub id, `organisation/name`.
    pub model: String,
    /// A commit of the model; absent where the recipe is marked `unpinned`.
    #[serde(default)]
    pub revision: Option<String>,
    #[serde(default)]
    pub unpinned: bool,
    #[serde(default)]
    pub task: Option<Task>,
    #[serde(default)]
    pub buckets: Option<BucketGrid>,
    /// The differences that `verify` accepts, by cast mode; replaces the profile's entry of the same mode.
    #[serde(default)]
    pub tolerances: BTreeMap<String, Tolerance>,
}

/// The names of the embedded recipes, in alphabetical order.
pub fn names() -> Vec<&'static str> {
    MODELS.iter().map(|(name, _)| *name).collect()
}

/// The embedded recipe of that name, if there is one.
pub fn embedded(name: &str) -> Option<Result<Recipe>> {
    let (_, text) = MODELS.iter().find(|(known, _)| *known == name)?;
    Some(parse(text, &format!("models/{name}/recipe.yaml")))
}

/// The recipe in a file of the user.
pub fn load_file(path: &Path) -> Result<Recipe> {
    parse(&files::read_text(path)?, &path.display().to_string())
}

fn parse(text: &str, origin: &str) -> Result<Recipe> {
    let recipe: Recipe = files::parse_yaml(text, origin)?;
    let mut problems = Vec::new();
    if recipe.format != FORMAT {
        problems.push(format!("format {} is not format {FORMAT}", recipe.format));
    }
    if recipe.revision.is_some() == recipe.unpinned {
        problems.push("exactly one of `revision` and `unpinned: true` must be given".to_owned());
    }
    if let Some(grid) = &recipe.buckets
        && (grid.buckets().is_empty()
            || grid
                .buckets()
                .iter()
                .any(|b| b.batch == 0 || b.sequence == 0))
    {
        problems.push("buckets: every size must be at least 1".to_owned());
    }
    if problems.is_empty() {
        return Ok(recipe);
    }
    Err(
        Failure::usage(format!("recipe `{origin}` contradicts itself"))
            .why(problems.join("\n"))
            .into(),
    )
}

impl Recipe {
    /// The recipe of a model that has none: everything is left to the model's files and the profile.
    pub fn for_model(name: &str, model: &str, revision: Option<&str>) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            description: None,
            model: model.to_owned(),
            revision: revision.map(str::to_owned),
            unpinned: revision.is_none(),
            task: None,
            buckets: None,
            tolerances: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_recipe_is_valid_and_named_like_its_folder() {
        for name in names() {
            let recipe = embedded(name)
                .unwrap()
                .unwrap_or_else(|error| panic!("{error:?}"));
            assert_eq!(recipe.name, name);
            assert!(recipe.model.contains('/'), "{name}: not a Hub id");
        }
    }

    #[test]
    fn the_task_follows_from_the_architecture() {
        let task = Task::of_architecture;
        assert_eq!(
            task("BertForQuestionAnswering"),
            Some(Task::QuestionAnswering)
        );
        assert_eq!(task("BertModel"), Some(Task::FeatureExtraction));
        assert_eq!(task("BertForNextSentencePrediction"), None);
    }

    #[test]
    fn a_recipe_is_pinned_or_says_that_it_is_not() {
        let error = parse("format: 1\nname: x\nmodel: a/b\n", "x").unwrap_err();
        assert!(error.to_string().contains("unpinned"), "{error}");
    }
}
