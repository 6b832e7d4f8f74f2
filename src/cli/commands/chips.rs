//! `neuronc chips`: shows the chips that neuronc knows.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::arguments::{self, CheckedArguments};
use crate::cli::terminal::print::{self, AnswerFormat};
use crate::cli::terminal::wrap::wrap;
use crate::profile::{self, ChipHardware, ChipProfile, InstanceType, Sdk};

const EXAMPLES: &str = "\
Examples:
  neuronc chips
  neuronc chips inf2
  neuronc chips --format json

Exit codes: 0 shown; 2 the chip is unknown.";

/// Show the chips that neuronc knows and the instances that carry them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ChipsArgs {
    /// Show everything about one chip.
    chip: Option<String>,

    /// A chip profile of your own.
    #[arg(long, value_name = "FILE", conflicts_with = "chip")]
    profile: Option<PathBuf>,

    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,
}

/// Raised when a key changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

/// Up to this number, sizes are shown one by one.
const SIZES_MAX: usize = 8;

#[derive(Serialize)]
struct ChipsAnswer {
    schema_version: u32,
    chips: Vec<ChipProfile>,
}

pub(in crate::cli) fn run(args: &ChipsArgs) -> Result<()> {
    let chips = match (&args.profile, &args.chip) {
        (Some(file), _) => vec![profile::load_file(file)?],
        (None, Some(chip)) => vec![profile::load(chip)?],
        (None, None) => profile::names()
            .into_iter()
            .map(profile::load)
            .collect::<Result<_>>()?,
    };
    let is_one = args.profile.is_some() || args.chip.is_some();
    match args.format {
        AnswerFormat::Json => print::json(&ChipsAnswer {
            schema_version: SCHEMA_VERSION,
            chips,
        }),
        AnswerFormat::Text if is_one => {
            print::answer(&chips.iter().map(details).collect::<Result<String>>()?)
        }
        AnswerFormat::Text => print::answer(&overview(&chips)),
    }
}

fn overview(chips: &[ChipProfile]) -> String {
    let instances: usize = chips.iter().map(|chip| chip.instances.len()).sum();
    let mut text = format!(
        "{} chips, {instances} instances; cores are physical ones, memory is in GiB\n\n",
        chips.len()
    );
    text.push_str(&table(chips));
    for chip in chips {
        let _ = write!(text, "\n{}: {}\n", chip.name, chip.title);
        text.push_str(&notes(chip));
    }
    text
}

/// One row for each instance.
fn table(chips: &[ChipProfile]) -> String {
    let mut text = format!(
        "  {:<6}{:<16}{:>8}{:>7}{:>9}{:>8}{:>7}{:>7}\n",
        "chip", "instance", "devices", "cores", "memory", "a core", "vCPUs", "host"
    );
    for chip in chips {
        let Some(hardware) = &chip.hardware else {
            continue;
        };
        for row in &chip.instances {
            text.push_str(&instance(chip, hardware, row));
        }
    }
    text
}

fn instance(chip: &ChipProfile, hardware: &ChipHardware, row: &InstanceType) -> String {
    let known = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
    format!(
        "  {:<6}{:<16}{:>8}{:>7}{:>9}{:>8}{:>7}{:>7}\n",
        chip.name,
        row.name,
        row.devices,
        row.cores,
        row.device_memory_gib,
        hardware.memory_gib_per_device / f64::from(hardware.cores_per_device),
        known(row.vcpus),
        known(row.host_memory_gib),
    )
}

fn notes(chip: &ChipProfile) -> String {
    let of_chip = chip.notes.iter().cloned();
    let of_rows = chip
        .instances
        .iter()
        .filter_map(|row| Some(format!("{}: {}", row.name, row.note.as_ref()?)));
    of_chip
        .chain(of_rows)
        .map(|note| format!("{}\n", wrap("  - ", &note)))
        .collect()
}

fn details(chip: &ChipProfile) -> Result<String> {
    let mut lines = Vec::new();
    if let Some(hardware) = &chip.hardware {
        lines.extend(hardware_lines(hardware));
    }
    lines.extend(compiler_lines(chip)?);
    if let Some(sdk) = &chip.sdk {
        lines.extend(sdk_lines(sdk));
    }
    let mut text = format!("{}: {}\n", chip.name, chip.title);
    for (name, content) in lines {
        let _ = writeln!(text, "{}", wrap(&format!("  {name:<13} "), &content));
    }
    if chip.hardware.is_some() {
        let _ = write!(text, "\n{}", table(std::slice::from_ref(chip)));
    }
    Ok(match notes(chip) {
        none if none.is_empty() => text,
        notes => format!("{text}\n{notes}"),
    })
}

/// A label and its text.
type LabelledLine = (&'static str, String);

fn hardware_lines(hardware: &ChipHardware) -> Vec<LabelledLine> {
    let cores = hardware.cores_per_device;
    let memory = hardware.memory_gib_per_device;
    let each = |cores: u32| memory / f64::from(cores);
    let mut lines = vec![
        (
            "device",
            format!("{}, {cores} cores of {}", hardware.device, hardware.core),
        ),
        (
            "memory",
            format!("{memory} GiB a device, {} GiB a core", each(cores)),
        ),
    ];
    let sizes = hardware.logical_cores_per_device.iter();
    lines.extend(sizes.map(|(size, count)| {
        let each = each(*count);
        (
            "core size",
            format!("{size}: {count} cores a device, {each} GiB each"),
        )
    }));
    let peaks = hardware
        .tflops
        .iter()
        .map(|(kind, peak)| format!("{kind} {peak}"));
    lines.push(("peak TFLOPS", joined(peaks)));
    lines
}

fn compiler_lines(chip: &ChipProfile) -> Result<Vec<LabelledLine>> {
    let kind = serde_json::to_value(chip.compiler.kind).unwrap_or_default();
    let kind = kind.as_str().unwrap_or_default();
    let target = chip.compiler.target.as_ref();
    let target = target.map_or(String::new(), |target| format!(", target {target}"));
    // The defaults for the compiler of the profile's SDK; a newer one may have more.
    let defaults = CheckedArguments::defaults(chip);
    let defaults = arguments::shown(chip, defaults.values());
    let batches = sizes(&chip.buckets.batch_size);
    let sequences = sizes(&chip.buckets.sequence_length);
    let most = chip.buckets.tokens_max;
    let most = most.map_or(String::new(), |most| {
        format!(", batches up to {most} tokens")
    });
    Ok(vec![
        ("compiler", format!("{kind}{target}")),
        ("arguments", joined(defaults.into_iter())),
        (
            "buckets",
            format!("batch {batches} x sequence {sequences}{most}"),
        ),
    ])
}

/// All sizes; of many at equal distances, the first two and the last.
fn sizes(sizes: &[usize]) -> String {
    let step = |pair: &[usize]| pair[1].checked_sub(pair[0]);
    let mut steps = sizes.windows(2).map(step);
    let first = steps.next().flatten();
    match sizes {
        [one, two, .., last] if sizes.len() > SIZES_MAX && steps.all(|step| step == first) => {
            format!("{one}, {two}, ..., {last}")
        }
        _ => joined(sizes.iter().map(ToString::to_string)),
    }
}

fn sdk_lines(sdk: &Sdk) -> Vec<LabelledLine> {
    let python = sdk.python.join(", ");
    let packages = sdk
        .packages
        .iter()
        .map(|(name, version)| format!("{name} {version}"));
    let mut lines = vec![
        (
            "SDK",
            format!("{}, torch {}, Python {python}", sdk.release, sdk.torch),
        ),
        ("packages", joined(packages)),
    ];
    if let Some(ceiling) = &sdk.driver_ceiling {
        lines.push(("driver", format!("up to the series {ceiling}")));
    }
    lines.push(("environments", sdk.environments.join(" ")));
    lines.push(("containers", sdk.containers.join(" ")));
    lines
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
