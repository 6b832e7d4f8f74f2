//! The sources that the user names: bundles, logs, folders of logs, stdin.

use std::fs::File;
use std::io::stdin;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use neuron_logs::reading::{
    CacheUse, ChipFamily, CompilationOutcome, LogError, LogReading, LogTimings, Notice,
    Partitioning, Producer, SkippedInput, StatusLines, ToolVersions,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::bundle::{Bundle, Check};
use crate::coverage::estimate::{self, TracedModel};
use crate::failure::Failure;
use crate::files;
use crate::profile::ChipProfile;
use crate::report::subject::Subject;

/// The name that stands for stdin.
pub const STDIN: &str = "-";

/// The depth to which a folder is searched for logs; a compiler's work folder nests a few levels.
const DEPTH_MAX: usize = 6;

/// The most files of a folder that are read.
const FILES_MAX: usize = 10_000;

/// A source as a report shows it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ReportSource {
    pub name: String,
    pub kind: SourceKind,
    /// The chip's name, or the generation that the log's producers belong to.
    pub chip: Option<String>,
    /// Assumptions, and the lists that an estimate is based on.
    pub notes: Vec<String>,
    /// The facts that only logs have.
    #[serde(flatten)]
    pub log: Option<LogFacts>,
}

/// The kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    Bundle,
    Log,
    /// A bundle or a graph, for another chip and before compiling.
    Estimate,
}

/// The facts of a log beside its runs.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LogFacts {
    pub outcome: CompilationOutcome,
    /// False where the log seems to be cut off.
    pub complete: bool,
    pub chip_family: Option<ChipFamily>,
    pub producers: Vec<Producer>,
    pub versions: ToolVersions,
    pub statuses: StatusLines,
    pub cache: CacheUse,
    pub errors: Vec<LogError>,
    pub notices: Vec<Notice>,
    pub partitioning: Option<Partitioning>,
    /// The share that an analysis calls supported, where it printed no counts.
    pub analysis_percent: Option<f64>,
    pub unsupported_operators: Vec<String>,
    /// HLO instructions that an analysis calls unsupported.
    pub unsupported_hlo: Vec<String>,
    pub timings: LogTimings,
    pub skipped: SkippedInput,
}

/// Reads the source called `name`; a folder of logs gives one source for each log.
pub fn read(name: &str) -> Result<Vec<(ReportSource, Vec<Subject>)>> {
    if name == STDIN {
        return Ok(vec![recognised(
            name,
            neuron_logs::read(stdin().lock()).context("reading the log")?,
        )?]);
    }
    let path = Path::new(name);
    if path.is_dir() && !Bundle::is_at(path) {
        return read_folder(path);
    }
    if path.is_dir() {
        let coverage = Bundle::open(path, Check::Sizes)?.coverage()?;
        let source = ReportSource {
            name: name.to_owned(),
            kind: SourceKind::Bundle,
            chip: Some(coverage.chip.clone()),
            notes: Vec::new(),
            log: None,
        };
        return Ok(vec![(source, Subject::of_bundle(name, &coverage))]);
    }
    Ok(vec![recognised(name, read_log(path)?)?])
}

fn read_log(path: &Path) -> Result<LogReading> {
    let file = File::open(path).map_err(|error| {
        Failure::usage(format!("`{}` cannot be read", path.display()))
            .why(error.to_string())
            .help("give a bundle, a compiler log, a folder of logs, or `-` for stdin")
    })?;
    neuron_logs::read(file).with_context(|| format!("reading `{}`", path.display()))
}

fn recognised(name: &str, reading: LogReading) -> Result<(ReportSource, Vec<Subject>)> {
    if reading.recognised {
        return Ok(of_log(name, reading));
    }
    let read = &reading.skipped;
    let why = match read.bytes {
        0 => "it is empty".to_owned(),
        _ if read.truncated_documents > 0 => {
            "it holds a document that is cut off before its end".to_owned()
        }
        bytes => format!(
            "no line of a Neuron compiler was found in {} lines, {bytes} bytes",
            read.lines
        ),
    };
    Err(Failure::usage(format!("`{name}` holds nothing that neuronc recognises"))
        .why(why)
        .help("give the output of torch_neuron.trace, torch_neuronx.trace or neuronx-cc, an analyze result, or a bundle")
        .into())
}

fn read_folder(folder: &Path) -> Result<Vec<(ReportSource, Vec<Subject>)>> {
    let mut found = Vec::new();
    let mut read = 0;
    for path in files_below(folder, DEPTH_MAX)? {
        let reading = read_log(&path)?;
        read += 1;
        if reading.recognised {
            found.push(of_log(&path.display().to_string(), reading));
        }
    }
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "the folder `{}` holds no logs that neuronc recognises",
            folder.display()
        ))
        .why(format!("{read} files were read, {DEPTH_MAX} levels deep"))
        .help("give the folder that the compiler wrote its logs to, or a bundle")
        .into());
    }
    Ok(found)
}

/// Files that can be logs, in the order of their names.
fn files_below(folder: &Path, depth: usize) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for name in files::list(folder)? {
        let path = folder.join(name);
        let is_link = path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_symlink());
        if path.is_dir() && !is_link && depth > 0 {
            paths.extend(files_below(&path, depth - 1)?);
        } else if path.is_file() && is_text_name(&path) {
            paths.push(path);
        }
        paths.truncate(FILES_MAX);
    }
    Ok(paths)
}

/// Logs have many names; what is certainly something else is left out.
fn is_text_name(path: &Path) -> bool {
    const OTHERS: [&str; 9] = [
        "neff",
        "npy",
        "pb",
        "pt",
        "safetensors",
        "bin",
        "so",
        "gz",
        "zip",
    ];
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    !OTHERS.contains(&extension.as_str())
}

fn of_log(name: &str, reading: LogReading) -> (ReportSource, Vec<Subject>) {
    let subjects = Subject::of_log(name, &reading);
    let analysis = reading.analysis.as_ref();
    let unsupported = analysis.map(|analysis| {
        analysis
            .unsupported
            .iter()
            .map(|entry| entry.operator.clone())
    });
    let family = reading.chip.map(|chip| match chip {
        ChipFamily::Inf1 => "inf1".to_owned(),
        ChipFamily::Neuronx => "inf2, trn1 or later".to_owned(),
    });
    let source = ReportSource {
        name: name.to_owned(),
        kind: SourceKind::Log,
        chip: reading.target.clone().or(family),
        notes: Vec::new(),
        log: Some(LogFacts {
            outcome: reading.outcome,
            complete: reading.complete,
            chip_family: reading.chip,
            analysis_percent: analysis.and_then(|analysis| analysis.percent),
            unsupported_operators: unsupported.map(Iterator::collect).unwrap_or_default(),
            unsupported_hlo: analysis
                .map(|analysis| analysis.unsupported_hlo.clone())
                .unwrap_or_default(),
            producers: reading.producers,
            versions: reading.versions,
            statuses: reading.statuses,
            cache: reading.cache,
            errors: reading.errors,
            notices: reading.notices,
            partitioning: reading.partitioning,
            timings: reading.timings,
            skipped: reading.skipped,
        }),
    };
    (source, subjects)
}

/// An estimate of what the chip of `profile` would run of a bundle or of a TorchScript file.
pub fn estimate(name: &str, profile: &ChipProfile) -> Result<Vec<(ReportSource, Vec<Subject>)>> {
    let path = Path::new(name);
    let estimate = if path.is_dir() {
        let bundle = Bundle::open(path, Check::Sizes)?;
        let graphs = bundle.manifest.artifacts.iter();
        let traced = TracedModel {
            plan: &bundle.manifest.plan,
            weights: bundle.weights()?,
            graphs: graphs
                .map(|artifact| (artifact.bucket, bundle.path(&artifact.graph)))
                .collect(),
        };
        estimate::traced(&traced, profile)?
    } else {
        estimate::graph_file(path, profile, None)?
    };
    let mut notes = estimate.notes.clone();
    notes.extend(
        estimate
            .lists
            .iter()
            .map(|list| format!("list `{}`: {} ({})", list.name, list.title, list.version)),
    );
    if estimate.all_or_nothing {
        notes.push(
            "this compiler takes a graph as a whole or not at all, unless a partitioner runs"
                .to_owned(),
        );
    }
    let source = ReportSource {
        name: name.to_owned(),
        kind: SourceKind::Estimate,
        chip: Some(estimate.chip.clone()),
        notes,
        log: None,
    };
    Ok(vec![(source, Subject::of_estimate(name, &estimate))])
}
