//! Answers are those of transformers' pipelines, recorded in the fixtures.

use std::fs;
use std::time::Duration;

use neuronc::bucket;
use neuronc::bundle::{Bundle, Check};
use neuronc::executor::probe::Places;
use neuronc::runtime::{Backend, Worker};
use neuronc::task::{TaskModel, prepare};
use serde_json::{Value, json};

use crate::support::{Workplace, fixture};
use crate::tasks::model;

/// How far a score may be from the recorded one.
const TOLERANCE: f64 = 1e-4;

#[test]
fn answers_are_those_of_the_pipelines() {
    let mut requests = 0;
    for entry in fs::read_dir(fixture("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let recorded = expected(&name)["pipeline"].take();
        let recorded = recorded.as_array().unwrap();
        if recorded.is_empty() {
            continue;
        }
        let mut running = RunningModel::start(&name);
        let task = running.model.head.task().name();
        for request in recorded {
            let body = json!({"inputs": request["inputs"], "parameters": request["parameters"]});
            let ours = running.ask(&body);
            let expected = in_our_form(task, &request["outputs"]);
            let difference = difference("", &ours, &expected);
            assert_eq!(difference, None, "{name}: {body}\nours: {ours}");
            requests += 1;
        }
    }
    assert!(requests > 60, "{requests}");
}

#[test]
fn rows_are_tokenized_as_transformers_does() {
    for name in [
        "text-classification",
        "feature-extraction",
        "token-classification",
        "question-answering",
    ] {
        let model = model(name, 64);
        for case in expected(name)["cases"].as_array().unwrap() {
            let rows = case["rows"].as_array().unwrap();
            let input = |row: &Value| match (name, &row["pair"]) {
                ("question-answering", context) => {
                    json!({"question": row["text"], "context": context})
                }
                (_, Value::Null) => row["text"].clone(),
                (_, pair) => json!({"text": row["text"], "text_pair": pair}),
            };
            let inputs: Vec<Value> = rows.iter().map(input).collect();
            let prepared = prepare(&model, &json!({"inputs": inputs})).unwrap();
            for (index, row) in prepared.rows.iter().enumerate() {
                let numbers = |key: &str| -> Vec<i64> {
                    serde_json::from_value(case[key][index].clone()).unwrap()
                };
                let length = numbers("attention_mask").iter().sum::<i64>();
                let length = usize::try_from(length).unwrap();
                assert_eq!(row.ids, numbers("input_ids")[..length]);
                assert_eq!(row.type_ids, numbers("token_type_ids")[..length]);
            }
        }
    }
}

/// What differs between an answer and the expected one: numbers by more than [`TOLERANCE`], and
/// anything else at all.
fn difference(path: &str, ours: &Value, expected: &Value) -> Option<String> {
    let differs = || Some(format!("{path}: {ours} is not {expected}"));
    match (ours, expected) {
        (Value::Array(ours), Value::Array(expected)) if ours.len() == expected.len() => {
            let mut pairs = ours.iter().zip(expected).enumerate();
            pairs.find_map(|(index, (ours, expected))| {
                difference(&format!("{path}[{index}]"), ours, expected)
            })
        }
        (Value::Object(ours), Value::Object(expected)) if ours.len() == expected.len() => {
            expected.iter().find_map(|(key, expected)| {
                let ours = ours.get(key).unwrap_or(&Value::Null);
                difference(&format!("{path}.{key}"), ours, expected)
            })
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let distance = (a.as_f64().unwrap() - b.as_f64().unwrap()).abs();
            if distance > TOLERANCE {
                differs()
            } else {
                None
            }
        }
        _ if ours == expected => None,
        _ => differs(),
    }
}

/// What we answer where the pipeline of `task` answers `recorded` to a single input.
fn in_our_form(task: &str, recorded: &Value) -> Value {
    match task {
        // The inference API answers a list for each text, for one text too.
        "text-classification" => json!([recorded]),
        // The pipeline answers a batch, for one text too.
        "feature-extraction" => recorded[0].clone(),
        _ => recorded.clone(),
    }
}

/// A fixture, traced and loaded by a worker.
struct RunningModel {
    _place: Workplace,
    bundle: Bundle,
    worker: Worker,
    model: TaskModel,
}

impl RunningModel {
    fn start(name: &str) -> Self {
        let place = Workplace::new();
        let shapes = ["--batch-size", "1", "--sequence-length", "16,64"];
        let folder = place.traced(&fixture(name), "b", &shapes);
        let bundle = Bundle::open(&folder, Check::Sizes).unwrap();
        let places = Places {
            executable: std::env::current_exe().unwrap(),
            path: None,
            sdk: None,
            root: "/".into(),
            temporary: std::env::temp_dir(),
        };
        let backend = Backend::host(places.torch().unwrap());
        let log = tempfile::tempfile().unwrap();
        Self {
            worker: Worker::start(&backend, &bundle, 1, log).unwrap(),
            model: TaskModel::open(&bundle).unwrap(),
            bundle,
            _place: place,
        }
    }

    fn ask(&mut self, body: &Value) -> Value {
        let prepared =
            prepare(&self.model, body).unwrap_or_else(|invalid| panic!("{body}: {invalid}"));
        let outputs = prepared.rows.iter().map(|row| {
            let buckets = &self.bundle.manifest.plan.buckets;
            let bucket = bucket::smallest(buckets, 1, row.ids.len()).unwrap();
            let outputs =
                self.worker
                    .run_rows(&self.bundle, bucket, &[row], Duration::from_secs(60));
            outputs.unwrap().remove(0)
        });
        let outputs = outputs.collect();
        serde_json::to_value(prepared.answer(outputs).unwrap()).unwrap()
    }
}

fn expected(name: &str) -> Value {
    let text = fs::read_to_string(fixture(name).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
