//! A reading in the shape of the corpus' `expected`, and where the two differ.

use neuron_logs::reading::{
    CompilerStatus, LogFunction, LogReading, LogRun, OperatorCount, OperatorScreening, RunName,
    Subgraphs,
};
use serde_json::{Map, Value, json};

/// What of `expected` the reading does not say, and what it says of itself.
pub(super) fn differences(expected: &Value, reading: &LogReading) -> Vec<String> {
    let mut found = Vec::new();
    for (key, want) in expected.as_object().unwrap() {
        match key.as_str() {
            "runs" => runs(want, reading, &mut found),
            "errors" => errors(want, reading, &mut found),
            "timings" => {
                for (key, want) in want.as_object().unwrap() {
                    same(key, want, &timing(key, reading), &mut found);
                }
            }
            "compiler_args" => {
                let have = reading.compiler_args.as_deref().unwrap_or_default();
                arguments(want, have, &mut found);
            }
            key => same(key, want, &top(key, want, reading), &mut found),
        }
    }
    if expected.get("errors").is_none() && expected["outcome"] == "pass" {
        same("errors", &json!([]), &json!(reading.errors), &mut found);
    }
    for key in ["analyze", "parallel_compile"] {
        if expected.get(key).is_none() {
            same(
                key,
                &Value::Null,
                &top(key, &Value::Null, reading),
                &mut found,
            );
        }
    }
    if !reading.contradictions.is_empty() {
        found.push(format!("contradictions: {:?}", reading.contradictions));
    }
    found
}

fn same(what: &str, want: &Value, have: &Value, found: &mut Vec<String>) {
    let equal = match (want.as_f64(), have.as_f64()) {
        (Some(want), Some(have)) => (want - have).abs() < 1e-9,
        _ => want == have,
    };
    if !equal {
        found.push(format!("{what}: want {want}, have {have}"));
    }
}

/// The value of one key beside runs and errors.
fn top(key: &str, want: &Value, reading: &LogReading) -> Value {
    match key {
        "outcome" => json!(reading.outcome),
        "compiler_status" if want.is_object() => {
            json!({"PASS": reading.statuses.pass, "ERROR": reading.statuses.error})
        }
        "compiler_status" => reading.statuses.sequence.iter().map(status).collect(),
        "cached_neffs" => json!(reading.cache.hits),
        "cached_failed_neffs" => json!(reading.cache.failed_hits),
        "warnings" => json!(reading.warnings),
        "compiler_version" => {
            // One entry names the compiler with its version.
            let prefix = want.as_str().unwrap().starts_with("neuron-cc ");
            let version = reading.versions.compiler.as_deref();
            json!(version.map(|it| if prefix {
                format!("neuron-cc {it}")
            } else {
                it.to_owned()
            }))
        }
        "torch_neuron_version" => json!(reading.versions.torch_neuron),
        "torch_neuronx_version" => json!(reading.versions.torch_neuronx),
        "elapsed_s" => elapsed(want, reading),
        "target" => json!(reading.target),
        "exitcode" => json!(reading.exit_code),
        "compile_return_codes" => json!(reading.return_codes),
        "sig_abort_graphs" => json!(reading.aborted_subgraphs),
        "completed_modules" => json!(reading.completed_modules),
        "percent_reported" => json!(reading.implausible_percent),
        "progress_dots" => json!(reading.progress_dots),
        "unsupported_before" => screening(reading.screening.as_ref()),
        "parallel_compile" => reading.parallel_compile.map_or(
            Value::Null,
            |it| json!({"total": it.total, "success": it.succeeded, "failed": it.failed}),
        ),
        "analyze" => analysis(reading),
        other => panic!("`{other}` of the corpus is not compared"),
    }
}

fn status(status: &CompilerStatus) -> Value {
    json!(status)
}

fn elapsed(want: &Value, reading: &LogReading) -> Value {
    let timings = reading.timings;
    match want {
        Value::Object(_) => json!({"export": timings.export_s, "total": timings.total_s}),
        _ => json!(timings.total_s.or(timings.span_s)),
    }
}

fn timing(key: &str, reading: &LogReading) -> Value {
    match key {
        "hlo" => json!(reading.timings.generate_hlo_s),
        "priority_hlo" => json!(reading.timings.priority_hlo_s),
        "all_hlos" => json!(reading.timings.all_hlos_s),
        other => panic!("the timing `{other}` of the corpus is not compared"),
    }
}

/// An object without the keys that have no value.
fn object(pairs: Vec<(&str, Value)>) -> Value {
    let present = pairs.into_iter().filter(|(_, value)| !value.is_null());
    present
        .map(|(key, value)| (key.to_owned(), value))
        .collect::<Map<_, _>>()
        .into()
}

fn analysis(reading: &LogReading) -> Value {
    let Some(analysis) = &reading.analysis else {
        return Value::Null;
    };
    let counted = analysis.supported.iter().any(|it| it.count.is_some());
    let by_report = analysis.percent.is_some();
    let supported: Value = if counted || by_report {
        let pairs = analysis.supported.iter();
        pairs
            .map(|it| (it.operator.clone(), json!(it.count)))
            .collect::<Map<_, _>>()
            .into()
    } else {
        analysis
            .supported
            .iter()
            .map(|it| json!(it.operator))
            .collect()
    };
    let unsupported: Value = analysis
        .unsupported
        .iter()
        .map(|it| match &it.failure_at {
            None => json!(it.operator),
            Some(step) => {
                let stack = it.call.as_ref().is_some_and(|call| call.contains("): "));
                let key = if stack { "call_first_frame" } else { "call" };
                json!({"kind": it.operator, "failureAt": step, key: it.call})
            }
        })
        .collect();
    let count = &analysis.operator_count;
    object(vec![
        ("percent", json!(analysis.percent)),
        ("supported_ops", supported),
        ("unsupported_ops", unsupported),
        ("all_ops", json!(analysis.all)),
        ("arithmetic_ops", json!(analysis.arithmetic)),
        (
            "operator_count",
            if count.is_empty() {
                Value::Null
            } else {
                json!(count)
            },
        ),
    ])
}

fn screening(screening: Option<&OperatorScreening>) -> Value {
    match screening {
        Some(OperatorScreening::Unsupported {
            count,
            types,
            operators,
        }) => json!({"count": count, "types": types, "ops": operators}),
        _ => Value::Null,
    }
}

/// Arguments are compared around the places that the truth leaves out.
fn arguments(want: &Value, have: &str, found: &mut Vec<String>) {
    let parts = want.as_str().unwrap().split('…').map(str::trim);
    if !parts.into_iter().all(|part| have.contains(part)) {
        found.push(format!("compiler_args: want {want}, have {have}"));
    }
}

fn runs(want: &Value, reading: &LogReading, found: &mut Vec<String>) {
    let want = want.as_array().unwrap();
    // The arguments of a compiler that names no run are the log's.
    if reading.runs.is_empty() && want.len() == 1 && want[0].as_object().unwrap().len() == 1 {
        let have = reading.compiler_args.as_deref().unwrap_or_default();
        arguments(&want[0]["compiler_args"], have, found);
        return;
    }
    if want.len() != reading.runs.len() {
        found.push(format!("{} runs, have {}", want.len(), reading.runs.len()));
        return;
    }
    for (index, (want, run)) in want.iter().zip(&reading.runs).enumerate() {
        for (key, want) in want.as_object().unwrap() {
            let what = format!("run {index}: {key}");
            match key.as_str() {
                "compiler_args" => {
                    let have = run
                        .compiler_args
                        .as_deref()
                        .or(only(run).and_then(|function| function.compiler_args.as_deref()));
                    same(&what, want, &json!(have), found);
                }
                key => same(&what, want, &of_run(key, run), found),
            }
        }
        absences(index, want, run, found);
    }
}

/// Figures that the truth leaves out are not in the log: the reading must not have them either.
fn absences(index: usize, want: &Value, run: &LogRun, found: &mut Vec<String>) {
    for key in [
        "pre_compilation",
        "post_compilation",
        "subgraphs",
        "compiled_ops",
        "not_compiled_ops",
        "failed_graphs",
        "elapsed_s",
    ] {
        // The truth does not list the sub-graphs of TensorFlow.
        let untold = key == "failed_graphs" && run.functions.iter().any(is_tensorflow);
        if want.get(key).is_none() && !untold {
            let what = format!("run {index}: {key}");
            let have = of_run(key, run);
            let nothing = have.is_null() || have.as_array().is_some_and(Vec::is_empty);
            if !nothing {
                same(&what, &Value::Null, &have, found);
            }
        }
    }
}

fn is_tensorflow(function: &LogFunction) -> bool {
    let name = function.name.as_deref();
    name.is_some_and(|name| name.starts_with("neuron_op_"))
}

/// The function of a run that has only one.
fn only(run: &LogRun) -> Option<&LogFunction> {
    match run.functions.as_slice() {
        [function] => Some(function),
        _ => None,
    }
}

fn of_run(key: &str, run: &LogRun) -> Value {
    let placement = run.placement.unwrap_or_default();
    match key {
        "pre_compilation" => json!(run.fused),
        "post_compilation" => json!(run.compiled),
        "subgraphs" if run.subgraphs == Subgraphs::default() => Value::Null,
        "subgraphs" => json!({
            "created": run.subgraphs.created,
            "compiled": run.subgraphs.compiled,
            "total_fused": run.subgraphs.fused,
            "percent": run.subgraphs.percent,
        }),
        "compiled_ops" => json!(run.compiled_operators.as_ref().map(|list| counts(list))),
        "not_compiled_ops" => run.host_operators.as_ref().map_or(Value::Null, |list| {
            let entries = list.iter().map(|it| {
                let entry = json!({"count": it.count, "supported": it.supported});
                (it.operator.clone(), entry)
            });
            entries.collect::<Map<_, _>>().into()
        }),
        "op_list_sums" => json!({
            "compiled": run.compiled_operators.iter().flatten().map(|it| it.count).sum::<usize>(),
            "not_compiled": run.host_operators.iter().flatten().map(|it| it.count).sum::<u64>(),
        }),
        "unsupported_before" => screening(run.screening.as_ref()),
        "all_supported" => json!(run.screening == Some(OperatorScreening::AllSupported)),
        "function" => json!(only(run).and_then(|it| it.name.clone())),
        "failed_graphs" => json!(run.failed_functions),
        "io_inputs" => json!(only(run).map(|function| {
            let inputs = function.inputs.iter();
            inputs
                .map(|it| (it.name.clone(), json!([it.shape, it.dtype])))
                .collect::<Map<_, _>>()
        })),
        "io_outputs" => json!(only(run).map(|it| &it.outputs)),
        "compiler_log_file" => json!(only(run).and_then(|it| it.log_file.clone())),
        "progress_dots" => json!(run.progress_dots),
        "elapsed_s" => json!(run.elapsed_s),
        "batch" => json!(run.batch),
        "cores" => json!(run.cores),
        "status" => json!(run.outcome),
        "ops_in_session" => json!(placement.in_session),
        "ops_after_optimisation" => json!(placement.after_optimisation),
        "ops_on_neuron" => json!(placement.on_neuron),
        "percent_on_inferentia" => json!(placement.percent),
        "component" | "model" | "module" => name(key, run),
        other => panic!("`{other}` of a run of the corpus is not compared"),
    }
}

fn name(key: &str, run: &LogRun) -> Value {
    match (key, &run.name) {
        ("component", Some(RunName::Component(name)))
        | ("model", Some(RunName::Model(name)))
        | ("module", Some(RunName::Module(name))) => json!(name),
        _ => Value::Null,
    }
}

fn counts(list: &[OperatorCount]) -> Map<String, Value> {
    let entries = list.iter();
    entries
        .map(|it| (it.operator.clone(), json!(it.count)))
        .collect()
}

fn errors(want: &Value, reading: &LogReading, found: &mut Vec<String>) {
    let want = want.as_array().unwrap();
    if want.len() != reading.errors.len() {
        let have: Vec<&str> = reading.errors.iter().map(|it| it.line.as_str()).collect();
        found.push(format!(
            "{} errors, have {}: {have:#?}",
            want.len(),
            have.len()
        ));
    }
    for (index, want) in want.iter().enumerate() {
        let text = want["line"].as_str().unwrap().split("(…)").next().unwrap();
        let error = reading.errors.iter().find(|it| it.line.starts_with(text));
        let Some(error) = error else {
            found.push(format!("error {index}: no line `{text}`"));
            continue;
        };
        for (key, want) in want.as_object().unwrap() {
            let have = match key.as_str() {
                "line" | "starts_with" => continue,
                "code" => json!(error.code),
                "error_class" => json!(error.class),
                "location" => json!(error.location),
                "exit_status" => json!(error.exit_status),
                "backend_exit" => json!(error.backend_exit),
                "graph" => json!(error.function),
                "module" => json!(error.module),
                "hlo_op" => json!(error.hlo_operation),
                "count" => json!(error.count),
                other => panic!("`{other}` of an error of the corpus is not compared"),
            };
            same(&format!("error {index}: {key}"), want, &have, found);
        }
    }
}
