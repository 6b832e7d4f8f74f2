//! Graph by graph: what the lines of neuronx-cc and its wrapper say of each one, in any order.

use std::fs;

use neuron_logs::reading::{ChipFamily, CompilationOutcome, GraphStatus, LogReading};

use super::{corpus, read};

fn told(reading: &LogReading) -> Vec<(Option<&str>, GraphStatus)> {
    let graphs = reading.graphs.iter();
    graphs
        .map(|graph| (graph.name.as_deref(), graph.status))
        .collect()
}

const CALL: &str = "2024-04-30 17:28:46.000430:  2913  INFO ||NEURON_CC_WRAPPER||: Call compiler with cmd: ['neuronx-cc', 'compile', '/t/model.MODULE_";

fn call(module: &str) -> String {
    format!("{CALL}{module}.hlo.pb', '--output', '/t/model.MODULE_{module}.neff']\n")
}

#[test]
fn one_failure_of_a_parallel_compilation_leaves_the_others_as_they_are() {
    let reading = read(
        b"....\nCompiler status PASS\n\
          2026-07-31 06:14:42.000278:  13898  [INFO]: Compilation Successfully Completed for model.MODULE_1+a.hlo_module.pb\n\
          2026-07-31 06:15:17.000369:  13898  [ERROR]: Failed compilation with ['neuronx-cc', 'compile', '/t/model.MODULE_2+b.hlo_module.pb']: \n\
          [INTERNAL_ERROR] [NCC_INLA001] Unhandled exception with message: x\n\
          ..\nCompiler status PASS\n\
          2026-07-31 06:15:18.000930:  13898  [INFO]: Compilation Successfully Completed for model.MODULE_3+c.hlo_module.pb\n\
          2026-07-31 06:15:19.000930:  13898  [INFO]: Using a cached neff at /c/MODULE_3+c/model.neff\n",
    );
    let expected = [
        (Some("MODULE_1+a"), GraphStatus::Passed),
        (Some("MODULE_2+b"), GraphStatus::Failed),
        (Some("MODULE_3+c"), GraphStatus::Passed),
    ];
    assert_eq!(told(&reading), expected);
    assert_eq!(reading.graphs[1].code.as_deref(), Some("NCC_INLA001"));
    assert_eq!(reading.graphs[0].progress_dots, 4);
    assert_eq!(reading.graphs[2].cache_hits, 1);
    assert_eq!(reading.outcome, CompilationOutcome::Fail);
}

#[test]
fn calls_that_overlap_are_bound_only_when_all_of_them_passed() {
    let both = format!("{}{}", call("1+a"), call("2+b"));
    let passed =
        read(format!("{both}.\nCompiler status PASS\n.\nCompiler status PASS\n").as_bytes());
    let expected = [
        (Some("MODULE_1+a"), GraphStatus::Passed),
        (Some("MODULE_2+b"), GraphStatus::Passed),
    ];
    assert_eq!(told(&passed), expected);
    let one = read(format!("{both}.\nCompiler status PASS\n").as_bytes());
    let expected = [
        (Some("MODULE_1+a"), GraphStatus::NotTold),
        (Some("MODULE_2+b"), GraphStatus::NotTold),
        (None, GraphStatus::Passed),
    ];
    assert_eq!(told(&one), expected);
}

#[test]
fn every_end_of_a_graph_is_told_apart() {
    let cases = [
        (
            "[F137] neuronx-cc was forcibly killed\nRuntimeError: neuronx-cc failed with -9\n".to_owned(),
            (None, GraphStatus::Killed),
        ),
        (
            "RuntimeError: neuronx-cc failed with 70\n".to_owned(),
            (None, GraphStatus::Failed),
        ),
        (
            format!("{}....", call("1+a")),
            (Some("MODULE_1+a"), GraphStatus::Unfinished),
        ),
        (
            "Got a cached failed neff at /c/MODULE_1+a/model.neff. Will skip compilation, please set --retry_failed_compilation for recompilation: \n [NCC_EOOM001] x\n".to_owned(),
            (Some("MODULE_1+a"), GraphStatus::FailedInCache),
        ),
        (
            "2026-07-29 17:25:29.000941:  10477  [INFO]: Extracting graphs (/c/MODULE_1+a/model.hlo_module.pb) for ahead-of-time parallel compilation. No compilation was done.\n".to_owned(),
            (Some("MODULE_1+a"), GraphStatus::Extracted),
        ),
    ];
    for (log, expected) in cases {
        for log in [log.clone(), log.replace('\n', "\r\n"), format!("..{log}")] {
            let reading = read(log.as_bytes());
            assert_eq!(told(&reading), [expected], "{log}");
        }
    }
}

#[test]
fn the_graphs_of_the_corpus_add_up_to_its_status_lines() {
    let Some(corpus) = corpus() else { return };
    let mut checked = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".log") {
            continue;
        }
        let reading = read(&fs::read(&path).unwrap());
        if reading.chip == Some(ChipFamily::Neuronx) && !reading.graphs.is_empty() {
            let graphs = || reading.graphs.iter();
            let passed = graphs().filter(|it| it.status == GraphStatus::Passed);
            assert_eq!(passed.count() as u64, reading.statuses.pass, "{name}");
            let hits: u64 = graphs().map(|graph| graph.cache_hits).sum();
            assert_eq!(hits, reading.cache.hits, "{name}");
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} logs have graphs");
}
