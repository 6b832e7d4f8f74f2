//! Artifacts run once where a device is, and never where none is.

use std::fs;

use serde_json::json;

use super::{Bench, ONE};

/// A bench on a machine that seems to have a device.
pub(super) fn with_device(chip: &str) -> Option<Bench> {
    let mut bench = Bench::new(chip)?;
    fs::create_dir_all(bench.place.path("root/dev")).unwrap();
    fs::write(bench.place.path("root/dev/neuron0"), "").unwrap();
    let root = bench.place.path("root").display().to_string();
    bench.place.set("NEURONC_ROOT", &root);
    Some(bench)
}

/// What the double does wrong on that machine.
pub(super) fn set_faults(bench: &Bench, mut faults: serde_json::Value) {
    faults["device_root"] = json!(bench.place.path("root"));
    bench.set_faults(&faults);
}

#[test]
fn a_damaged_artifact_is_noticed_where_a_device_is() {
    for chip in ["inf2", "inf1"] {
        let Some(bench) = with_device(chip) else {
            return;
        };
        set_faults(&bench, json!({"compile": "damaged"}));
        let run = bench.trace(&ONE);
        run.fails(5, &["1x16", "the artifact cannot be", "log: "]);
        assert!(!bench.place.path("b").exists());
        set_faults(&bench, json!({}));
        bench.trace(&ONE).succeeds();
    }
}

#[test]
fn an_artifact_runs_only_where_a_device_is() {
    for chip in ["inf2", "inf1"] {
        let Some(bench) = with_device(chip) else {
            return;
        };
        set_faults(&bench, json!({"runtime": "nan"}));
        bench.trace(&ONE).fails(5, &["1x16", "not finite"]);
        let Some(without) = Bench::new(chip) else {
            return;
        };
        without.set_faults(&json!({"runtime": "nan"}));
        without.trace(&ONE).succeeds();
    }
}

#[test]
fn a_busy_device_is_no_failure_of_the_compiler() {
    let Some(bench) = with_device("inf2") else {
        return;
    };
    set_faults(&bench, json!({"runtime": "busy"}));
    bench.trace(&ONE).fails(4, &["1x16", "not available"]);
}
