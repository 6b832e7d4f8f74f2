//! `neuronc migrate`: writes a `serve.yaml` from the settings of AWS's FastAPI server.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cli::terminal::print;
use crate::failure::Failure;
use crate::files;
use crate::profile;

const EXAMPLES: &str = "\
Examples:
  neuronc migrate best-practices-for-fastapi-on-inferentia -o serve.yaml
  neuronc serve --config serve.yaml

Exit codes: 0 written; 2 the folder has no `config.properties`, or it cannot be read as one.";

/// Write a `serve.yaml` from the settings of the FastAPI server of AWS's post on Inferentia.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct MigrateArgs {
    /// The folder that holds `config.properties`, and `.env` there or in `fast-api`.
    dir: PathBuf,

    /// Write to a new file instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Files with settings; where two have the same key, the first decides.
const SETTINGS_FILES: [&str; 4] = [
    "config.properties",
    "fast-api/.env",
    ".env",
    "trace-model/.env",
];

/// The port of core 0: core i answers on this one plus i.
const FIRST_PORT: u16 = 8081;

pub(in crate::cli) fn run(args: &MigrateArgs) -> Result<()> {
    let settings = load(&args.dir)?;
    let text = convert(&settings)?;
    match &args.output {
        None => print::answer(&text),
        Some(path) if path.exists() => Err(Failure::usage(format!("`{}` exists", path.display()))
            .help("give another `-o`; nothing was written")
            .into()),
        Some(path) => files::write(path, text.as_bytes()),
    }
}

/// One assignment of a settings file.
struct Setting {
    file: &'static str,
    line: usize,
    key: String,
    value: String,
}

impl Setting {
    /// File, line and key, as comments show them. The value is left out, since it may be a secret.
    fn origin(&self) -> String {
        format!("{}:{}: {}", self.file, self.line, self.key)
    }
}

fn load(folder: &Path) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for file in SETTINGS_FILES {
        let path = folder.join(file);
        if path.is_file() {
            settings.extend(parse(file, &files::read_text(&path)?));
        } else if file == SETTINGS_FILES[0] {
            let shown = folder.display();
            let why = if folder.is_dir() {
                "it says how many cores and models there are"
            } else {
                "there is no such folder"
            };
            return Err(Failure::usage(format!("`{shown}` has no `{file}`"))
                .why(why)
                .help("give the folder of the repository, not one inside of it")
                .into());
        }
    }
    Ok(settings)
}

/// Parses the assignments in a shell file; its other lines are code.
fn parse(file: &'static str, text: &str) -> Vec<Setting> {
    let assignment = |(index, line): (usize, &str)| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim();
        let (key, value) = line.split_once('=')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_key = !key.is_empty() && key.chars().all(is_name);
        is_key.then(|| Setting {
            file,
            line: index + 1,
            key: key.to_owned(),
            value: plain(value),
        })
    };
    text.lines().enumerate().filter_map(assignment).collect()
}

/// A shell value without quotes and comment; the default of `${NAME:-default}`.
fn plain(value: &str) -> String {
    let value = value.split(" #").next().unwrap_or_default().trim();
    let unquoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let value = unquoted.unwrap_or(value);
    let default = value
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}')?.split_once(":-"));
    default.map_or(value, |(_, default)| default).to_owned()
}

/// The reason why a setting is not carried over.
fn left_out(key: &str) -> &'static str {
    match key {
        "docker_image_name_prefix" | "docker_container_name_prefix" => {
            "names of containers; one server needs none"
        }
        "http_proxy" | "https_proxy" | "no_proxy" => {
            "the environment of the server; set it where you start it"
        }
        "AWS_PROFILE" | "AWS_DEFAULT_REGION" | "AWS_REGION" | "REGION" | "ACCOUNT" | "REGISTRY"
        | "registry" => "where images were pushed; a server needs none",
        "path_to_traced_models" => "where artifacts lay; a bundle is named by its own path",
        _ => "unknown to neuronc",
    }
}

const CARRIED: [&str; 4] = [
    "CHIP_TYPE",
    "compiled_model",
    "num_cores",
    "num_models_per_server",
];

fn convert(settings: &[Setting]) -> Result<String> {
    let find = |key: &str| settings.iter().find(|setting| setting.key == key);
    let cores = number(find("num_cores"))?;
    let copies = number(find("num_models_per_server"))?;
    let mut text =
        "# What `neuronc migrate` made of the settings of the FastAPI server.\n\n".to_owned();
    let mut push = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    let chip = chip(settings, &mut push);
    let (bundle, batch) = match find("compiled_model") {
        Some(setting) => {
            push(&format!("# {} = {}", setting.origin(), setting.value));
            let stem = setting.value.trim_end_matches(".pt");
            (format!("{stem}-{chip}"), batch_size(stem))
        }
        None => (format!("model-{chip}"), "1"),
    };
    push(
        "# A TorchScript file is not a bundle. Make one from the model that trace-model.py names:",
    );
    push(&format!(
        "#   neuronc trace MODEL --chip {chip} --batch-size {batch} --sequence-length 128 -o {bundle}"
    ));
    if let Some((setting, copies)) = &copies {
        push(&format!("# {} = {copies}", setting.origin()));
        push(
            "# These were copies of one file, each in the memory of the core. Here they are names of",
        );
        push("# one model, which is loaded once and serves all callers.");
    }
    push("models:");
    let copies = copies.map_or(1, |(_, copies)| copies);
    for index in 0..copies {
        push(&format!(
            "  model_{index}: {{bundle: {}}}",
            quoted(&bundle)?
        ));
    }
    push(&format!("models_per_core: {copies}\n"));
    if let Some((setting, cores)) = &cores {
        push(&format!("# {} = {cores}", setting.origin()));
        push(&format!("cores: {cores}\n"));
    }
    push(
        "# run.sh: one container for each core, on all addresses, core i on 8081 + i. The port for",
    );
    push("# all cores together is new.");
    push("listen:");
    push("  host: 0.0.0.0");
    push("  port: 8080");
    push(&format!("  per_core: {FIRST_PORT}"));
    text.push_str(&rest(settings));
    Ok(text)
}

/// The settings that are not carried over, each key once.
fn rest(settings: &[Setting]) -> String {
    let mut seen = BTreeSet::new();
    let mut text = String::new();
    for setting in settings {
        let key = setting.key.as_str();
        if !CARRIED.contains(&key) && seen.insert(key) {
            let _ = write!(text, "\n#   {}: {}", setting.origin(), left_out(key));
        }
    }
    if text.is_empty() {
        text
    } else {
        format!("\n# Not carried over:{text}\n")
    }
}

/// The chip to serve on, with a comment where the files disagree or have no usable value.
fn chip(settings: &[Setting], push: &mut dyn FnMut(&str)) -> String {
    let mut chips = settings.iter().filter(|setting| setting.key == "CHIP_TYPE");
    let Some(first) = chips.next() else {
        push("# No CHIP_TYPE is set; the server took inf1 then.");
        return "inf1".to_owned();
    };
    push(&format!("# {} = {}", first.origin(), first.value));
    if !profile::names().contains(&first.value.as_str()) {
        push("# neuronc knows no chip of this name: see `neuronc chips`.");
    }
    if let Some(other) = chips.find(|other| other.value != first.value) {
        push(&format!(
            "# {} = {}: what is traced for one does not run on the other.",
            other.origin(),
            other.value
        ));
    }
    first.value.clone()
}

/// The batch size in the name of an artifact, such as `compiled-model-bs-1`.
fn batch_size(stem: &str) -> &str {
    let digits = stem.rsplit_once("bs-").map(|(_, digits)| digits);
    let is_number =
        |digits: &&str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.filter(is_number).unwrap_or("1")
}

/// A text in quotes, so that YAML does not take it for a number or a boolean.
fn quoted(text: &str) -> Result<String> {
    Ok(serde_json::to_string(text)?)
}

/// A setting with its value, which must be a number from 1 up.
fn number(setting: Option<&Setting>) -> Result<Option<(&Setting, u32)>> {
    /// A larger number of cores or models is a mistake.
    const MAX: u32 = 1024;
    let Some(setting) = setting else {
        return Ok(None);
    };
    match setting.value.parse() {
        Ok(number) if (1..=MAX).contains(&number) => Ok(Some((setting, number))),
        _ => Err(
            Failure::usage(format!("{} is `{}`", setting.origin(), setting.value))
                .why(format!("it must be a number from 1 to {MAX}"))
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_values_are_read_as_the_shell_does() {
        for (value, read) in [
            ("\"inf2\"", "inf2"),
            ("'inf2' # a comment", "inf2"),
            ("${CHIP_TYPE:-inf2}", "inf2"),
            ("\"${CHIP_TYPE:-inf2}\"", "inf2"),
            ("", ""),
            ("localhost", "localhost"),
        ] {
            assert_eq!(plain(value), read, "{value}");
        }
        let code = "source .fun\nif [ \"$A\" == \"\" ]; then\n# key=1\n\texport B=2\nfi\n";
        let keys: Vec<(String, usize)> = parse(".env", code)
            .into_iter()
            .map(|setting| (setting.key, setting.line))
            .collect();
        assert_eq!(keys, [("B".to_owned(), 4)]);
    }
}
