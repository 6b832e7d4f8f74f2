//! `neuronc explain`: the table against AWS's catalogue and the public logs, and the command.

use std::collections::{BTreeSet, HashSet};
use std::fs;

use neuronc::explain::{self, Explanation, Group};

use crate::support::{Workplace, repository, skip};

/// A file of the folder beside the repository that not every machine has.
fn shared(name: &str) -> Option<String> {
    let path = repository().join("../shared").join(name);
    let text = fs::read_to_string(&path).ok();
    if text.is_none() {
        skip(format!("there is no {}", path.display()));
    }
    text
}

/// Code, message and recommendation of each row of AWS's catalogue.
fn catalogue() -> Option<Vec<[String; 3]>> {
    let text = shared("data/ncc-errors.tsv")?;
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &str| {
        let mut cells = line.split('\t').map(str::to_owned);
        [(); 3].map(|()| cells.next().unwrap())
    };
    Some(rows.map(row).collect())
}

#[test]
fn the_documented_codes_are_those_of_the_catalogue() {
    let Some(catalogue) = catalogue() else {
        return;
    };
    let documented: BTreeSet<&str> = catalogue.iter().map(|[code, ..]| code.as_str()).collect();
    let group = |group: Group| explain::entries().iter().filter(move |e| e.group == group);
    let ours: BTreeSet<&str> = group(Group::CompilerCodes)
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(ours, documented);
    for entry in group(Group::OtherCodes) {
        assert!(!documented.contains(entry.name.as_str()), "{}", entry.name);
        // The text of F137 says itself what it means.
        let is_clear = entry.name == "F137";
        assert_eq!(entry.confirmed, is_clear, "{}", entry.name);
    }
}

/// Eight words in a row make a quotation.
const QUOTATION: usize = 8;

/// Every run of [`QUOTATION`] words, without case and punctuation.
fn runs(text: &str) -> Vec<String> {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.windows(QUOTATION).map(|run| run.join(" ")).collect()
}

fn own_words(entry: &Explanation) -> impl Iterator<Item = &String> {
    [&entry.title, &entry.meaning]
        .into_iter()
        .chain(&entry.remedy)
}

#[test]
fn the_words_are_ours() {
    assert_eq!(runs("One two-three, FOUR five six seven `eight`!").len(), 1);
    let Some(catalogue) = catalogue() else {
        return;
    };
    let cells = catalogue.iter().flatten();
    let theirs: HashSet<String> = cells.flat_map(|cell| runs(cell)).collect();
    assert!(theirs.len() > 500, "the catalogue was not read");
    for entry in explain::entries() {
        for run in own_words(entry).flat_map(|text| runs(text)) {
            assert!(!theirs.contains(&run), "{} quotes: {run}", entry.name);
        }
    }
}

#[test]
fn every_entry_is_complete_and_found() {
    let chips = ["inf1", "inf2", "trn1", "trn2", "trn3"];
    for entry in explain::entries() {
        let name = &entry.name;
        assert!(!entry.remedy.is_empty(), "{name}");
        assert!(!entry.title.ends_with('.'), "{name}: {}", entry.title);
        assert!(own_words(entry).all(|text| text.len() > 3), "{name}");
        assert!(entry.meaning.ends_with('.'), "{name}: {}", entry.meaning);
        assert!(entry.source.len() > 5, "{name}");
        assert!(
            entry.chips().iter().all(|chip| chips.contains(&&**chip)),
            "{name}"
        );
        for spelling in entry.aliases.iter().chain([name]) {
            let found = |text: &str| explain::lookup(text).map(|entry| &entry.name);
            assert_eq!(found(spelling), Some(name));
            assert_eq!(found(&spelling.to_lowercase()), Some(name));
            assert_eq!(found(&spelling.to_uppercase()), Some(name));
            let is_code = spelling.starts_with("NCC_E") || spelling.starts_with("NRT_");
            let line = format!("2030-01-02T03:04:05Z ERROR 1 [x]: [{spelling}] something");
            assert!(!is_code || found(&line) == Some(name), "{line}");
        }
        for number in &entry.numbers {
            let found = explain::candidates(&number.to_string());
            assert!(found.contains(&entry), "{name}: {number}");
        }
    }
}

/// Lines as the tools print them, shortened.
const LINES: [(&str, &str); 24] = [
    (
        "WARNING:Neuron:torch.neuron.trace failed on _NeuronGraph$698; falling back to native python function call",
        "fallback-to-host",
    ),
    (
        "WARNING:Neuron:No operator is placed on Neuron runtime; returning a CPU trace",
        "cpu-trace",
    ),
    (
        "RuntimeError: No operations were successfully partitioned and compiled",
        "nothing-compiled",
    ),
    (
        "torch.neuron.trace was unable to compile > 50% of the operators",
        "less-than-half-compiled",
    ),
    (
        "ERROR:Neuron:Please check that neuron-cc is installed and working properly.",
        "neuron-cc-missing",
    ),
    (
        "in the TorchScript that are not compiled by neuron-cc: aten::embedding, ",
        "embedding-on-host",
    ),
    (
        "INFO:Neuron: => aten::embedding: 3 [not supported]",
        "embedding-on-host",
    ),
    (
        "INFO:Neuron:The neuron partitioner created 19 sub-graphs",
        "several-sub-graphs",
    ),
    (
        "RuntimeError: Unknown builtin op: neuron::forward_1.",
        "unknown-builtin-op",
    ),
    (
        "ImportError: WRONG PACKAGE. Please install the package from",
        "wrong-package",
    ),
    (
        "ERROR NRT:nrt_allocate_neuron_cores NeuronCore(s) not available - Requested:4 Available:0",
        "cores-not-available",
    ),
    ("Neuron cores are not contiguous", "cores-not-contiguous"),
    (
        "TDRV:tdrv_get_dev_info  No neuron device available",
        "no-device",
    ),
    (
        "NEFF version mismatch supported: 1.1 received: 2.0",
        "neff-version",
    ),
    (
        "NEFF version: 2.0, features: 0x100 are not supported. Currently supporting: 0xff",
        "neff-version",
    ),
    (
        "DecodeError: Error parsing message with type 'tensorflow.GraphDef'",
        "graphdef-too-large",
    ),
    (
        "x.py:1: TracerWarning: Converting a tensor to a Python boolean",
        "tracer-warning",
    ),
    (
        "Got a cached failed neff at /var/tmp/x. Will skip compilation",
        "cached-failure",
    ),
    (
        "(FATAL-RT-UNDEFINED-STATE) inference timeout (600000 ms) on Neuron Device 0 NC 0",
        "inference-timeout",
    ),
    (
        "FileNotFoundError: Could not find a matching NEFF for your HLO in this directory.",
        "no-matching-neff",
    ),
    ("Bus error (core dumped)", "exit -7"),
    ("[F137] neuronx-cc was forcibly killed", "F137"),
    ("[TEN404] (_add.12) Internal tensorizer error", "TEN404"),
    (
        "[XCG815]  Estimated peak HBM usage (17.5) exceeds 16GB.",
        "XCG815",
    ),
];

#[test]
fn well_known_lines_are_understood() {
    for (line, name) in LINES {
        let advice = explain::advice_for(line);
        assert_eq!(
            advice.map(|entry| entry.name.as_str()),
            Some(name),
            "{line}"
        );
    }
    for harmless in [
        "INFO:Neuron:The neuron partitioner created 1 sub-graphs",
        "INFO:Neuron: => aten::embedding: 3",
        "Compiler status PASS",
        "Compilation summary: 0/6 failed, 6 succeeded",
    ] {
        assert_eq!(explain::advice_for(harmless), None, "{harmless}");
    }
}

#[test]
fn the_codes_of_public_logs_are_known() {
    let Some(index) = shared("logs/index.jsonl") else {
        return;
    };
    let mut codes = 0;
    for line in index.lines() {
        let log: serde_json::Value = serde_json::from_str(line).unwrap();
        let errors = log["expected"]["errors"].as_array();
        for error in errors.into_iter().flatten() {
            let Some(code) = error["code"].as_str() else {
                continue;
            };
            codes += 1;
            let by_code = explain::lookup(code);
            assert!(by_code.is_some(), "{code}");
            let line = error["line"].as_str().unwrap();
            assert_eq!(explain::advice_for(line), by_code, "{line}");
        }
    }
    assert!(codes > 5, "the index was not read");
}

#[test]
fn every_answer_fits_a_terminal() {
    let place = Workplace::new();
    let names = explain::entries().iter().map(|entry| entry.name.as_str());
    let all: Vec<&str> = ["explain"].into_iter().chain(names).collect();
    for args in [&all[..], &["explain"], &["explain", "1"]] {
        let run = place.run(args).succeeds();
        for line in run.stdout().lines() {
            let columns = line.chars().count();
            assert!(columns <= 80, "{columns} columns: {line}");
            assert!(!line.ends_with(' '), "{line}");
        }
    }
}

#[test]
fn a_program_can_read_the_answer() {
    let place = Workplace::new();
    let json = |args: &[&str]| place.run(&[&["explain", "--format", "json"], args].concat());
    let answer = json(&["-9", "NRT 1005", "70"]).succeeds().json();
    assert_eq!(answer["schema_version"], explain::SCHEMA_VERSION);
    let answers = answer["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["asked"], "-9");
    assert_eq!(answers[1]["entries"][0]["name"], "NRT_EXEC_NC_BUSY");
    assert_eq!(answers[2]["entries"][1]["group"], "neuronc-exit-codes");
    let all = json(&[]).succeeds().json();
    let count = all["entries"].as_array().unwrap().len();
    assert_eq!(count, explain::entries().len());
}

#[test]
fn a_line_may_come_in_words() {
    let words = [
        "explain",
        "RuntimeError:",
        "neuronx-cc",
        "failed",
        "with",
        "-9",
    ];
    let line = Workplace::new().run(&words).succeeds();
    assert!(line.stdout().starts_with("exit -9 (137): "));
}
