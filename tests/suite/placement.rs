//! What must hold for every placement on every instance that neuronc knows.

use std::collections::BTreeSet;

use neuronc::placement::cores::{CoreList, Cores, Wanted};
use neuronc::placement::machine::{Machine, MachineMemory};
use neuronc::placement::memory::Memory;
use neuronc::placement::model::Model;
use neuronc::placement::{Placement, place};
use neuronc::profile::{self, ChipProfile};
use proptest::prelude::*;

use crate::support::property_cases;

/// Every instance of every profile, with each size that its cores can have.
pub(crate) fn machines() -> Vec<(ChipProfile, Machine)> {
    let profiles = profile::names()
        .into_iter()
        .map(|name| profile::load(name).unwrap());
    profiles
        .flat_map(|profile| {
            let grouped = profile
                .hardware
                .iter()
                .flat_map(|h| h.logical_cores_per_device.keys());
            let mut sizes: Vec<Option<u32>> = grouped.map(|size| Some(*size)).collect();
            if sizes.is_empty() {
                sizes.push(None);
            }
            let of_row = |name: &str| {
                let machine = |size| Machine::instance(&profile, name, size).unwrap();
                sizes
                    .iter()
                    .map(|size| (profile.clone(), machine(*size)))
                    .collect::<Vec<_>>()
            };
            let rows = profile.instances.iter();
            rows.flat_map(|row| of_row(&row.name)).collect::<Vec<_>>()
        })
        .collect()
}

#[derive(Debug, Clone)]
struct PlacementCase {
    machine: Machine,
    usable: CoreList,
    per_core: usize,
    models: Vec<Model>,
}

fn model(index: usize, width: usize, gib_tenths: u64, cores: Option<CoreList>) -> Model {
    Model {
        name: format!("m{index}"),
        chip: "any".to_owned(),
        width,
        buckets: 1,
        memory: Memory {
            packed: 0,
            weights: gib_tenths * (1 << 30) / 10,
            weight_copies: 1,
            weights_shared: false,
            code: 0,
            activations: 0,
        },
        cores,
    }
}

/// A machine, some of its cores, and models of which some have cores of their own.
fn case() -> impl Strategy<Value = PlacementCase> {
    proptest::sample::select(machines()).prop_flat_map(|(_, machine)| {
        let all = machine.cores as usize;
        let some = proptest::collection::btree_set(0..machine.cores, 1..=all);
        let usable = prop_oneof![Just((0..machine.cores).collect()), some];
        let pinned = proptest::option::weighted(
            0.3,
            proptest::collection::btree_set(0..machine.cores, 1..=4.min(all)),
        );
        let models = proptest::collection::vec((1usize..=4, 1u64..60, pinned), 1..6);
        (Just(machine), usable, 1usize..5, models).prop_map(
            |(machine, usable, per_core, models)| {
                let models = models.into_iter().enumerate();
                let models = models.map(|(index, (width, memory, pinned))| {
                    model(index, width, memory, pinned.map(CoreList::of))
                });
                PlacementCase {
                    machine,
                    usable: CoreList::of(usable),
                    per_core,
                    models: models.collect(),
                }
            },
        )
    })
}

fn check(case: &PlacementCase, placement: &Placement) -> Result<(), TestCaseError> {
    let machine = &case.machine;
    let mut used = BTreeSet::new();
    for worker in &placement.workers {
        prop_assert!(!worker.models.is_empty() && worker.models.len() <= case.per_core);
        for core in worker.cores.iter() {
            prop_assert!(used.insert(core), "core {core} twice");
            prop_assert!(
                core < machine.cores && case.usable.contains(core),
                "core {core}"
            );
        }
        let cores: Vec<u32> = worker.cores.iter().collect();
        prop_assert!(
            cores.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "{cores:?} apart"
        );
        let per_device = machine.cores_per_device.unwrap();
        let devices: BTreeSet<u32> = cores.iter().map(|core| core / per_device).collect();
        prop_assert_eq!(worker.devices.iter().collect::<BTreeSet<_>>(), devices);
        let distinct: BTreeSet<&usize> = worker.models.iter().collect();
        prop_assert_eq!(distinct.len(), worker.models.len());
        for index in &worker.models {
            let model = &case.models[*index];
            prop_assert_eq!(model.width, cores.len());
            let there = model
                .cores
                .as_ref()
                .is_none_or(|list| cores.iter().all(|core| list.contains(*core)));
            prop_assert!(there, "`{}` is on {cores:?}", model.name);
        }
        let memory: u64 = worker
            .models
            .iter()
            .map(|index| case.models[*index].memory.each())
            .sum();
        let MachineMemory::PerCore(limit) = machine.memory else {
            panic!("{machine:?}")
        };
        prop_assert_eq!(worker.memory_bytes, memory);
        prop_assert!(
            memory <= limit * cores.len() as u64,
            "{memory} of {limit} a core"
        );
        prop_assert!(worker.threads >= 1);
        let visible = &worker.environment(machine)["NEURON_RT_VISIBLE_CORES"];
        prop_assert_eq!(&CoreList::parse(visible, "it").unwrap(), &worker.cores);
        prop_assert!(!visible.contains(','), "the runtime refuses {visible}");
    }
    let idle: BTreeSet<u32> = placement.idle.iter().collect();
    prop_assert!(idle.is_disjoint(&used));
    prop_assert_eq!(
        idle.union(&used).copied().collect::<Vec<_>>(),
        case.usable.iter().collect::<Vec<_>>()
    );
    if let Some(vcpus) = machine.vcpus {
        let shares: u32 = placement
            .workers
            .iter()
            .map(|worker| worker.vcpus.unwrap())
            .sum();
        prop_assert!(shares <= vcpus, "{shares} of {vcpus}");
    }
    check_copies(case, placement)
}

/// Each model runs somewhere, and one with cores of its own on all of them.
fn check_copies(case: &PlacementCase, placement: &Placement) -> Result<(), TestCaseError> {
    for (index, model) in case.models.iter().enumerate() {
        let asked = model.cores.as_ref().map(|cores| cores.len() / model.width);
        let copies = placement.copies(index);
        prop_assert!(
            asked.map_or(copies >= 1, |asked| copies == asked),
            "{copies} of {asked:?}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: property_cases(2000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_placed_fits_on_every_instance(case in case()) {
        // What does not fit is refused, which other tests look at.
        if let Ok(placement) = place(case.machine.clone(), &case.usable, case.per_core, case.models.clone()) {
            check(&case, &placement)?;
        }
    }
}

#[test]
fn every_instance_takes_a_small_model_on_every_core() {
    let machines = machines();
    assert!(machines.len() > 14, "{}", machines.len());
    for (_, machine) in machines {
        for per_core in [1, 2] {
            let case = PlacementCase {
                usable: Wanted::default().resolve(machine.cores).unwrap(),
                machine: machine.clone(),
                per_core,
                models: vec![model(0, 1, 3, None), model(1, 1, 4, None)],
            };
            let placement = place(
                case.machine.clone(),
                &case.usable,
                per_core,
                case.models.clone(),
            )
            .unwrap();
            check(&case, &placement).unwrap();
            assert!(placement.idle.is_empty());
            assert_eq!(placement.workers.len(), machine.cores as usize);
            assert!(
                placement
                    .workers
                    .iter()
                    .all(|worker| worker.models.len() == per_core)
            );
        }
    }
}

#[test]
fn cores_and_devices_are_those_of_the_chip() {
    // Where the reference system gives every chip four cores a device.
    for (instance, core, device) in [
        ("inf1.24xlarge", 10, 2),
        ("inf2.24xlarge", 10, 5),
        ("inf2.24xlarge", 2, 1),
        ("trn2.48xlarge", 10, 2),
    ] {
        let (_, machine) = machines()
            .into_iter()
            .rfind(|(_, machine)| machine.name == instance)
            .unwrap();
        assert_eq!(machine.device(core), Some(device), "{instance}");
    }
}

fn placed(models: Vec<Model>, per_core: usize) -> Result<Placement, String> {
    let profile = profile::load("inf2").unwrap();
    let machine = Machine::instance(&profile, "inf2.24xlarge", None).unwrap();
    let usable = Wanted {
        cores: Some(Cores::Count(6)),
        ..Wanted::default()
    };
    let usable = usable.resolve(machine.cores).unwrap();
    place(machine, &usable, per_core, models).map_err(|error| error.to_string())
}

fn on(list: &str) -> Option<CoreList> {
    Some(CoreList::parse(list, "it").unwrap())
}

#[test]
fn overlaps_are_refused_before_anything_starts() {
    let refused = |models: Vec<Model>, per_core: usize, parts: &[&str]| {
        let error = placed(models, per_core).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    };
    let pair =
        |width, first, second| vec![model(0, 1, 1, on(first)), model(1, width, 1, on(second))];
    refused(
        pair(1, "0-3", "3-5"),
        1,
        &["`m0` and `m1` overlap on core 3", "--models-per-core 2"],
    );
    refused(
        pair(2, "0-1", "1-2"),
        2,
        &["`m0` and `m1` overlap", "a core belongs to one process"],
    );
    refused(
        vec![model(0, 1, 1, on("5-6"))],
        1,
        &["core 6, which may not be used", "0-5"],
    );
    refused(
        vec![model(0, 1, 1, on("12"))],
        1,
        &["`m0` names core 12", "cores 0-11"],
    );
    refused(
        vec![model(0, 2, 1, on("0-2"))],
        1,
        &["does not fill cores 0-2", "2 adjacent cores"],
    );
    refused(
        vec![model(0, 2, 1, on("0,2"))],
        1,
        &["does not fill cores 0,2", "from core 0 on"],
    );
    refused(
        vec![model(0, 8, 1, None)],
        1,
        &["no core left for model `m0`", "8 adjacent cores"],
    );
    let seven = (0..7).map(|index| model(index, 1, 1, None)).collect();
    refused(
        seven,
        1,
        &[
            "no core left for model `m6`",
            "7 models on 6 cores",
            "--models-per-core 2",
        ],
    );
    let same = vec![model(0, 1, 1, None), model(0, 1, 1, None)];
    refused(
        same,
        1,
        &["two models are named `m0`", "--model NAME=BUNDLE"],
    );
    assert!(placed(pair(1, "0-3", "3-5"), 2).is_ok());
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers_and_what_would() {
    let three = (0..3).map(|index| model(index, 1, 70, None)).collect();
    let error = placed(three, 3).unwrap_err();
    for part in [
        "core 0 do not fit inf2.24xlarge",
        "21 GiB of 16 GiB",
        "--models-per-core 2",
    ] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    let error = placed(vec![model(0, 1, 170, None)], 1).unwrap_err();
    for part in [
        "17 GiB of 16 GiB",
        "trace `m0` with fewer or smaller buckets",
    ] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    // In a pipeline, the cores of a copy hold it together.
    assert!(placed(vec![model(0, 2, 170, None)], 1).is_ok());
}
