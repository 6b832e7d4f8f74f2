//! Compiler arguments on the command line: what is refused, with what answer and how early, and
//! what of them is in the plan.

use crate::hub_server::HubServer;
use crate::support::{Run, Workplace, fixture};

fn trace(chip: &str, more: &[&str]) -> Run {
    let model = fixture("feature-extraction").display().to_string();
    let args = ["trace", &model, "--chip", chip, "--dry-run"];
    Workplace::new().run(&[&args, more].concat())
}

/// The arguments of the plan, from its JSON.
fn planned(chip: &str, more: &[&str]) -> serde_json::Value {
    let run = trace(chip, &[more, &["--format", "json"]].concat()).succeeds();
    run.json()["plan"]["arguments"].clone()
}

#[test]
fn a_text_and_options_say_the_same() {
    let text = "--fast-math fp32-cast-matmult no-fast-relayout --neuroncore-pipeline-cores 4";
    let by_text = planned("inf1", &["--compiler-args", text]);
    let repeated = [
        "--compiler-args=--fast-math=no-fast-relayout,fp32-cast-matmult",
        "--compiler-args",
        "--neuroncore-pipeline-cores=4",
    ];
    let options = [
        "--fast-math",
        "no-fast-relayout",
        "--fast-math",
        "fp32-cast-matmult",
        "--neuroncore-pipeline-cores",
        "4",
    ];
    assert_eq!(by_text["fast-math"], "fp32-cast-matmult no-fast-relayout");
    assert_eq!(by_text["neuroncore-pipeline-cores"], "4");
    assert_eq!(by_text, planned("inf1", &repeated));
    assert_eq!(by_text, planned("inf1", &options));
    assert_eq!(
        by_text,
        planned("inf1", &[&options[..], &["--compiler-args", text]].concat())
    );
    for options in [
        &["-O3"][..],
        &["--optlevel", "3"],
        &["--compiler-args=-O 3"],
    ] {
        assert_eq!(planned("inf2", options)["optlevel"], "3", "{options:?}");
    }
    assert_eq!(planned("trn2", &["--compiler-args", "-lnc 1"])["lnc"], "1");
    assert_eq!(planned("trn2", &["--lnc", "1"])["lnc"], "1");
}

#[test]
fn every_typed_option_reaches_the_plan() {
    let inf1 = planned(
        "inf1",
        &[
            "--fast-math=none,fast-relayout",
            "--neuroncore-pipeline-cores=2",
            "--optimizations=float32-to-float16",
            "--minimum-segment-size=3",
            "--single-fusion-ratio-threshold=0.5",
            "--separate-weights",
        ],
    );
    let expected = serde_json::json!({
        "fast-math": "none fast-relayout",
        "minimum-segment-size": "3",
        "neuroncore-pipeline-cores": "2",
        "optimizations": "float32-to-float16",
        "separate-weights": "on",
        "single-fusion-ratio-threshold": "0.5",
    });
    assert_eq!(inf1, expected);
    let trn2 = planned(
        "trn2",
        &[
            "--auto-cast=all",
            "--auto-cast-type=fp16",
            "--optlevel=1",
            "--model-type=generic",
            "--lnc=1",
        ],
    );
    let expected = serde_json::json!({
        "auto-cast": "all",
        "auto-cast-type": "fp16",
        "enable-mixed-precision-accumulation": "on",
        "lnc": "1",
        "model-type": "generic",
        "optlevel": "1",
    });
    assert_eq!(trn2, expected);
}

#[test]
fn the_plan_shows_the_words_that_the_compiler_gets() {
    let shown = trace("inf1", &["--compiler-args", "--enable-fast-context-switch"]).succeeds();
    let arguments = "--enable-fast-context-switch, --fast-math fp32-cast-matmult, \
                     --neuroncore-pipeline-cores 1, minimum_segment_size=2, \
                     separate_weights=false, single_fusion_ratio_threshold=0.6 ";
    // Long lines are broken.
    let stdout = shown.stdout();
    let words: Vec<&str> = stdout.split_whitespace().collect();
    assert!(words.join(" ").contains(arguments), "{stdout}");
}

#[test]
fn nothing_is_asked_of_the_hub_before_the_arguments_are_right() {
    let server = HubServer::start(&fixture("feature-extraction"), "org/model");
    let mut place = Workplace::new();
    place.set("HF_ENDPOINT", &server.endpoint());
    let run = |text: &str, more: &[&str]| {
        let args = [
            "trace",
            "org/model",
            "--chip",
            "inf1",
            "--compiler-args",
            text,
        ];
        place.run(&[&args, more].concat())
    };
    // Not even an SDK is looked for: it is missing here, and would be exit code 4.
    run("--fast-math fp32-cast-matmul", &[]).fails(2, &["did you mean `fp32-cast-matmult`?"]);
    run("--neuron-core-pipeline-cores 1", &[])
        .fails(2, &["did you mean `--neuroncore-pipeline-cores`?"]);
    assert_eq!(server.requests().len(), 0);
    let right = "--fast-math fp32-cast-matmult --neuroncore-pipeline-cores 1";
    run(right, &["--dry-run"]).succeeds();
    assert_ne!(server.requests().len(), 0);
}

#[test]
fn the_help_groups_the_options_by_compiler() {
    let help = Workplace::new()
        .run(&["trace", "--help"])
        .succeeds()
        .stdout();
    let mut rest = help.as_str();
    let order = [
        "Options:",
        "--dry-run",
        "--format",
        "Compiler, any chip:",
        "--compiler-args",
        "Compiler, neuronx-cc (Inferentia2, Trainium):",
        "--auto-cast <MODE>",
        "--optlevel <LEVEL>",
        "--lnc <CORES>",
        "Compiler, neuron-cc (Inferentia):",
        "--fast-math",
        "--separate-weights",
        "Examples:",
    ];
    for text in order {
        let (_, after) = rest
            .split_once(text)
            .unwrap_or_else(|| panic!("`{text}` is not where it should be:\n{help}"));
        rest = after;
    }
    assert!(!help.contains("--fp32-cast"), "{help}");
    let completions = Workplace::new().run(&["completions", "bash"]).succeeds();
    assert!(completions.stdout().contains("--compiler-args"));
}
