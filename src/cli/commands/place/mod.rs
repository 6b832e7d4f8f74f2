//! `neuronc place`: shows which models run on which cores of a machine, and whether they fit.

mod capacity_text;
mod placement_text;

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::bucket::Bucket;
use crate::bundle::Check;
use crate::cli::commands::place::capacity_text::capacity_text;
use crate::cli::commands::place::placement_text::placement_text;
use crate::cli::environment::Environment;
use crate::cli::flags::placement::PlacementFlags;
use crate::cli::resolve::bundles::{self, BundleToPlace, chip};
use crate::cli::resolve::machine::TargetMachine;
use crate::cli::resolve::simulation;
use crate::cli::terminal::print::{self, AnswerFormat};
use crate::placement::capacity::Capacity;
use crate::placement::{self, Placement};
use crate::profile;
use crate::runtime::simulated::Simulation;

const EXAMPLES: &str = "\
Examples:
  neuronc place my-bundle --instance inf2.24xlarge
  neuronc place a.bundle b.bundle --instance inf2.xlarge --models-per-core 2
  neuronc place my-bundle --instance inf2.xlarge --simulate
  neuronc place --model search=a.bundle@0-3 --model rank=b.bundle@4-5 --instance inf2.24xlarge

Exit codes: 0 everything fits; 1 it does not; 2 not a bundle, an unknown instance, or cores that
overlap or do not exist.";

/// Show which models run on which cores of an instance, and whether they fit.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct PlaceArgs {
    #[command(flatten)]
    placement: PlacementFlags,

    /// The instance to place on, one of `neuronc chips` [default: this machine, or with --simulate the
    /// one on which the times were measured].
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,

    /// A chip profile of your own that has the instance.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,

    /// Also say what to expect of it: rates and latencies, from published times.
    #[arg(long)]
    simulate: bool,

    /// With --simulate: whose times to take, such as inf2/bert-base-uncased, or a file of your own
    /// [default: those of the model's shape].
    #[arg(long, value_name = "NAME|FILE", requires = "simulate")]
    timings: Option<String>,

    /// How the placement is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,
}

/// The answer as JSON.
#[derive(Serialize)]
struct PlaceAnswer {
    #[serde(flatten)]
    placement: Placement,
    notes: Vec<String>,
    /// Present with `--simulate`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capacity: Vec<Capacity>,
}

pub(in crate::cli) fn run(args: &PlaceArgs, environment: &Environment) -> Result<()> {
    let opened = bundles::open(&args.placement, Check::Sizes)?;
    let file = args.profile.as_deref();
    let target = match (&args.instance, file) {
        (Some(name), _) => TargetMachine::instance(name, file, &opened)?,
        (None, None) if args.simulate => {
            simulation::machine(&opened, None, args.timings.as_deref())?.0
        }
        (None, Some(file)) => {
            let profile = profile::load_file(file)?;
            TargetMachine::here(&args.placement, profile, &opened, &environment.places)?
        }
        (None, None) => {
            chip(&opened)?;
            let profile = opened[0].bundle.manifest.profile.clone();
            TargetMachine::here(&args.placement, profile, &opened, &environment.places)?
        }
    };
    let placement = target.place(&args.placement, &opened, environment)?;
    let notes = notes(&opened, &target, &placement);
    let capacity = if args.simulate {
        expected(args, &opened, &target, &placement)?
    } else {
        Vec::new()
    };
    match args.format {
        AnswerFormat::Json => print::json(&PlaceAnswer {
            placement,
            notes,
            capacity,
        }),
        AnswerFormat::Text => {
            let mut text = placement_text(&placement, &notes);
            if !capacity.is_empty() {
                text = format!("{text}\n\n{}", capacity_text(&capacity));
            }
            print::answer(&text)
        }
    }
}

fn expected(
    args: &PlaceArgs,
    opened: &[BundleToPlace],
    target: &TargetMachine,
    placement: &Placement,
) -> Result<Vec<Capacity>> {
    let named = args.timings.as_deref();
    let timings = simulation::timings(opened, &Simulation::new(&target.profile.name, named))?;
    simulation::check(&timings, target)?;
    let plans = opened.iter().map(|opened| &opened.bundle.manifest.plan);
    let buckets: Vec<Vec<Bucket>> = plans.map(|plan| plan.buckets.clone()).collect();
    Ok(placement::capacity::capacity(placement, &buckets, &timings))
}

fn notes(opened: &[BundleToPlace], target: &TargetMachine, placement: &Placement) -> Vec<String> {
    let chip = &target.profile.name;
    let foreign = opened.iter().filter_map(|opened| {
        let plan = &opened.bundle.manifest.plan;
        (plan.chip != *chip).then(|| {
            format!(
                "`{}` is for {}, and placed as if it was traced with `--chip {chip}`",
                opened.name, plan.chip
            )
        })
    });
    let mut notes: Vec<String> = foreign.collect();
    let row = target.profile.instances.iter();
    let mut row = row.filter(|row| row.name == target.machine.name);
    notes.extend(row.next().and_then(|row| row.note.clone()));
    let used: usize = placement
        .workers
        .iter()
        .map(|worker| worker.cores.len())
        .sum();
    if let Some(vcpus) = target.machine.vcpus
        && used > vcpus as usize
    {
        notes.push(format!(
            "{used} workers share {vcpus} processors, and slow each other down"
        ));
    }
    notes
}
