//! A worker on a chip: `neuronc-torch` with a library that registers the class and the operators of
//! libtorchneuron.so, against our libtorch, and artifacts that need them.

mod built;
mod chip;
mod numeric;

use std::fs;
use std::time::{Duration, Instant};

use neuronc::failure::{Class, Failure};
use neuronc::runtime::{Backend, EXEC_TIMEOUT, Preload, RunError, Worker};
use neuronc::serve::Limits;
use neuronc::verify::verify;

use built::Build;
use chip::{Bundles, ChipMachine, LONG, host_program, run_one};

/// All `parts` are in `text`.
#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn artifacts_of_a_chip_give_the_numbers_of_the_model() {
    let bundles = Bundles::shared();
    let (chip, host) = (bundles.chip(), bundles.host());
    let machine = ChipMachine::new();
    let mut worker = machine.start(&chip, 0).unwrap();
    let verification = verify(&chip, &mut worker, &mut |_| ()).unwrap();
    assert!(verification.passed, "{verification:?}");
    assert_eq!(verification.buckets.len(), 2);

    let log = tempfile::tempfile().unwrap();
    let mut plain = Worker::start(&Backend::host(host_program()), &host, 1, log).unwrap();
    let ours = run_one(&mut worker, &chip, LONG).unwrap();
    let expected = run_one(&mut plain, &host, LONG).unwrap();
    assert_eq!(ours.len(), expected.len());
    for (ours, expected) in ours.iter().zip(&expected) {
        assert!((ours - expected).abs() < 1e-6, "{ours} {expected}");
    }
}

#[test]
fn without_the_plugin_the_artifacts_are_named_for_what_they_are() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let log = tempfile::tempfile().unwrap();
    let error = Worker::start(&Backend::host(host_program()), &bundle, 1, log).unwrap_err();
    assert_eq!(Failure::class_of(&error), Class::Executor);
    let text = error.to_string();
    has(
        &text,
        &[
            "a worker cannot load the bundle",
            "`neuronc explain unknown-builtin-op`",
            "RTLD_GLOBAL",
        ],
    );
}

#[test]
fn a_plugin_that_cannot_be_opened_is_diagnosed() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let machine = ChipMachine::new();
    fs::remove_file(machine.plugin()).unwrap();
    let text = machine.refusal(&bundle);
    has(
        &text,
        &[
            "does not exist",
            "libtorchneuron.so",
            "explain plugin-unusable",
        ],
    );

    fs::write(machine.plugin(), b"\x7fELF, but no more").unwrap();
    has(
        &machine.refusal(&bundle),
        &["is not a library", "explain plugin-unusable"],
    );

    let mut foreign = fs::read(Build::Plugin.file()).unwrap();
    // The processor in the header of an ELF file; 8 is MIPS.
    foreign[18] = 8;
    fs::write(machine.plugin(), foreign).unwrap();
    has(
        &machine.refusal(&bundle),
        &[
            "is a library for another processor",
            "explain plugin-unusable",
        ],
    );

    let machine = ChipMachine::with(Build::WithRuntime);
    let text = machine.refusal(&bundle);
    has(
        &text,
        &[
            "libnrt.so.1",
            "aws-neuronx-runtime-lib",
            "LD_LIBRARY_PATH",
            "explain libnrt-missing",
        ],
    );
}

#[test]
fn a_plugin_of_another_libtorch_is_refused_before_it_is_opened() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let machine = ChipMachine::with(Build::OldAbi);
    let text = machine.refusal(&bundle);
    has(&text, &["old C++ ABI", "RKSs", "explain abi-mismatch"]);

    let machine = ChipMachine::new();
    machine.set_torch("2.8.0+cu128");
    let text = machine.refusal(&bundle);
    has(
        &text,
        &[
            "built for torch 2.8.0+cu128",
            "libtorch 2.9.0",
            "explain abi-mismatch",
        ],
    );
    assert!(!text.contains("undefined symbol"), "{text}");

    // What a probe found out comes before the file.
    let log = || tempfile::tempfile().unwrap();
    assert!(Worker::start(&machine.backend(Some("2.9.0")), &bundle, 1, log()).is_ok());
    machine.set_torch("2.9.0");
    let error = Worker::start(&machine.backend(Some("1.13.1")), &bundle, 1, log()).unwrap_err();
    has(&error.to_string(), &["built for torch 1.13.1"]);
}

#[test]
fn libnrt_is_found_in_the_folder_of_the_profile() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let machine = ChipMachine::with(Build::WithRuntime);
    let folder = machine.path("opt/aws/neuron/lib");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(Build::Runtime.file(), folder.join("libnrt.so.1")).unwrap();
    machine.start(&bundle, 0).unwrap();
}

#[test]
fn a_core_has_one_worker() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let machine = ChipMachine::new();
    let first = machine.start(&bundle, 1).unwrap();
    let error = machine.start(&bundle, 1).unwrap_err();
    has(
        &error.to_string(),
        &[
            "Another process holds the cores",
            "Requested:nc1-nc1 Available:0",
            "`neuron-ls`",
        ],
    );
    machine.start(&bundle, 0).unwrap();
    drop(first);
    machine.start(&bundle, 1).unwrap();
}

#[test]
fn a_machine_that_cannot_load_says_why() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    for (fault, parts) in [
        ("busy", ["explain cores-not-available", "Available:0"]),
        (
            "neff-version",
            ["explain neff-version", "NEFF version mismatch"],
        ),
        ("allocation", ["explain NRT_RESOURCE", "`neuron-monitor`"]),
    ] {
        let machine = ChipMachine::faulty(fault);
        let text = machine.refusal(&bundle);
        has(&text, &parts);
        has(&machine.logged(), &["ERROR  N"]);
    }
    let machine = ChipMachine::new();
    let core = machine.start(&bundle, 7).unwrap_err();
    has(&core.to_string(), &["explain cores-not-available"]);
    bundles.compile("newer", Some("9"));
    let text = machine.refusal(&bundles.open("newer"));
    has(
        &text,
        &[
            "received: 9.0",
            "explain neff-version",
            "aws-neuronx-runtime-lib",
        ],
    );
}

#[test]
fn a_model_is_never_served_by_a_chip_that_is_not_there() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let machine = ChipMachine::new();
    fs::remove_file(machine.path("dev/neuron0")).unwrap();
    // The library itself only warns, and loads.
    let text = machine.refusal(&bundle);
    has(
        &text,
        &[
            "a worker does not use its core",
            "No neuron device available",
            "explain no-device",
        ],
    );
    has(&machine.logged(), &["Model was not sent to NeuronCore"]);
}

#[test]
fn a_failed_run_costs_the_worker_only_where_the_core_is_lost() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    for (status, name, is_lost) in [
        (2, "NRT_INVALID", false),
        (4, "NRT_RESOURCE", false),
        (5, "NRT_TIMEOUT", true),
        (101, "NRT_EXEC_UNIT_UNRECOVERABLE", true),
        (1002, "NRT_EXEC_BAD_INPUT", false),
        (1003, "NRT_EXEC_COMPLETED_WITH_NUM_ERR", false),
        (1006, "NRT_EXEC_OOB", false),
        (1202, "NRT_EXEC_HW_ERR_NC_UE", true),
    ] {
        let machine = ChipMachine::faulty(&format!("exec:{status}"));
        let mut worker = machine.start(&bundle, 0).unwrap();
        let error = run_one(&mut worker, &bundle, LONG).unwrap_err();
        has(&format!("{error:#}"), &[name]);
        match error.downcast_ref::<RunError>() {
            Some(refused) => {
                assert!(!is_lost, "{status}: {refused}");
                let diagnosis = refused.diagnosis.as_ref().unwrap();
                assert_eq!(diagnosis.entry.name, name);
                worker.check_alive().unwrap();
            }
            None => {
                assert!(is_lost, "{status}: {error:#}");
                assert_eq!(Failure::class_of(&error), Class::Executor);
            }
        }
    }
}

#[test]
fn numbers_that_are_none_arrive_as_such() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let machine = ChipMachine::faulty("nan");
    let mut worker = machine.start(&bundle, 0).unwrap();
    let output = run_one(&mut worker, &bundle, LONG).unwrap();
    assert!(output.iter().all(|value| value.is_nan()));
    let verification = verify(&bundle, &mut worker, &mut |_| ()).unwrap();
    assert!(!verification.passed);
    assert!(
        verification
            .buckets
            .iter()
            .all(|bucket| bucket.difference.non_finite > 0)
    );
}

#[test]
fn a_hang_ends_at_the_deadline_with_the_worker() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let machine = ChipMachine::faulty("hang");
    let mut worker = machine.start(&bundle, 0).unwrap();
    let start = Instant::now();
    let error = run_one(&mut worker, &bundle, Duration::from_millis(300)).unwrap_err();
    has(
        &format!("{error:#}"),
        &["did not answer within 300ms and was killed", "signal: 9"],
    );
    assert!(worker.check_alive().is_err());
    drop(worker);
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_crash_is_told_with_its_signal() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let machine = ChipMachine::faulty("crash");
    let mut worker = machine.start(&bundle, 0).unwrap();
    let error = run_one(&mut worker, &bundle, LONG).unwrap_err();
    has(&format!("{error:#}"), &["signal: 6"]);
    assert!(error.downcast_ref::<RunError>().is_none());
}

#[test]
fn a_module_is_for_an_interpreter() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let module = Preload::Module("torch_neuronx".to_owned());
    let backend = Backend::chip(host_program(), module, None);
    let log = tempfile::tempfile().unwrap();
    let error = Worker::start(&backend, &bundle, 1, log).unwrap_err();
    has(&error.to_string(), &["no interpreter", "`torch_neuronx`"]);
}

#[test]
fn a_program_that_is_not_there_is_a_missing_executor() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let mut program = host_program();
    program.path = "/no/such/program".into();
    let log = tempfile::tempfile().unwrap();
    let error = Worker::start(&Backend::host(program), &bundle, 1, log).unwrap_err();
    assert_eq!(Failure::class_of(&error), Class::Executor);
    has(&error.to_string(), &["`/no/such/program` does not exist"]);
}

#[test]
fn the_chip_speaks_before_the_server_kills_its_worker() {
    assert!(EXEC_TIMEOUT < Limits::STANDARD.run);
}
