//! `neuronc report` on logs, analyze results, folders and stdin, in every form.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Workplace, fixture, repository};

/// The output of torch-neuron for BERT, in the form of the published logs and with their figures.
const BERT: &str = "\
INFO:Neuron:There are 3 ops of 1 different types in the TorchScript that are not compiled by neuron-cc: aten::embedding, (For more information see https://example.org)
INFO:Neuron:Number of arithmetic operators (pre-compilation) before = 565, fused = 548, percent fused = 96.99%
INFO:Neuron:Compiling function _NeuronGraph$698 with neuron-cc
.....
Compiler status PASS
INFO:Neuron:Number of arithmetic operators (post-compilation) before = 565, compiled = 555, percent compiled = 98.23%
INFO:Neuron:The neuron partitioner created 1 sub-graphs
INFO:Neuron:Neuron successfully compiled 1 sub-graphs, Total fused subgraphs = 1, Percent of model sub-graphs successfully compiled = 100.0%
INFO:Neuron:Compiled these operators (and operator counts) to Neuron:
INFO:Neuron: => aten::linear: 518
INFO:Neuron: => aten::layer_norm: 25
INFO:Neuron: => aten::softmax: 12
INFO:Neuron:Not compiled operators (and operator counts) to Neuron:
INFO:Neuron: => aten::add: 7 [supported]
INFO:Neuron: => aten::embedding: 3 [not supported]
saved model.pt
";

/// neuronx-cc, killed for memory.
const KILLED: &str = "\
....
2026-05-01T10:00:00Z ERROR 4242 [neuronx-cc]: [F137] neuronx-cc was forcibly killed - This most commonly occurs due to insufficient system memory.
RuntimeError: neuronx-cc failed with -9
";

fn with_logs() -> Workplace {
    let place = Workplace::new();
    fs::write(place.path("bert.log"), BERT).unwrap();
    fs::write(place.path("killed.log"), KILLED).unwrap();
    place
}

#[test]
fn the_verdict_comes_first_and_the_lists_are_sorted() {
    let text = with_logs().run(&["report", "bert.log"]).succeeds().stdout();
    let verdict = "98.23 % of the arithmetic operators run on the chip (555 of 565): normal for a\ntransformer";
    assert!(text.starts_with(verdict), "{text}");
    let at = |part: &str| {
        text.find(part)
            .unwrap_or_else(|| panic!("`{part}` is not in:\n{text}"))
    };
    assert!(at("aten::add ") < at("aten::embedding  "));
    assert!(at("aten::linear") < at("aten::layer_norm"));
    assert!(at("embedding-on-host") > at("aten::softmax"));
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn supported_fused_and_compiled_stay_apart() {
    let report = with_logs()
        .run(&["report", "bert.log", "--format", "json"])
        .succeeds()
        .json();
    let subject = &report["subjects"][0];
    assert_eq!(subject["fused"]["part"], 548);
    assert_eq!(subject["compiled"]["part"], 555);
    assert_eq!(subject["supported"], Value::Null);
    assert_eq!(subject["subgraphs"]["percent"], 100.0);
    assert_eq!(report["verdict"]["grade"], "normal");
}

#[test]
fn a_contradiction_is_reported() {
    let place = with_logs();
    fs::write(
        place.path("odd.log"),
        BERT.replace("aten::linear: 518", "aten::linear: 500"),
    )
    .unwrap();
    let text = place.run(&["report", "odd.log"]).succeeds().stdout();
    assert!(text.contains("contradiction"), "{text}");
}

#[test]
fn the_cause_of_a_failure_is_the_verdict() {
    let place = with_logs();
    let text = place.run(&["report", "killed.log"]).succeeds().stdout();
    assert!(text.starts_with("failed: "), "{text}");
    assert!(text.lines().next().unwrap().contains("F137"), "{text}");
    assert!(text.contains("memory"), "{text}");
}

#[test]
fn several_sources_make_one_report_with_a_total() {
    let place = with_logs();
    fs::create_dir(place.path("work")).unwrap();
    fs::write(place.path("work/a.log"), BERT).unwrap();
    fs::write(place.path("work/notes.txt"), "nothing of a compiler").unwrap();
    place.traced(
        &fixture("fill-mask"),
        "b",
        &["--batch-size", "1", "--sequence-length", "16"],
    );
    let report = place
        .run(&["report", "work", "b", "bert.log", "--format", "json"])
        .succeeds()
        .json();
    assert_eq!(report["subjects"].as_array().unwrap().len(), 3);
    let parts = report["subjects"].as_array().unwrap().iter();
    let sum: u64 = parts
        .map(|subject| subject["compiled"]["part"].as_u64().unwrap())
        .sum();
    assert_eq!(report["total"]["part"], json!(sum));
}

#[test]
fn stdin_is_a_source() {
    let place = with_logs();
    let mut child = place
        .command(&["report", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(BERT.replace('\n', "\r\n").as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["total"]["part"], 555);
}

#[test]
fn every_form_can_be_written_to_a_file() {
    let place = with_logs();
    for (form, part) in [
        ("text", "98.23 %"),
        ("markdown", "| --- |"),
        ("html", "<!doctype html>"),
        ("json", "\"schema_version\""),
    ] {
        let silent = place
            .run(&["report", "bert.log", "--format", form, "-o", "out"])
            .succeeds();
        assert_eq!(silent.stdout(), "");
        let written = fs::read_to_string(place.path("out")).unwrap();
        assert!(written.contains(part), "{written}");
        assert!(!written.contains('\u{1b}'), "colours in a file");
    }
    let page = fs::read_to_string(place.path("out")).unwrap();
    assert!(!page.contains("http"), "the page needs the network");
}

#[test]
fn text_of_a_log_is_not_markup() {
    let place = with_logs();
    let evil = KILLED.replace("insufficient", "<script>alert(1)</script> | x");
    fs::write(place.path("evil.log"), evil).unwrap();
    let html = place
        .run(&["report", "evil.log", "--format", "html"])
        .succeeds()
        .stdout();
    assert!(!html.contains("<script"), "{html}");
    let markdown = place
        .run(&["report", "evil.log", "--format", "markdown"])
        .succeeds()
        .stdout();
    assert!(!markdown.contains("<script"), "{markdown}");
}

#[test]
fn a_difference_shows_what_moved() {
    let place = with_logs();
    let new = BERT.replace(
        "compiled = 555, percent compiled = 98.23%",
        "compiled = 558, percent compiled = 98.76%",
    );
    let new = new
        .replace("aten::linear: 518", "aten::linear: 521")
        .replace("aten::add: 7", "aten::add: 4");
    fs::write(place.path("new.log"), new).unwrap();
    let text = place
        .run(&["report", "--diff", "bert.log", "new.log"])
        .succeeds()
        .stdout();
    assert!(text.starts_with("coverage 98.23 % -> 98.76 %"), "{text}");
    assert!(
        text.contains("518 -> 521") && text.contains("7 -> 4"),
        "{text}"
    );
    let same = place
        .run(&["report", "--diff", "bert.log", "bert.log"])
        .succeeds()
        .stdout();
    assert!(same.starts_with("no change"), "{same}");
}

#[test]
fn a_chip_is_estimated_before_compiling() {
    let place = Workplace::new();
    place.traced(
        &fixture("fill-mask"),
        "b",
        &["--batch-size", "1", "--sequence-length", "16"],
    );
    let text = place
        .run(&["report", "b", "--for", "inf1"])
        .succeeds()
        .stdout();
    assert!(text.starts_with("estimate for inf1: "), "{text}");
    assert!(
        text.contains("of the arithmetic would run on the chip") || text.contains("arithmetic"),
        "{text}"
    );
    assert!(
        text.contains("aten::embedding") && text.contains("list `inf1`"),
        "{text}"
    );
    let json = place
        .run(&["report", "b", "--for", "inf2", "--format", "json"])
        .succeeds()
        .json();
    assert_eq!(json["sources"][0]["kind"], "estimate");
    assert_eq!(json["estimated"]["percent"], 100.0);
    let graph = repository()
        .join("tests/fixtures/graphs/bert-base-modules.pt")
        .display()
        .to_string();
    let text = place
        .run(&["report", &graph, "--for", "inf1"])
        .succeeds()
        .stdout();
    assert!(text.contains("555 of 565"), "{text}");
}

#[test]
fn the_schema_file_describes_the_report() {
    let path = repository().join("docs/report.schema.json");
    let schema = neuronc::report::schema().unwrap();
    if std::env::var("NEURONC_BLESS").is_ok() {
        fs::write(&path, format!("{schema}\n")).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        written.trim_end(),
        schema,
        "run this test with NEURONC_BLESS=1 and look at the difference"
    );
}

/// Two graphs passed, one failed.
const GRAPHS: &str = "\
....
Compiler status PASS
2026-07-31 06:14:42.000278:  13898  [INFO]: Compilation Successfully Completed for model.MODULE_11111111+aaaaaaaa.hlo_module.pb
2026-07-31 06:15:17.000369:  13898  [ERROR]: Failed compilation with ['neuronx-cc', 'compile', '/t/model.MODULE_22222222+bbbbbbbb.hlo_module.pb']:
[ERROR] [NCC_EOOM001] Maximum peak HBM usage of 22.01GB exceeds HBM limit of 16.00GB
..
Compiler status PASS
2026-07-31 06:15:18.000930:  13898  [INFO]: Compilation Successfully Completed for model.MODULE_33333333+cccccccc.hlo_module.pb
";

#[test]
fn a_log_without_figures_has_a_row_for_each_graph_in_every_form() {
    let place = with_logs();
    fs::write(place.path("graphs.log"), GRAPHS).unwrap();
    let run = |form: &str| {
        place
            .run(&["report", "graphs.log", "--format", form])
            .succeeds()
    };
    let text = run("text").stdout();
    assert!(text.contains("graph 2 22222222+bbbbbbbb"), "{text}");
    assert!(text.contains("failed NCC_EOOM001"), "{text}");
    assert!(text.contains("3 graphs: 2 passed, 1 failed"), "{text}");
    assert!(text.contains("as a whole or not at all"), "{text}");
    let report = run("json").json();
    assert_eq!(report["graphs"]["passed"], 2);
    assert_eq!(report["subjects"][0]["outcome"], "pass");
    assert_eq!(report["subjects"][1]["graph"]["code"], "NCC_EOOM001");
    assert_eq!(report["subjects"][2]["cost"]["crossings"], 2);
    for form in ["markdown", "html"] {
        let page = run(form).stdout();
        assert!(page.contains("3 graphs: 2 passed, 1 failed"), "{page}");
    }
}

#[test]
fn no_line_of_any_log_is_wider_than_a_terminal() {
    let corpus = repository().join("../shared/logs");
    let place = with_logs();
    let mut folder = place.path(&"a-folder-with-a-long-name-".repeat(4));
    folder.push("another-".repeat(12));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("graphs.log"), GRAPHS).unwrap();
    fs::write(folder.join("bert.log"), BERT).unwrap();
    if corpus.is_dir() {
        for entry in fs::read_dir(&corpus).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
            }
        }
    } else {
        println!("only own logs: there is no corpus at {}", corpus.display());
    }
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    names.push(folder);
    for name in names {
        let text = place
            .run(&["report", name.to_str().unwrap()])
            .succeeds()
            .stdout();
        let long = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{}", name.display());
    }
}
