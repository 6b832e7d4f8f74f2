//! The answer of `neuronc trace`: the plan, or the result.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::arguments;
use crate::bucket::Bucket;
use crate::bundle::Bundle;
use crate::cli::terminal::print::{self, AnswerFormat, counted, megabytes};
use crate::cli::terminal::wrap::wrap;
use crate::plan::Plan;
use crate::profile::ChipProfile;

/// A plan with what is printed beside it.
pub(super) struct PlannedFor<'a> {
    pub(super) plan: &'a Plan,
    pub(super) profile: &'a ChipProfile,
    /// The interpreter of the SDK whose versions the plan has; absent where they are those of the profile.
    pub(super) sdk: Option<&'a Path>,
    pub(super) place: &'a Path,
}

/// The plan as JSON.
#[derive(Serialize)]
struct PlanAnswer<'a> {
    schema_version: u32,
    plan_key: String,
    place: &'a Path,
    sdk: Option<&'a Path>,
    plan: &'a Plan,
}

pub(super) fn print_plan(planned: &PlannedFor, format: AnswerFormat) -> Result<()> {
    let PlannedFor {
        plan,
        profile,
        sdk,
        place,
    } = *planned;
    let plan_key = plan.key()?;
    if format == AnswerFormat::Json {
        return print::json(&PlanAnswer {
            schema_version: 1,
            plan_key,
            place,
            sdk,
            plan,
        });
    }
    let model = match (&plan.model.id, &plan.model.commit) {
        (Some(id), Some(commit)) => format!("{id} at {commit}"),
        _ => plan.name.clone(),
    };
    let files = plan.model.files.iter();
    let digests: Vec<String> = files
        .map(|(name, digest)| format!("{name} ({digest:.20}...)"))
        .collect();
    let buckets: Vec<String> = plan.buckets.iter().map(ToString::to_string).collect();
    let arguments = arguments::shown(profile, &plan.arguments);
    let lines = [
        ("model", Some(model)),
        ("task", Some(plan.head.task().to_string())),
        ("chip", Some(plan.chip.clone())),
        ("buckets", Some(buckets.join(", "))),
        ("longest input", Some(format!("{} tokens", plan.max_tokens))),
        ("arguments", Some(arguments.join(", "))),
        ("SDK", sdk_line(profile, sdk)),
        ("files", Some(digests.join("\n"))),
        ("bundle", Some(place.display().to_string())),
        ("plan key", Some(plan_key)),
    ];
    let mut text = format!(
        "would trace {} into {}; nothing was traced\n",
        plan.name,
        counted(plan.buckets.len(), "bucket")
    );
    for (label, value) in lines {
        let mut label = label;
        for line in value.iter().flat_map(|value| value.lines()) {
            text.push_str(&wrap(&format!("  {label:15}"), line));
            text.push('\n');
            label = "";
        }
    }
    print::answer(&text)
}

/// The SDK whose versions are part of the plan key.
fn sdk_line(profile: &ChipProfile, sdk: Option<&Path>) -> Option<String> {
    let known = profile.sdk.as_ref()?;
    Some(match sdk {
        Some(path) => path.display().to_string(),
        None => format!(
            "none was found; plan key and arguments are those for SDK {}",
            known.release
        ),
    })
}

/// The work of a run that traced.
pub(super) struct TraceOutcome {
    pub(super) took: Duration,
    pub(super) traced: Vec<TracedBucket>,
}

/// A bucket and the time that tracing and saving it took.
#[derive(Serialize)]
pub(super) struct TracedBucket {
    pub(super) bucket: Bucket,
    pub(super) millis: u64,
}

/// The result as JSON.
#[derive(Serialize)]
struct ResultAnswer<'a> {
    schema_version: u32,
    /// False when the bundle was up to date.
    traced: bool,
    bundle: &'a Path,
    plan_key: &'a str,
    /// Size of the whole bundle.
    bytes: u64,
    /// The buckets that were traced now, in the order in which they were done.
    buckets: Vec<TracedBucket>,
}

/// Prints the result; `outcome` is absent when the bundle was up to date.
pub(super) fn print_result(
    bundle: &Bundle,
    outcome: Option<TraceOutcome>,
    format: AnswerFormat,
) -> Result<()> {
    let plan = &bundle.manifest.plan;
    if format == AnswerFormat::Json {
        return print::json(&ResultAnswer {
            schema_version: 1,
            traced: outcome.is_some(),
            bundle: bundle.folder(),
            plan_key: &bundle.manifest.plan_key,
            bytes: bundle.bytes(),
            buckets: outcome.map_or_else(Vec::new, |outcome| outcome.traced),
        });
    }
    let shown = bundle.folder().display();
    let what = format!(
        "{} for {}, {}, {}",
        plan.name,
        plan.chip,
        counted(plan.buckets.len(), "bucket"),
        megabytes(bundle.bytes())
    );
    print::answer(&match outcome {
        Some(TraceOutcome { took, .. }) => format!(
            "traced {what} in {:.1} s\n  bundle: {shown}\n  next:   neuronc verify {shown}",
            took.as_secs_f64()
        ),
        None => format!("up to date: {what}\n  bundle: {shown}"),
    })
}
