//! Findings about what every chip needs: the executor, memory, disk and the Hub.

use crate::doctor::facts::MachineFacts;
use crate::doctor::finding::{Capability, Finding};
use crate::doctor::folders::{FolderFacts, NamedFolder};
use crate::doctor::hub::HubState;
use crate::executor::job::PROTOCOL;
use crate::profile::ChipProfile;

const BOTH: &[Capability] = &[Capability::Trace, Capability::Serve];
const GIB: f64 = (1u64 << 30) as f64;

/// Our choice: a model of a few hundred megabytes, its bundle and the files of a compiler take less.
const FREE_BYTES_MIN: u64 = 2 << 30;

pub(super) fn of_host(machine: &MachineFacts, chips: &[ChipProfile]) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(libtorch(machine));
    found.extend(chips.iter().filter_map(|chip| memory(machine, chip)));
    found.extend(chips.iter().filter_map(|chip| bf16(machine, chip)));
    found.extend(folders(machine));
    found.extend(hub(machine));
    found
}

fn libtorch(machine: &MachineFacts) -> Option<Finding> {
    let libtorch = &machine.libtorch;
    let broken = |what: &str| Finding::problem("no-libtorch", BOTH, "a working libtorch", what);
    let together = "install `neuronc` and `neuronc-torch` of one release into one folder; in the \
                    repository run `make build`";
    if let Some(problem) = &libtorch.problem {
        // Its help is for `neuronc trace`; the fix below replaces it.
        let why = problem.split("\n  help:").next().unwrap_or_default();
        return Some(
            broken("the executor `neuronc-torch`, which holds libtorch, does not work")
                .why(why.replace("\n  why:  ", ": "))
                .fix(together),
        );
    }
    let protocol = libtorch.protocol.filter(|protocol| *protocol != PROTOCOL)?;
    let other = broken("`neuronc-torch` is of another release").why(format!(
        "it speaks protocol {protocol}, and `neuronc` {PROTOCOL}"
    ));
    Some(other.fix(together))
}

/// Too little memory to compile, where the machine has the SDK to compile at all.
fn memory(machine: &MachineFacts, chip: &ChipProfile) -> Option<Finding> {
    let needed = chip.sdk.as_ref()?.compile_memory.base_gib * GIB;
    let usable = machine.host.memory.usable()?;
    let can_compile = machine.sdk.iter().any(|sdk| sdk.serves(&chip.name));
    (can_compile && (usable as f64) < needed).then(|| {
        Finding::warning(
            "little-memory",
            format!(
                "{:.1} GiB of memory are free, and a compilation is expected to need {:.1} or more",
                usable as f64 / GIB,
                needed / GIB
            ),
        )
        .why("without enough, the kernel kills the compiler: exit status -9, or `[F137]`")
        .fix(
            "free some, raise the limit of the container, or compile on a larger machine: tracing \
             needs no device",
        )
        .of(chip)
    })
}

fn bf16(machine: &MachineFacts, chip: &ChipProfile) -> Option<Finding> {
    let host = &machine.host;
    let is_host = chip.compiler.kind.is_host();
    // Nothing is known about a processor without a list of features.
    let lacks = !host.features.is_empty() && !host.multiplies_bf16();
    (is_host && lacks).then(|| {
        Finding::note("no-bf16", "the processor has no instructions for bf16")
            .fix("trace without a cast to bf16: on this machine it may cost time instead of saving it")
            .of(chip)
    })
}

fn folders(machine: &MachineFacts) -> Vec<Finding> {
    let judge = |folder: &FolderFacts| {
        let NamedFolder {
            purpose,
            variable,
            path,
        } = &folder.named;
        let path = path.display();
        if !folder.writable {
            return Some(
                Finding::warning(
                    "read-only-folder",
                    format!("the folder for {purpose} cannot be written to"),
                )
                .why(format!("`{path}`"))
                .fix(format!(
                    "give this user the right to write there, or name another folder with {variable}"
                )),
            );
        }
        let free = folder.free_bytes.filter(|free| *free < FREE_BYTES_MIN)?;
        Some(
            Finding::warning(
                "little-disk",
                format!(
                    "{:.1} GiB are free for {purpose}, and {:.1} may be needed",
                    free as f64 / GIB,
                    FREE_BYTES_MIN as f64 / GIB
                ),
            )
            .why(format!("`{path}`"))
            .fix(format!("free some, or name another folder with {variable}")),
        )
    };
    machine.folders.iter().filter_map(judge).collect()
}

fn hub(machine: &MachineFacts) -> Option<Finding> {
    let hub = &machine.hub;
    let endpoint = &hub.endpoint;
    let local = "name a folder that holds the model, or use `--offline` with what the cache holds";
    match hub.state {
        HubState::Answers => None,
        HubState::Offline => Some(
            Finding::note(
                "hub-offline",
                "the Hub is not asked, and only its cache is used",
            )
            .why("`--offline`, HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE says so")
            .fix("to download models, run without them"),
        ),
        HubState::RejectsToken => Some(
            Finding::warning("hub-token", format!("{endpoint} rejects the token")).fix(
                "set HF_TOKEN to a valid token, or unset it and remove the token file for public \
                 models",
            ),
        ),
        HubState::Unreachable => Some(
            Finding::warning("hub-unreachable", format!("{endpoint} cannot be asked"))
                .why(hub.problem.clone().unwrap_or_default())
                .fix(format!(
                    "check the network, the proxy and HF_ENDPOINT; without them, {local}"
                )),
        ),
    }
}
