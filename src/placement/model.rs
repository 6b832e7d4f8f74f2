//! A model that is to be placed.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use crate::arguments::{Arguments, CheckedArguments};
use crate::failure::{Failure, name_list};
use crate::placement::cores::{self, CoreList};
use crate::placement::memory::{self, Memory, ModelTensors};
use crate::plan::Plan;
use crate::profile::ChipProfile;

/// The argument that spreads a model over several cores in a pipeline.
const PIPELINE: &str = "neuroncore-pipeline-cores";

/// The argument that says how many physical cores make one core.
const CORE_SIZE: &str = "lnc";

/// What placing needs to know of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Model {
    /// The name under which it is served.
    pub name: String,
    /// The chip that it is compiled for.
    pub chip: String,
    /// The cores that one copy takes, which are adjacent.
    pub width: usize,
    pub buckets: usize,
    /// Of one copy.
    pub memory: Memory,
    /// Where it must run; anywhere without.
    pub cores: Option<CoreList>,
}

impl Model {
    /// The model of `plan`, which has `tensors`, under `name`, as it is or would be on the chip of
    /// `profile`.
    pub fn new(
        name: &str,
        plan: &Plan,
        tensors: &ModelTensors,
        profile: &ChipProfile,
        cores: Option<CoreList>,
    ) -> Result<Self> {
        let arguments = arguments_on(plan, profile);
        Ok(Self {
            name: name.to_owned(),
            chip: plan.chip.clone(),
            width: width(&arguments)? as usize,
            buckets: plan.buckets.len(),
            memory: memory::estimate(plan, tensors, profile, &arguments),
            cores,
        })
    }
}

/// Physical cores that make one core for the model of `plan`, where its compiler groups them.
pub fn core_size(plan: &Plan, profile: &ChipProfile) -> Result<Option<u32>> {
    positive(&arguments_on(plan, profile), CORE_SIZE)
}

/// What one copy of a model asks of the runtime where nobody has placed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaced {
    /// The cores that it takes.
    pub width: u32,
    /// What a process finds in its environment: so many cores, whichever are free.
    pub environment: BTreeMap<&'static str, String>,
}

/// What one copy of the model of `plan` asks of the runtime without a placement.
pub fn unplaced(plan: &Plan, profile: &ChipProfile) -> Result<Unplaced> {
    let width = width(&arguments_on(plan, profile))?;
    let mut environment = BTreeMap::from([(cores::NUM_CORES, width.to_string())]);
    if let Some(size) = core_size(plan, profile)? {
        environment.insert(cores::VIRTUAL_CORE_SIZE, size.to_string());
    }
    Ok(Unplaced { width, environment })
}

fn width(arguments: &Arguments) -> Result<u32> {
    Ok(positive(arguments, PIPELINE)?.unwrap_or(1))
}

/// The compiler arguments of the plan; those that the chip has by default where it is another one.
fn arguments_on(plan: &Plan, profile: &ChipProfile) -> Arguments {
    if plan.chip == profile.name {
        plan.arguments.clone()
    } else {
        CheckedArguments::defaults(profile).into_values()
    }
}

fn positive(arguments: &Arguments, name: &str) -> Result<Option<u32>> {
    let Some(text) = arguments.get(name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(Failure::usage(format!("argument `{name}` is `{text}`"))
            .why("a model takes a positive number of cores")
            .into()),
    }
}

/// Refuses names that are there twice: a name is how a client asks for a model.
pub(super) fn check(models: &[Model]) -> Result<()> {
    let mut seen = BTreeMap::new();
    for model in models {
        *seen.entry(model.name.as_str()).or_insert(0) += 1;
    }
    let twice: Vec<&str> = seen
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(name, _)| name)
        .collect();
    match twice.is_empty() {
        true => Ok(()),
        false => Err(
            Failure::usage(format!("two models are named {}", name_list(twice)))
                .help("give each a name of its own with `--model NAME=BUNDLE`")
                .into(),
        ),
    }
}
