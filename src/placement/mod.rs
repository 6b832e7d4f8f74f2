//! Placement: which models run on which cores of a machine, with how many processors and how much
//! memory. Plain data and no I/O: `place` prints it, `serve` starts it.
//!
//! A **worker** is one process; it has adjacent cores for itself, because the Neuron runtime gives a
//! core to one process only. A worker holds up to so many models as `models_per_core` says, all
//! compiled for as many cores as it has. Start with [`place`].

pub mod capacity;
pub mod cores;
pub mod machine;
pub mod memory;
pub mod model;
mod seats;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use crate::failure::{Class, Failure};
use crate::placement::cores::CoreList;
use crate::placement::machine::{Machine, MachineMemory};
use crate::placement::model::Model;
use crate::placement::seats::Seats;

/// Raised when a key of [`Placement`] changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// Which models run where.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Placement {
    pub schema_version: u32,
    pub machine: Machine,
    pub models_per_core: usize,
    pub models: Vec<Model>,
    /// In the order of their cores.
    pub workers: Vec<Worker>,
    /// Cores that could be used and are not.
    pub idle: CoreList,
}

/// One process and what it has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worker {
    pub cores: CoreList,
    /// The devices of these cores, in the same notation; none where cores are processors.
    pub devices: CoreList,
    /// Indexes into `models`, in their order, each once: a second copy would wait for the first.
    pub models: Vec<usize>,
    /// Processors of the host that are this worker's share, where their number is known.
    pub vcpus: Option<u32>,
    /// Threads that one operator may use on the host.
    pub threads: usize,
    pub memory_bytes: u64,
    /// Of its cores; absent where all workers share the memory of the host.
    pub memory_limit_bytes: Option<u64>,
}

impl Worker {
    /// What the Neuron runtime must find in the environment of the process.
    pub fn environment(&self, machine: &Machine) -> BTreeMap<&'static str, String> {
        let mut environment = BTreeMap::new();
        if machine.cores_per_device.is_some() {
            environment.insert(cores::VISIBLE_CORES, self.cores.to_string());
        }
        if let Some(size) = machine.virtual_core_size {
            environment.insert(cores::VIRTUAL_CORE_SIZE, size.to_string());
        }
        environment
    }
}

impl Placement {
    /// How many copies of model `index` there are.
    pub fn copies(&self, index: usize) -> usize {
        let models = self.workers.iter().flat_map(|worker| &worker.models);
        models.filter(|model| **model == index).count()
    }

    /// What all models take together.
    pub fn memory_bytes(&self) -> u64 {
        memory_bytes(&self.models, &self.workers)
    }
}

fn memory_bytes(models: &[Model], workers: &[Worker]) -> u64 {
    let once: u64 = models.iter().map(|model| model.memory.once()).sum();
    let each: u64 = workers.iter().map(|worker| worker.memory_bytes).sum();
    once + each
}

/// Places `models` on the `usable` cores of `machine`, at most `models_per_core` on each: those with
/// cores of their own there, then the others in turn until no seat is left. Refuses what does not fit.
pub fn place(
    machine: Machine,
    usable: &CoreList,
    models_per_core: usize,
    models: Vec<Model>,
) -> Result<Placement> {
    model::check(&models)?;
    let mut seats = Seats::new(usable, models_per_core);
    for (index, model) in models.iter().enumerate() {
        if let Some(asked) = &model.cores {
            cores::check_range(asked, machine.cores, &format!("model `{}`", model.name))?;
            seats.pin(&models, index, asked)?;
        }
    }
    seats.fill(&models)?;
    let idle = seats.idle();
    let mut workers: Vec<Worker> = seats
        .into_workers()
        .into_iter()
        .map(|(cores, models_there)| worker(&machine, &models, cores, models_there))
        .collect();
    share_vcpus(&machine, &mut workers);
    check_memory(&machine, &models, &workers)?;
    Ok(Placement {
        schema_version: SCHEMA_VERSION,
        machine,
        models_per_core,
        models,
        workers,
        idle,
    })
}

fn worker(machine: &Machine, models: &[Model], cores: CoreList, mut there: Vec<usize>) -> Worker {
    there.sort_unstable();
    let each = |index: &usize| models[*index].memory.each();
    Worker {
        devices: CoreList::of(cores.iter().filter_map(|core| machine.device(core))),
        vcpus: None,
        threads: 1,
        memory_bytes: there.iter().map(each).sum(),
        memory_limit_bytes: match machine.memory {
            MachineMemory::PerCore(bytes) => Some(bytes * cores.len() as u64),
            MachineMemory::Shared(_) => None,
        },
        models: there,
        cores,
    }
}

/// Each worker gets the same whole number of processors for each of its cores; threads need at least
/// one even where processors are fewer than cores.
fn share_vcpus(machine: &Machine, workers: &mut [Worker]) {
    let Some(vcpus) = machine.vcpus else { return };
    let used: usize = workers.iter().map(|worker| worker.cores.len()).sum();
    let of_core = vcpus / u32::try_from(used.max(1)).unwrap_or(u32::MAX);
    for worker in workers {
        let share = of_core * u32::try_from(worker.cores.len()).unwrap_or(u32::MAX);
        worker.vcpus = Some(share);
        worker.threads = share.max(1) as usize;
    }
}

/// Refuses `workers` that do not fit the machine with those of `models` that each of them has.
pub fn check_memory(machine: &Machine, models: &[Model], workers: &[Worker]) -> Result<()> {
    match machine.memory {
        MachineMemory::PerCore(_) => {
            let is_over = |worker: &&Worker| Some(worker.memory_bytes) > worker.memory_limit_bytes;
            let over = workers.iter().find(is_over);
            over.map_or(Ok(()), |worker| {
                Err(too_large(machine, models, worker).into())
            })
        }
        MachineMemory::Shared(limit) if memory_bytes(models, workers) > limit => Err(Failure::new(
            Class::Negative,
            format!("the models do not fit {}", machine.name),
        )
        .why(format!(
            "{} workers need about {}, it has {}",
            workers.len(),
            gib(memory_bytes(models, workers)),
            gib(limit)
        ))
        .help("give fewer `--cores`, or serve fewer models")
        .into()),
        MachineMemory::Shared(_) => Ok(()),
    }
}

/// Why the models of `worker` do not fit its cores, and what would.
fn too_large(machine: &Machine, models: &[Model], worker: &Worker) -> Failure {
    let limit = worker.memory_limit_bytes.unwrap_or(0);
    let names: Vec<String> = worker
        .models
        .iter()
        .map(|index| {
            let model = &models[*index];
            format!("`{}` {}", model.name, gib(model.memory.each()))
        })
        .collect();
    let largest = worker.models.iter().map(|index| &models[*index]);
    let largest = largest.max_by_key(|model| model.memory.each());
    let each = largest.map_or(0, |model| model.memory.each());
    let fitting = limit.checked_div(each).unwrap_or(0);
    let help = match (fitting, largest) {
        (0, Some(model)) => format!(
            "trace `{}` with fewer or smaller buckets: each of its {} holds {} of weights",
            model.name,
            model.memory.weight_copies,
            gib(model.memory.weights)
        ),
        _ => format!(
            "{fitting} of the larger ones fit: give `--models-per-core {fitting}`, or fewer buckets"
        ),
    };
    Failure::new(
        Class::Negative,
        format!(
            "the models for core {} do not fit {}",
            worker.cores, machine.name
        ),
    )
    .why(format!(
        "they need about {} of {}: {}",
        gib(worker.memory_bytes),
        gib(limit),
        names.join(", ")
    ))
    .help(help)
}

/// A size for people, in the unit of instance tables.
pub fn gib(bytes: u64) -> String {
    let gib = bytes as f64 / f64::from(1u32 << 30);
    match gib {
        _ if gib >= 9.95 => format!("{gib:.0} GiB"),
        _ if gib >= 0.095 => format!("{gib:.1} GiB"),
        _ => format!("{:.0} MiB", (gib * 1024.0).ceil()),
    }
}
