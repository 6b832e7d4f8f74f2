//! The reports of `analyze` commands and of parallel compilation, as values.

use serde_json::Value;

use crate::findings::Findings;
use crate::limits::TEXT_MAX;
use crate::reading::{Producer, SupportedShare, UnsupportedOperator};
use crate::text::scan::{Scan, contains};

/// The keys that make a document a report.
const KEYS: [&str; 4] = [
    "support_percentage",
    "percent_supported",
    "torch_neuronx_version",
    "compilation_report",
];

pub(super) fn has_report_key(text: &[u8]) -> bool {
    KEYS.iter().any(|key| contains(text, key))
}

pub(super) fn is_analysis(value: &Value) -> bool {
    value.get("percent_supported").is_some() || value.get("support_percentage").is_some()
}

/// Adds the contents of a report to the findings.
pub(super) fn read_report(value: &Value, findings: &mut Findings) {
    if value.get("percent_supported").is_some() {
        read_inf1(value, findings);
    } else if value.get("support_percentage").is_some() {
        read_neuronx(value, findings);
    } else if value.get("compilation_report").is_some() {
        findings.recognise(Producer::NeuronParallelCompile);
        findings.reading.timings.total_s = value["compilation_time"].as_f64();
        for (path, graph) in value["compilation_report"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let passed = graph["status"].as_bool().unwrap_or_default();
            findings.graph_summed_up(path.as_bytes(), passed, graph["compile_time"].as_f64());
        }
    }
}

/// The result of `torch.neuron.analyze_model` and `tfn.analyze_model`.
fn read_inf1(value: &Value, findings: &mut Findings) {
    let arithmetic = figures(value, "_arithmetic");
    findings.recognise(match arithmetic {
        Some(_) => Producer::TorchNeuron,
        None => Producer::TensorflowNeuron,
    });
    let analysis = findings.analysis();
    analysis.all = analysis.all.or(figures(value, ""));
    analysis.arithmetic = analysis.arithmetic.or(arithmetic);
    // The text before the report may have listed them already.
    let (no_supported, no_unsupported) = (
        analysis.supported.is_empty(),
        analysis.unsupported.is_empty(),
    );
    for name in strings(&value["supported_operators"]).filter(|_| no_supported) {
        findings.add_supported(name.to_owned(), None);
    }
    for name in strings(&value["unsupported_operators"]).filter(|_| no_unsupported) {
        findings.add_unsupported(name.to_owned(), None);
    }
    for (name, count) in value["operator_count"].as_object().into_iter().flatten() {
        let length = findings.analysis().operator_count.len();
        if let Some(count) = count.as_u64()
            && findings.reserve("operator counts", length, name.len())
        {
            findings
                .analysis()
                .operator_count
                .insert(name.clone(), count);
        }
    }
    findings.analysis_ends();
}

fn figures(value: &Value, suffix: &str) -> Option<SupportedShare> {
    Some(SupportedShare {
        supported: value[format!("supported_count{suffix}").as_str()].as_u64()?,
        total: value[format!("total_count{suffix}").as_str()].as_u64()?,
        percent: value[format!("percent_supported{suffix}").as_str()].as_f64()?,
    })
}

/// The report of `torch_neuronx.analyze`, and of `neuron_parallel_compile` with its extra level.
fn read_neuronx(value: &Value, findings: &mut Findings) {
    let supported = &value["supported_operators"];
    let unsupported = &value["unsupported_operators"];
    let has_extra_level = unsupported.is_object();
    findings.recognise(if has_extra_level {
        Producer::NeuronParallelCompile
    } else {
        Producer::TorchNeuronx
    });
    let percent = value["support_percentage"].as_str().unwrap_or_default();
    let percent = Scan::new(percent.as_bytes()).decimal();
    findings.analysis().percent = percent;
    let supported = supported.get("aten").unwrap_or(supported);
    for (name, count) in supported.as_object().into_iter().flatten() {
        findings.add_supported(name.clone(), count.as_u64());
    }
    let unsupported = unsupported.get("aten").unwrap_or(unsupported);
    for entry in unsupported.as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().map(first_line);
        let length = findings.analysis().unsupported.len();
        let operator = UnsupportedOperator {
            operator: text("kind").unwrap_or_default(),
            failure_at: text("failureAt"),
            call: text("call"),
        };
        let bytes = operator.operator.len() + operator.call.as_ref().map_or(0, String::len);
        if findings.reserve("unsupported operators", length, bytes) {
            findings.analysis().unsupported.push(operator);
        }
    }
    let lists = ["supported_operators", "unsupported_operators"].map(|key| hlo(&value[key]["xla"]));
    for (list, found) in lists.into_iter().enumerate() {
        for instruction in found {
            let analysis = findings.analysis();
            let known = [&analysis.supported_hlo, &analysis.unsupported_hlo][list].len();
            if findings.reserve("HLO instructions", known, instruction.len()) {
                let analysis = findings.analysis();
                match list {
                    0 => analysis.supported_hlo.push(instruction),
                    _ => analysis.unsupported_hlo.push(instruction),
                }
            }
        }
    }
    let version = |key: &str| value[key].as_str().map(first_line);
    let versions = &mut findings.reading.versions;
    versions.torch_neuronx = version("torch_neuronx_version").or(versions.torch_neuronx.take());
    versions.compiler = version("neuronx_cc_version").or(versions.compiler.take());
    findings.analysis_ends();
}

/// The instructions of a list: as text, as keys of counts, or as objects that hold the text.
fn hlo(list: &Value) -> Vec<String> {
    let of_entry = |entry: &Value| {
        let keys = ["hlo", "kind", "call"].iter();
        let mut held = keys.filter_map(|key| entry[*key].as_str());
        entry.as_str().or_else(|| held.next()).map(first_line)
    };
    match list {
        Value::Array(entries) => entries.iter().filter_map(of_entry).collect(),
        Value::Object(entries) => entries.keys().map(|key| first_line(key)).collect(),
        _ => Vec::new(),
    }
}

/// The first line of `text`, cut at its bound.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(TEXT_MAX).collect()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}
