//! `neuronc doctor`: examines this machine and says what it lacks for which chip.

use std::path::PathBuf;

use anyhow::Result;

use crate::cli::environment::Environment;
use crate::cli::terminal::interrupt;
use crate::cli::terminal::print::{self, AnswerFormat};
use crate::cli::terminal::wrap::wrap;
use crate::doctor::devices::DeviceNode;
use crate::doctor::facts::MachineFacts;
use crate::doctor::finding::{Finding, FindingSeverity};
use crate::doctor::folders::FolderFacts;
use crate::doctor::host::HostFacts;
use crate::doctor::hub::{HubFacts, HubState};
use crate::doctor::neuron_ls::{CoreHolder, NeuronLs};
use crate::doctor::readiness::{self, Readiness};
use crate::doctor::sdk::SdkEnvironment;
use crate::doctor::{self, ExaminationOptions, MachineDiagnosis};
use crate::failure::{Class, Failure};
use crate::host_memory::HostMemory;
use crate::profile::{self, ChipProfile};

const EXAMPLES: &str = "\
Examples:
  neuronc doctor
  neuronc doctor --chip inf2
  neuronc doctor --chip inf2 --sdk /opt/aws_neuronx_venv_pytorch_2_9 --format json

Exit codes: 0 the chip is ready, or cpu where none is asked for; 1 it is not; 2 no such chip.";

/// Say what this machine has and lacks for each chip, and how to fix it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct DoctorArgs {
    /// Only this chip [default: all].
    #[arg(long)]
    chip: Option<String>,

    /// Only the chip of a profile of your own.
    #[arg(long, value_name = "FILE", conflicts_with = "chip")]
    profile: Option<PathBuf>,

    /// The Neuron SDK: a virtual environment or an interpreter
    /// [default: the places that the profiles name, then `python3` on PATH].
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,

    /// Do not ask the Hub.
    #[arg(long)]
    offline: bool,

    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,
}

/// The chip that works everywhere, and that a machine is judged by where none is asked for.
const HOST: &str = "cpu";

pub(in crate::cli) fn run(args: &DoctorArgs, environment: &Environment) -> Result<()> {
    interrupt::clean_up_on_signals()?;
    let known: Vec<ChipProfile> = profile::names()
        .into_iter()
        .map(profile::load)
        .collect::<Result<_>>()?;
    let chips = match (&args.profile, &args.chip) {
        (Some(file), _) => vec![profile::load_file(file)?],
        (None, Some(name)) => vec![profile::load(name)?],
        (None, None) => known.clone(),
    };
    let mut places = environment.places.clone();
    places.sdk.clone_from(&args.sdk);
    let known = [chips.clone(), known].concat();
    let diagnosis = doctor::diagnose(&ExaminationOptions {
        places: &places,
        chips: &chips,
        known: &known,
        hub: &environment.hub(args.offline),
        folders: &environment.folders(),
    });
    match args.format {
        AnswerFormat::Text => print::answer(&text(&diagnosis))?,
        AnswerFormat::Json => print::json(&diagnosis)?,
    }
    let mut judged = diagnosis.chips.iter().filter(|chip| match chips.len() {
        1 => true,
        _ => chip.chip == HOST,
    });
    if judged.all(Readiness::is_ready) {
        Ok(())
    } else {
        Err(not_ready(&chips).into())
    }
}

fn not_ready(chips: &[ChipProfile]) -> Failure {
    let chip = match chips {
        [chip] => &chip.name,
        _ => HOST,
    };
    Failure::new(
        Class::Negative,
        format!("this machine is not ready for `{chip}`"),
    )
    .help("each problem is in the answer, with its fix")
}

fn text(diagnosis: &MachineDiagnosis) -> String {
    let MachineDiagnosis {
        machine, findings, ..
    } = diagnosis;
    let mut lines = vec![wrap("", &diagnosis.answer), String::new()];
    lines.extend(facts(machine));
    let groups = [
        (FindingSeverity::Problem, "problems"),
        (FindingSeverity::Warning, "warnings"),
        (FindingSeverity::Note, "notes"),
    ];
    for (severity, title) in groups {
        let mut group = findings
            .iter()
            .filter(|f| f.severity == severity)
            .peekable();
        if group.peek().is_some() {
            lines.push(format!("\n{title}:"));
            lines.extend(group.map(|finding| shown(finding, diagnosis.chips.len())));
        }
    }
    lines.join("\n")
}

/// A finding; its chips are only named where it may not be about all.
fn shown(finding: &Finding, chips: usize) -> String {
    let names: Vec<&str> = finding.chips.iter().map(String::as_str).collect();
    let what = if names.is_empty() || chips == 1 {
        finding.what.clone()
    } else {
        format!("{}: {}", readiness::list(&names), finding.what)
    };
    let mut lines = vec![wrap("- ", &what)];
    if let Some(why) = &finding.why {
        lines.extend(labelled("why:", why.lines()));
    }
    lines.extend(labelled("fix:", finding.fix.lines()));
    lines.join("\n")
}

fn labelled<'a>(label: &str, texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let prefix = |index| if index == 0 { label } else { "" };
    texts
        .enumerate()
        .map(|(index, text)| wrap(&format!("  {:<5}", prefix(index)), text))
        .collect()
}

/// What was found out, one label for each thing.
fn facts(machine: &MachineFacts) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |label: &str, texts: Vec<String>| {
        for (index, text) in texts.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            lines.push(wrap(&format!("{label:<12}"), text));
        }
    };
    let product = machine.instance.product.clone();
    say(
        "machine",
        vec![product.unwrap_or_else(|| "of unknown type".to_owned())],
    );
    say("processor", processor(&machine.host));
    say("memory", vec![memory(&machine.host.memory)]);
    say("disk", machine.folders.iter().map(disk).collect());
    say("libtorch", vec![libtorch(machine)]);
    say("devices", devices(machine));
    say("held by", holders(&machine.neuron_ls));
    say("driver", vec![driver(machine)]);
    say("runtime", runtime(machine));
    say("SDK", environments(&machine.sdk));
    say("Hub", vec![hub(&machine.hub)]);
    lines
}

fn processor(host: &HostFacts) -> Vec<String> {
    let count = host.processors_usable.or(host.processors);
    let count = count.map_or(String::new(), |count| format!(", {count} usable"));
    let model = host.model.as_deref().unwrap_or("of unknown model");
    let features = if host.features.is_empty() {
        "no feature that matters is known".to_owned()
    } else {
        host.features.join(" ")
    };
    vec![format!("{model}{count}"), features]
}

fn memory(memory: &HostMemory) -> String {
    let size = |bytes: Option<u64>| bytes.map_or("an unknown part".to_owned(), gibibytes);
    let Some(total) = memory.total else {
        return "unknown".to_owned();
    };
    let limit = memory.limit.map_or(String::new(), |limit| {
        format!(
            "; limited to {}, of which {} are left",
            gibibytes(limit),
            size(memory.left_in_limit)
        )
    });
    format!(
        "{} of {} are free{limit}",
        size(memory.available),
        gibibytes(total)
    )
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1u32 << 30))
}

fn disk(folder: &FolderFacts) -> String {
    let free = folder.free_bytes.map_or("unknown".to_owned(), gibibytes);
    let named = &folder.named;
    format!(
        "{free} free for {}: `{}`",
        named.purpose,
        named.path.display()
    )
}

fn libtorch(machine: &MachineFacts) -> String {
    let libtorch = &machine.libtorch;
    match (&libtorch.version, &libtorch.executor_version) {
        (Some(version), Some(executor)) => format!("{version}, in neuronc-torch {executor}"),
        _ => "none that works".to_owned(),
    }
}

fn devices(machine: &MachineFacts) -> Vec<String> {
    let nodes = &machine.devices.nodes;
    if nodes.is_empty() {
        return vec!["none".to_owned()];
    }
    let listed = &machine.neuron_ls.devices;
    let of = |device: &DeviceNode| {
        let tool = listed.iter().find(|l| l.neuron_device == device.number);
        let name = device.name.as_deref().map(|name| format!("{name}, "));
        let cores = tool.map(|listed| listed.nc_count).or(device.cores);
        let cores = cores.map_or("an unknown number of cores".to_owned(), |cores| {
            format!("{cores} cores")
        });
        let memory = tool.and_then(|listed| listed.memory_size);
        let memory = memory.map(|bytes| format!(", {}", gibibytes(bytes)));
        [name.unwrap_or_default(), cores, memory.unwrap_or_default()].concat()
    };
    let mut lines: Vec<(u32, u32, String)> = Vec::new();
    for device in nodes {
        let what = of(device);
        match lines.last_mut() {
            Some((_, last, known)) if *known == what && *last + 1 == device.number => {
                *last = device.number;
            }
            _ => lines.push((device.number, device.number, what)),
        }
    }
    let line = |(first, last, what): &(u32, u32, String)| {
        if first == last {
            format!("{first}: {what}")
        } else {
            format!("{first} to {last}: {what} each")
        }
    };
    lines.iter().map(line).collect()
}

/// A longer command is cut: it is only there to recognise the process by.
const COMMAND_CHARACTERS_MAX: usize = 40;

fn holders(neuron_ls: &NeuronLs) -> Vec<String> {
    let line = |device: u32, process: &CoreHolder| {
        let command: String = process
            .command
            .chars()
            .take(COMMAND_CHARACTERS_MAX)
            .collect();
        let command = if command.is_empty() {
            String::new()
        } else {
            format!(" (`{command}`)")
        };
        let asked = process.asked_for.iter();
        let asked: Vec<String> = asked.map(|(n, value)| format!(", {n}={value}")).collect();
        format!(
            "device {device}: process {}{command}{}",
            process.pid,
            asked.concat()
        )
    };
    let held = neuron_ls.devices.iter().flat_map(|device| {
        let number = device.neuron_device;
        device.neuron_processes.iter().map(move |p| line(number, p))
    });
    held.collect()
}

fn driver(machine: &MachineFacts) -> String {
    match (&machine.driver.version, machine.driver.is_loaded()) {
        (Some(version), _) => version.clone(),
        (None, true) => "loaded, of unknown version".to_owned(),
        (None, false) => "none".to_owned(),
    }
}

fn runtime(machine: &MachineFacts) -> Vec<String> {
    let inside = machine.sdk.iter().flat_map(|sdk| sdk.chips.values());
    let inside = inside.filter_map(|fit| fit.runtime.as_ref());
    let all = machine.runtime.iter().chain(inside);
    let found = all.filter(|library| library.file.is_some());
    let lines = found.map(|library| {
        let version = library.version.as_deref().unwrap_or("of unknown version");
        format!("{version}: `{}`", library.path.display())
    });
    let mut lines: Vec<String> = lines.collect();
    lines.dedup();
    if lines.is_empty() {
        vec!["none".to_owned()]
    } else {
        lines
    }
}

fn environments(sdk: &[SdkEnvironment]) -> Vec<String> {
    let line = |environment: &SdkEnvironment| {
        let python = format!("`{}`", environment.python.display());
        let Some(probed) = &environment.probed else {
            return format!("{python}: it does not answer");
        };
        let serves = environment.chips.keys().filter(|c| environment.serves(c));
        let serves: Vec<&str> = serves.map(String::as_str).collect();
        let serves = if serves.is_empty() {
            "of no use for a Neuron chip".to_owned()
        } else {
            format!("for {}", readiness::list(&serves))
        };
        let named = [
            "torch",
            "torch-neuron",
            "torch-neuronx",
            "neuron-cc",
            "neuronx-cc",
        ];
        let packages = named.iter().filter_map(|name| {
            let version = probed.packages.get(*name)?;
            Some(format!(", {name} {version}"))
        });
        let packages: String = packages.collect();
        format!("{python}, {serves}: Python {}{packages}", probed.python)
    };
    if sdk.is_empty() {
        vec!["none".to_owned()]
    } else {
        sdk.iter().map(line).collect()
    }
}

fn hub(hub: &HubFacts) -> String {
    let endpoint = &hub.endpoint;
    let token = if hub.with_token { ", with a token" } else { "" };
    match (hub.state, hub.millis) {
        (HubState::Answers, Some(millis)) => format!("{endpoint} answers in {millis} ms{token}"),
        (HubState::Answers, None) => format!("{endpoint} answers{token}"),
        (HubState::Offline, _) => "offline: only the cache is used".to_owned(),
        (HubState::RejectsToken, _) => format!("{endpoint} rejects the token"),
        (HubState::Unreachable, _) => format!("{endpoint} cannot be asked"),
    }
}
