//! `neuronc report`: reports what runs on the chip, from bundles and compiler logs.

use std::io::{IsTerminal as _, stdout};
use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use crate::cli::terminal::print;
use crate::failure::{Class, Failure};
use crate::files;
use crate::profile::{self, ChipProfile};
use crate::report::diff::ReportDifference;
use crate::report::text::TextColour;
use crate::report::{CoverageReport, html, markdown, source, text};

const EXAMPLES: &str = "\
Examples:
  neuronc report my-model.bundle
  python trace.py 2>&1 | neuronc report -
  neuronc report compile.log --min-coverage 95 --max-host-ops 20
  neuronc report --for inf1 my-model.bundle
  neuronc report --diff before.log after.log

Exit codes: 0 reported, and the gates are met; 1 a gate is missed; 2 a source cannot be read, or
holds nothing that neuronc recognises.";

/// Show what runs on the chip: of a bundle, or of any Neuron compiler log.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ReportArgs {
    /// Bundles, compiler logs, analyze results, folders of logs, or `-` for stdin.
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,

    /// Estimate what a chip would run of a bundle or a TorchScript file, before compiling.
    #[arg(long = "for", value_name = "CHIP", conflicts_with = "diff")]
    chip: Option<String>,

    /// The same for a chip profile of your own.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["chip", "diff"])]
    profile: Option<PathBuf>,

    /// Show what changed from the first source to the second.
    #[arg(long, conflicts_with_all = ["min_coverage", "max_host_ops"])]
    diff: bool,

    /// Fail when fewer percent of the arithmetic operators run on the chip.
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    min_coverage: Option<f64>,

    /// Fail when more operators are left to the host.
    #[arg(long, value_name = "N")]
    max_host_ops: Option<u64>,

    /// How the report is written.
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,

    /// Write to a file instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For the terminal.
    Text,
    /// For programs; described by docs/report.schema.json.
    Json,
    /// For an issue or a pull request.
    Markdown,
    /// One self-contained page with a chart.
    Html,
}

fn parse_percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("give a number from 0 to 100".to_owned()),
    }
}

pub(in crate::cli) fn run(args: &ReportArgs) -> Result<()> {
    if args.diff {
        return diff(args);
    }
    let mut read = Vec::new();
    let profile = args.profile()?;
    for source in &args.sources {
        read.extend(match &profile {
            Some(profile) => source::estimate(source, profile)?,
            None => source::read(source)?,
        });
    }
    let report = CoverageReport::new(read);
    args.write(&match args.format {
        ReportFormat::Text => text::render(&report, args.colour()),
        ReportFormat::Json => serde_json::to_string_pretty(&report)?,
        ReportFormat::Markdown => markdown::render(&report),
        ReportFormat::Html => html::render(&report),
    })?;
    args.check_gates(&report)
}

fn diff(args: &ReportArgs) -> Result<()> {
    let [old, new] = args.sources.as_slice() else {
        return Err(Failure::usage("`--diff` compares two sources")
            .why(format!("{} were given", args.sources.len()))
            .help("neuronc report --diff OLD NEW")
            .into());
    };
    let (old, new) = (
        CoverageReport::new(source::read(old)?),
        CoverageReport::new(source::read(new)?),
    );
    let difference = ReportDifference::between(&old, &new);
    match args.format {
        ReportFormat::Text => args.write(&difference.text()),
        ReportFormat::Json => args.write(&serde_json::to_string_pretty(&difference)?),
        ReportFormat::Markdown => args.write(&format!("```\n{}```", difference.text())),
        ReportFormat::Html => Err(Failure::usage("`--diff` and `--format html` conflict")
            .help("choose text, json or markdown")
            .into()),
    }
}

impl ReportArgs {
    fn profile(&self) -> Result<Option<ChipProfile>> {
        match (&self.profile, &self.chip) {
            (Some(file), _) => profile::load_file(file).map(Some),
            (None, Some(chip)) => profile::load(chip).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn colour(&self) -> TextColour {
        if self.output.is_none() && stdout().is_terminal() {
            TextColour::Always
        } else {
            TextColour::Never
        }
    }

    fn write(&self, text: &str) -> Result<()> {
        match &self.output {
            None => print::answer(text),
            Some(file) => files::write(file, format!("{}\n", text.trim_end()).as_bytes()),
        }
    }

    fn check_gates(&self, report: &CoverageReport) -> Result<()> {
        let missed = |what: String| Err(Failure::new(Class::Negative, what).into());
        if let Some(gate) = self.min_coverage {
            match report.coverage_percent() {
                None => return missed(format!("coverage is not known, and {gate} % are wanted")),
                Some(percent) if percent < gate => {
                    return missed(format!("coverage {percent:.2} % is below {gate} %"));
                }
                Some(_) => {}
            }
        }
        if let Some(gate) = self.max_host_ops {
            match report.host_operators() {
                None => {
                    return missed(format!(
                        "operators on the host are not known, and at most {gate} are wanted"
                    ));
                }
                Some(count) if count > gate => {
                    return missed(format!(
                        "{count} operators run on the host, more than {gate}"
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
