//! The plan: what a recipe, a profile and the user's options resolve into. Plain data, no I/O: the
//! same arguments give the same plan, byte for byte.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::arguments::{Arguments, CheckedArguments};
use crate::bucket::{Bucket, Input};
use crate::cast::{self, Cast, CompilerCast};
use crate::checkpoint::{Checkpoint, Tracer};
use crate::failure::Failure;
use crate::family::Head;
use crate::files;
use crate::profile::{Attention, BucketGrid, ChipProfile, CompilerKind, Tolerance};
use crate::recipe::Recipe;
use crate::sample::output::PlannedOutput;

/// The libtorch that `neuronc-torch` links; the last one that torch-neuronx is built for.
pub const LIBTORCH_VERSION: &str = "2.9.0";

/// Tokens of the largest bucket, over all its rows; it bounds what a graph can allocate.
const BUCKET_TOKENS_MAX: usize = 1 << 20;

/// Everything that decides the content of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The name under which the model is served.
    pub name: String,
    pub model: ModelIdentity,
    pub chip: String,
    pub compiler: CompilerKind,
    pub arguments: Arguments,
    pub tracer: Tracer,
    pub head: Head,
    pub attention: Attention,
    pub cast: Cast,
    /// The inputs of each graph after the weights.
    pub inputs: Vec<Input>,
    /// What each graph returns; the manifest of the bundle has it with its width.
    pub output: PlannedOutput,
    /// The token id that fills unused places.
    pub pad_id: i64,
    pub buckets: Vec<Bucket>,
    pub max_tokens: usize,
    pub tolerance: Tolerance,
    pub self_contained: bool,
    /// Versions of what makes the artifacts.
    pub versions: BTreeMap<String, String>,
}

/// The model's identity: what it is, not where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelIdentity {
    /// Hub id; absent for a model from a folder.
    pub id: Option<String>,
    pub commit: Option<String>,
    /// Digests of the files that are used, by name.
    pub files: BTreeMap<String, String>,
}

/// The options of the user beside recipe, chip and compiler arguments.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    pub batch_sizes: Option<Vec<usize>>,
    pub sequence_lengths: Option<Vec<usize>>,
    pub self_contained: bool,
    /// Package versions of the SDK of this machine, where one was found; they replace those of the profile.
    pub versions: BTreeMap<String, String>,
}

impl Plan {
    /// The key of the plan: equal plans make equal bundles.
    pub fn key(&self) -> Result<String> {
        let text = serde_json::to_string(self)?;
        Ok(files::sha256_of(text.as_bytes()))
    }

    /// The longest input that a bucket of the plan holds.
    pub fn longest(&self) -> usize {
        self.buckets
            .iter()
            .map(|bucket| bucket.sequence)
            .max()
            .unwrap_or(0)
    }
}

/// Resolves `recipe` and `options` for the chip that `arguments` were checked for.
pub fn plan(
    recipe: &Recipe,
    arguments: CheckedArguments,
    checkpoint: &Checkpoint,
    model: ModelIdentity,
    options: &PlanOptions,
) -> Result<Plan> {
    let profile = arguments.profile();
    let cast = CompilerCast::of(arguments.values()).by_tracer(profile.compiler.kind);
    let tolerance = tolerance(recipe, profile, arguments.values())?;
    Ok(Plan {
        name: recipe.name.clone(),
        model,
        chip: profile.name.clone(),
        compiler: profile.compiler.kind,
        tracer: checkpoint.tracer.clone(),
        head: checkpoint.head.clone(),
        attention: profile.attention,
        cast,
        inputs: checkpoint.inputs.clone(),
        output: match checkpoint.tracer.spec() {
            Some(spec) => spec.output().into(),
            None => checkpoint.head.output(),
        },
        pad_id: checkpoint.pad_id,
        buckets: buckets(recipe, profile, checkpoint.max_tokens, options)?,
        max_tokens: checkpoint.max_tokens,
        tolerance,
        self_contained: options.self_contained,
        versions: versions(profile, &options.versions),
        arguments: arguments.into_values(),
    })
}

/// On the command line a size beyond the model's limit is a mistake; in defaults it is cut to it.
fn buckets(
    recipe: &Recipe,
    profile: &ChipProfile,
    limit: usize,
    options: &PlanOptions,
) -> Result<Vec<Bucket>> {
    let default = recipe.buckets.as_ref().unwrap_or(&profile.buckets);
    if let Some(asked) = &options.sequence_lengths
        && let Some(over) = asked.iter().find(|length| **length > limit)
    {
        return Err(Failure::usage(format!(
            "`--sequence-length {over}` is more than the model takes"
        ))
        .why(format!("its inputs have at most {limit} tokens"))
        .help(format!("give lengths up to {limit}"))
        .into());
    }
    let lengths = options
        .sequence_lengths
        .as_ref()
        .unwrap_or(&default.sequence_length);
    let grid = BucketGrid {
        batch_size: options
            .batch_sizes
            .as_ref()
            .unwrap_or(&default.batch_size)
            .clone(),
        sequence_length: lengths.iter().map(|length| (*length).min(limit)).collect(),
        // What is asked for is made.
        tokens_max: match (&options.batch_sizes, &options.sequence_lengths) {
            (None, None) => default.tokens_max,
            _ => None,
        },
    };
    let buckets = grid.buckets();
    let tokens = |bucket: &Bucket| bucket.batch.saturating_mul(bucket.sequence);
    if buckets.iter().any(|bucket| tokens(bucket) == 0) {
        return Err(Failure::usage("a bucket needs at least 1 row and 1 token").into());
    }
    if let Some(bucket) = buckets
        .iter()
        .find(|bucket| tokens(bucket) > BUCKET_TOKENS_MAX)
    {
        return Err(Failure::usage(format!("bucket {bucket} is too large"))
            .why(format!("a bucket holds at most {BUCKET_TOKENS_MAX} tokens"))
            .help("give a smaller `--batch-size`")
            .into());
    }
    Ok(buckets)
}

/// The tolerance of the cast, from the recipe or else from the profile.
fn tolerance(recipe: &Recipe, profile: &ChipProfile, arguments: &Arguments) -> Result<Tolerance> {
    let names = cast::tolerance_names(profile, arguments);
    let known = names.iter().find_map(|name| {
        let of_recipe = recipe.tolerances.get(name);
        of_recipe.or_else(|| profile.tolerances.get(name))
    });
    known.copied().ok_or_else(|| {
        Failure::usage(format!(
            "profile `{}` has no tolerance for the cast `{}`",
            profile.name,
            names.join("`, `")
        ))
        .help("add it under `tolerances:` in the profile or the recipe")
        .into()
    })
}

fn versions(profile: &ChipProfile, found: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    versions.insert("neuronc".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    versions.insert("libtorch".to_owned(), LIBTORCH_VERSION.to_owned());
    if let Some(sdk) = &profile.sdk {
        versions.extend(sdk.packages.clone());
    }
    versions.extend(found.clone());
    versions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::TypedArguments;
    use crate::bucket;
    use crate::family;
    use crate::profile;
    use serde_json::json;

    fn checkpoint(max_tokens: usize) -> Checkpoint {
        let config = json!({"model_type": "bert"});
        let spec = family::resolve(&config, &Head::QuestionAnswering).unwrap();
        Checkpoint {
            inputs: spec.inputs(),
            pad_id: spec.encoder.pad_id,
            tracer: Tracer::Native { spec },
            head: Head::QuestionAnswering,
            max_tokens,
            weight_files: vec!["model.safetensors".to_owned()],
            tokenizer_files: vec!["tokenizer.json".to_owned()],
        }
    }

    fn plan_with(options: &PlanOptions) -> Result<Plan> {
        plan_for(&profile::load("cpu").unwrap(), "", options)
    }

    fn plan_for(profile: &ChipProfile, compiler_args: &str, options: &PlanOptions) -> Result<Plan> {
        let typed = TypedArguments {
            texts: vec![compiler_args.to_owned()],
            ..TypedArguments::default()
        };
        let arguments = typed.parse(profile)?.check(None)?;
        let model = ModelIdentity {
            id: Some("org/name".to_owned()),
            commit: None,
            files: BTreeMap::from([("model.safetensors".to_owned(), "sha256:00".to_owned())]),
        };
        let recipe = Recipe::for_model("name", "org/name", None);
        plan(&recipe, arguments, &checkpoint(100), model, options)
    }

    #[test]
    fn the_same_arguments_give_the_same_plan() {
        let options = PlanOptions {
            batch_sizes: Some(vec![4, 1, 4]),
            ..PlanOptions::default()
        };
        let (a, b) = (plan_with(&options).unwrap(), plan_with(&options).unwrap());
        assert_eq!(
            serde_json::to_string(&a).unwrap(),
            serde_json::to_string(&b).unwrap()
        );
        assert_eq!(a.key().unwrap(), b.key().unwrap());
    }

    #[test]
    fn every_argument_changes_the_key() {
        let base = plan_with(&PlanOptions::default()).unwrap().key().unwrap();
        let profile = profile::load("cpu").unwrap();
        let cast = plan_for(&profile, "--auto-cast all", &PlanOptions::default());
        assert_ne!(cast.unwrap().key().unwrap(), base);
        let shapes = PlanOptions {
            batch_sizes: Some(vec![3]),
            ..PlanOptions::default()
        };
        let export = PlanOptions {
            self_contained: true,
            ..PlanOptions::default()
        };
        for options in [shapes, export] {
            assert_ne!(plan_with(&options).unwrap().key().unwrap(), base);
        }
    }

    /// The words for a value that is not the default; none for a switch that is on, which only the
    /// argument turns off that excludes it.
    fn other_words(name: &str, argument: &profile::Argument) -> Option<String> {
        if argument.switch {
            let is_on = argument.default.as_deref() == Some(profile::ON);
            return (!is_on).then(|| format!("--{name}"));
        }
        let mut values: Vec<String> = argument.listed().into_iter().map(str::to_owned).collect();
        if let Some(number) = argument.number {
            values = vec![
                number.from.to_string(),
                number.to.unwrap_or(9.0).to_string(),
            ];
        }
        let mut other = values.into_iter();
        let other = other.find(|value| argument.default.as_ref() != Some(value));
        Some(format!("--{name}={}", other.unwrap()))
    }

    #[test]
    fn every_argument_of_every_chip_changes_the_key() {
        for chip in profile::names() {
            let profile = profile::load(chip).unwrap();
            let key = |compiler_args: &str| {
                let plan = plan_for(&profile, compiler_args, &PlanOptions::default());
                plan.unwrap().key().unwrap()
            };
            let mut keys = std::collections::BTreeSet::from([key("")]);
            for (name, argument) in &profile.arguments {
                let Some(words) = other_words(name, argument) else {
                    continue;
                };
                let new = keys.insert(key(&words));
                assert!(new, "{chip}: `{name}` does not change the key");
            }
        }
    }

    #[test]
    fn default_buckets_are_cut_to_what_the_model_takes() {
        let plan = plan_with(&PlanOptions::default()).unwrap();
        assert_eq!(plan.longest(), 100);
    }

    #[test]
    fn on_cpu_a_text_is_padded_by_less_than_sixteen_tokens_and_large_batches_are_of_short_texts() {
        let plan = plan_with(&PlanOptions::default()).unwrap();
        for tokens in 1..=100 {
            let bucket = bucket::smallest(&plan.buckets, 1, tokens).unwrap();
            assert!(bucket.sequence - tokens < 16, "{tokens} in {bucket}");
        }
        let has = |batch, sequence| plan.buckets.contains(&Bucket { sequence, batch });
        assert!(has(8, 64) && has(4, 100) && !has(8, 80) && !has(8, 100));
    }

    #[test]
    fn buckets_that_are_asked_for_are_all_made() {
        let options = PlanOptions {
            batch_sizes: Some(vec![64]),
            ..PlanOptions::default()
        };
        let plan = plan_with(&options).unwrap();
        assert_eq!(plan.longest(), 100);
        assert!(plan.buckets.iter().all(|bucket| bucket.batch == 64));
    }

    #[test]
    fn a_sequence_length_beyond_the_model_is_refused_with_both_numbers() {
        let options = PlanOptions {
            sequence_lengths: Some(vec![128]),
            ..PlanOptions::default()
        };
        let error = plan_with(&options).unwrap_err().to_string();
        assert!(error.contains("128") && error.contains("100"), "{error}");
    }
}
