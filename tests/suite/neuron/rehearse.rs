//! `neuronc rehearse`: what it finds, what it proves, and what it says that it does not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::transformers::python;
use super::{Bench, ONE, make_environment};
use crate::support::{Run, Workplace, copy_folder, fixture, repository};

const TWO: [&str; 4] = ["--batch-size", "1,4", "--sequence-length", "16"];

/// Rehearses a fixture without naming an interpreter.
fn rehearse(place: &Workplace, chip: &str, more: &[&str]) -> Run {
    let model = fixture("feature-extraction").display().to_string();
    place.run(&[&["rehearse", &model, "--chip", chip], more].concat())
}

/// The environment with the real torch-xla, without any SDK; `None` where the doubles were not made.
fn torch_xla() -> Option<String> {
    // Making a double of it says where it is missing, and why that is allowed.
    let place = Workplace::new();
    if !make_environment("neuronx", &place.path("sdk"), &[]) {
        return None;
    }
    let home = PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or(home, PathBuf::from);
    let folder = cache.join("neuronc/sdk-doubles/neuronx");
    Some(folder.display().to_string())
}

fn texts(value: &Value) -> String {
    let lines = value.as_array().unwrap().iter();
    lines
        .map(|line| format!("{}\n", line.as_str().unwrap()))
        .collect()
}

#[test]
fn inf1_is_traced_and_held_against_its_list() {
    let place = Workplace::new();
    let found = rehearse(&place, "inf1", &[&TWO[..], &["--format", "json"]].concat());
    let found = found.succeeds().json();
    assert_eq!(found["schema_version"], 1);
    assert_eq!(found["chip"], "inf1");
    assert_eq!(found["passed"], true);
    assert_eq!(
        found["compiler_args"],
        json!([
            "--fast-math",
            "fp32-cast-matmult",
            "--neuroncore-pipeline-cores",
            "1"
        ])
    );
    assert_eq!(super::buckets(&found), ["1x16", "4x16"]);
    for bucket in found["buckets"].as_array().unwrap() {
        assert!(bucket["lowering"].is_null(), "neuron-cc takes no HLO");
        let on_host = bucket["on_host"].as_array().unwrap();
        let embeddings = on_host
            .iter()
            .find(|row| row["operator"] == "aten::embedding");
        assert_eq!(embeddings.unwrap()["count"], 2, "{bucket}");
        let operators = &bucket["estimate"]["operators"];
        let host: u64 = on_host
            .iter()
            .map(|row| row["count"].as_u64().unwrap())
            .sum();
        assert_eq!(operators["host"], host);
        assert!(operators["chip"].as_u64().unwrap() > 60, "{operators}");
        // The profile's guess begins with 4 GiB.
        assert!(bucket["compile_memory"].as_u64().unwrap() > 4 << 30);
    }
    assert_eq!(found["core_memory"], 2u64 << 30);
    assert_eq!(found["device_memory"]["weight_copies"], 2);
    assert!(!texts(&found["not_proven"]).contains("HLO"), "{found}");
    assert!(
        place.path(".cache/neuronc/work").read_dir().is_err(),
        "work is left"
    );
}

#[test]
fn inf2_is_lowered_and_run_by_the_real_xla() {
    let Some(xla) = torch_xla() else { return };
    let place = Workplace::new();
    let words = [&TWO[..], &["--sdk", &xla, "-o", "kept", "--format", "json"]].concat();
    let found = rehearse(&place, "inf2", &words).succeeds().json();
    assert_eq!(found["compiler_args"][0], "--target");
    assert_eq!(found["compiler_args"][1], "inf2");
    for bucket in found["buckets"].as_array().unwrap() {
        let lowering = &bucket["lowering"];
        let operators = lowering["operators"].as_array().unwrap();
        let count = |name: &str| {
            let row = operators.iter().find(|row| row["operator"] == name);
            row.map_or(0, |row| row["count"].as_u64().unwrap())
        };
        // Two layers with six linear maps and two products of attention each.
        assert_eq!(count("Dot"), 12, "{operators:?}");
        assert_eq!(count("DotGeneral"), 4, "{operators:?}");
        assert!(count("Erf") > 0 && operators.iter().all(|row| row["state"] != "not_supported"));
        let off = lowering["difference"]["max_abs"].as_f64().unwrap();
        assert!(
            off > 0.0 && off < 1e-5,
            "XLA and libtorch round differently: {lowering}"
        );
        assert_eq!(lowering["difference"]["non_finite"], 0);
        let stem = format!("b{}_s16", bucket["bucket"]["batch"]);
        let hlo = fs::read_to_string(place.path(&format!("kept/hlo/{stem}.txt"))).unwrap();
        assert!(hlo.starts_with("HloModule"), "{hlo}");
        assert!(place.path(&format!("kept/graphs/{stem}.pt")).is_file());
    }
    assert!(texts(&found["proven"]).contains("lowers to HLO"), "{found}");
    assert!(!texts(&found["not_proven"]).contains("HLO"), "{found}");
    // A folder of graphs is not overwritten.
    rehearse(&place, "inf2", &words).fails(2, &["`kept`", "-o"]);
}

#[test]
fn without_torch_xla_it_says_what_is_not_proven() {
    let place = Workplace::new();
    let run = rehearse(&place, "inf2", &TWO).succeeds();
    let text = run.stdout();
    assert!(text.starts_with("nothing stands against compiling feature-extraction for inf2\n"));
    assert!(
        text.contains("2 buckets traced, 0 lowered, none compiled"),
        "{text}"
    );
    let (_, not_proven) = text.split_once("\nnot proven\n").unwrap();
    assert!(
        not_proven.contains("no Python with torch-xla was found"),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn an_interpreter_that_is_named_must_be_able_to_lower() {
    let place = Workplace::new();
    rehearse(&place, "inf2", &["--sdk", "nowhere"]).fails(
        4,
        &["`torch_xla`", "nowhere`, from `--sdk`: it is not there"],
    );
    let Some(bench) = Bench::new("inf1") else {
        return;
    };
    rehearse(&bench.place, "inf2", &["--sdk", "sdk"]).fails(4, &["cannot import `torch_xla`"]);
}

#[test]
fn an_interpreter_that_dies_while_it_lowers_is_no_success() {
    let Some(xla) = torch_xla() else { return };
    for (signal, code, part) in [("KILL", 6, "signal"), ("SEGV", 5, "signal")] {
        let place = Workplace::new();
        let text = format!(
            "#!/bin/sh\ncase \"$*\" in *' lower') kill -{signal} $$ ;; esac\nexec {xla}/bin/python3 \"$@\"\n"
        );
        fs::write(place.path("python"), text).unwrap();
        fs::set_permissions(place.path("python"), fs::Permissions::from_mode(0o755)).unwrap();
        let run = rehearse(&place, "inf2", &[&ONE[..], &["--sdk", "./python"]].concat());
        assert!(!run.stdout().contains("nothing stands against"));
        run.fails(code, &["HLO", part]);
    }
}

#[test]
fn there_is_nothing_to_rehearse_for_the_processor() {
    let place = Workplace::new();
    let refused = ["nothing to rehearse for chip `cpu`", "neuronc trace"];
    rehearse(&place, "cpu", &[]).fails(2, &refused);
}

#[test]
fn arguments_are_refused_as_when_a_model_is_traced() {
    let place = Workplace::new();
    let words = ["--compiler-args", "--fast-math fp32-cast-matmul"];
    rehearse(&place, "inf1", &words).fails(2, &["did you mean `fp32-cast-matmult`"]);
    rehearse(&place, "inf2", &["--fast-math", "none"]).fails(2, &["`--auto-cast none`"]);
}

#[test]
fn memory_that_is_not_there_is_a_problem() {
    // That of the machine.
    let mut place = Workplace::new();
    let proc = place.path("root/proc");
    fs::create_dir_all(&proc).unwrap();
    fs::write(proc.join("meminfo"), "MemAvailable: 1048576 kB\n").unwrap();
    let root = place.path("root").display().to_string();
    place.set("NEURONC_ROOT", &root);
    let run = rehearse(&place, "inf1", &TWO);
    let text = run.stdout();
    assert!(text.starts_with("feature-extraction will hardly compile for inf1: 2 problems"));
    run.fails(1, &["bucket 4x16", "this machine has 1.00 GiB"]);
    // That of a core.
    let place = Workplace::new();
    let profile = fs::read_to_string(repository().join("profiles/inf2.yaml")).unwrap();
    let small = profile.replace("memory_gib_per_device: 32", "memory_gib_per_device: 0.125");
    assert_ne!(small, profile);
    // Its instances have the devices that there really are.
    let small = small
        .lines()
        .filter(|line| !line.contains("device_memory_gib"));
    let small = small
        .collect::<Vec<_>>()
        .join(
            "
",
        )
        .replace(
            "
instances:",
            "
instances: []",
        );
    fs::write(place.path("small.yaml"), small).unwrap();
    let model = fixture("feature-extraction").display().to_string();
    let words = [
        "rehearse",
        &model,
        "--profile",
        "small.yaml",
        "--format",
        "json",
    ];
    let run = place.run(&[&words[..], &TWO[..]].concat());
    assert_eq!(run.json()["passed"], false);
    assert!(
        texts(&run.json()["problems"]).contains("0.06 GiB"),
        "{}",
        run.stdout()
    );
    run.fails(1, &["one copy of the model needs"]);
}

#[test]
fn an_operator_that_the_compiler_does_not_take_is_a_problem() {
    let Some(mut bench) = Bench::new("inf1") else {
        return;
    };
    let model = bench.place.path("model");
    copy_folder(&fixture("feature-extraction"), &model);
    let make = "import torch\n\
                class Model(torch.nn.Module):\n  \
                def __init__(self):\n    super().__init__()\n    self.table = torch.nn.Embedding(2000, 8)\n  \
                def forward(self, input_ids, attention_mask):\n    \
                return torch.fft.fft(self.table(input_ids)).real + attention_mask.unsqueeze(-1)\n\
                ids = torch.ones(1, 16, dtype=torch.int64)\n\
                torch.jit.trace(Model().eval(), (ids, ids)).save('model/fft.pt')\n";
    python(&bench, &["-c", make]);
    // Its python3 is found, and has torch and no torch-xla.
    let path = bench.place.path("sdk/bin").display().to_string();
    bench.place.set("PATH", &path);
    let words = ["rehearse", "model/fft.pt", "--chip", "inf2"];
    let run = bench.place.run(&[&words[..], &ONE[..]].concat());
    assert!(
        run.stdout().contains("on the host: aten::fft_fft"),
        "{}",
        run.stdout()
    );
    run.fails(
        1,
        &["bucket 1x16: the compiler does not take aten::fft_fft"],
    );
}
