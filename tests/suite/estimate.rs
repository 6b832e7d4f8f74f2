//! What `report --for` says before compiling, against published logs and against formulas.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use neuronc::arguments::CheckedArguments;
use neuronc::bucket::Bucket;
use neuronc::bundle::{Bundle, Check};
use neuronc::checkpoint::{Checkpoint, RequestedTracer, SmallFiles};
use neuronc::coverage::census;
use neuronc::coverage::estimate::{
    self, BucketEstimate, Estimate, OperatorPlace, OperatorSupport, TracedModel,
};
use neuronc::plan::{self, ModelIdentity, Plan, PlanOptions};
use neuronc::profile;
use neuronc::recipe::Recipe;
use serde_json::{Value, json};

use crate::support::{Workplace, fixture, repository, skip};

const BUCKET: Bucket = Bucket {
    sequence: 128,
    batch: 1,
};

/// A published log of torch-neuron: BERT-base, fine-tuned on MRPC, 1 x 128, three inputs.
const LOG: &str = "025-inf1-bert-mrpc-2023-post-part-only.log";

fn graph(name: &str) -> PathBuf {
    repository().join("tests/fixtures/graphs").join(name)
}

/// The plan of BERT-base with a classifier of two labels.
fn bert_base() -> Plan {
    let config = json!({
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "vocab_size": 28996,
    });
    let small = SmallFiles::from([("config.json".to_owned(), config.to_string().into_bytes())]);
    let listed = ["config.json", "model.safetensors", "vocab.txt"];
    let checkpoint =
        Checkpoint::resolve(&small, &listed, None, &RequestedTracer::Automatic).unwrap();
    let model = ModelIdentity {
        id: None,
        commit: None,
        files: BTreeMap::new(),
    };
    let recipe = Recipe::for_model("bert", "bert", None);
    let profile = profile::load("inf1").unwrap();
    let arguments = CheckedArguments::defaults(&profile);
    plan::plan(
        &recipe,
        arguments,
        &checkpoint,
        model,
        &PlanOptions::default(),
    )
    .unwrap()
}

fn estimate_native(chip: &str) -> Estimate {
    let plan = bert_base();
    let specs = plan.tracer.spec().unwrap().weights();
    let traced = TracedModel {
        plan: &plan,
        weights: specs
            .into_iter()
            .map(|spec| (spec.name, spec.shape))
            .collect(),
        graphs: vec![(BUCKET, graph("bert-base-native.pt"))],
    };
    estimate::traced(&traced, &profile::load(chip).unwrap()).unwrap()
}

fn estimate_file(chip: &str, path: &Path) -> BucketEstimate {
    let profile = profile::load(chip).unwrap();
    let mut estimate = estimate::graph_file(path, &profile, None).unwrap();
    estimate.buckets.remove(0)
}

/// Operators and counts of one place.
fn at(bucket: &BucketEstimate, place: OperatorPlace) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for row in bucket.operators.iter().filter(|row| row.place == place) {
        *counts.entry(row.operator.clone()).or_default() += row.count as u64;
    }
    counts
}

/// What a log of the corpus says; `None`, with a word, where the corpus is not at hand.
fn published(log: &str) -> Option<Value> {
    let path = repository().join("../shared/logs/index.jsonl");
    let Ok(index) = std::fs::read_to_string(&path) else {
        skip(format!("there is no {}", path.display()));
        return None;
    };
    let rows = index
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let row = rows.into_iter().find(|row| row["file"] == log);
    Some(row.unwrap()["expected"]["runs"][0].clone())
}

#[test]
fn every_neuron_profile_has_lists_and_says_which() {
    for name in profile::names() {
        let profile = profile::load(name).unwrap();
        let estimate = estimate::graph_file(&graph("transformers-bert.pt"), &profile, None);
        match profile.hardware {
            None => assert!(estimate.is_err(), "{name} has no compiler to ask about"),
            Some(_) => {
                let estimate = estimate.unwrap();
                assert!(!estimate.lists.is_empty());
                for list in &estimate.lists {
                    assert!(
                        !list.version.is_empty() && !list.source.is_empty(),
                        "{list:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_graph_of_a_published_log_is_divided_as_the_log_says() {
    let bucket = estimate_file("inf1", &graph("bert-base-modules.pt"));
    let operators = bucket.totals.operators;
    assert_eq!((operators.chip, operators.all()), (555, 565));
    let Some(run) = published(LOG) else { return };
    let on_chip: BTreeMap<String, u64> =
        serde_json::from_value(run["compiled_ops"].clone()).unwrap();
    let on_host: BTreeMap<String, u64> = run["not_compiled_ops"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(operator, row)| (operator.clone(), row["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(at(&bucket, OperatorPlace::Chip), on_chip);
    assert_eq!(at(&bucket, OperatorPlace::Host), on_host);
    for row in bucket
        .operators
        .iter()
        .filter(|row| row.place == OperatorPlace::Host)
    {
        let supported = &run["not_compiled_ops"][&row.operator]["supported"];
        assert_eq!(
            row.state == OperatorSupport::Supported,
            supported == true,
            "{row:?}"
        );
    }
}

/// Our graphs have no sizes, conversions and dropouts, so that the same operators on the host are a
/// larger or smaller share.
#[test]
fn our_graph_of_bert_comes_within_two_points_of_the_published_logs() {
    let estimate = estimate_native("inf1");
    let ours = estimate.totals.operators.percent.unwrap();
    println!(
        "native BERT-base on inf1: {ours:.2} % of {} operators",
        estimate.totals.operators.all()
    );
    println!(
        "  {:.3} % of the arithmetic",
        estimate.totals.flops.percent.unwrap()
    );
    let older = "001-inf1-bert-mrpc-b1-partial-notcompiled-list.log";
    for log in [LOG, older] {
        let Some(run) = published(log) else { return };
        let theirs = run["post_compilation"]["percent"].as_f64().unwrap();
        println!("  {log}: {theirs} %, difference {:+.2}", ours - theirs);
        assert!((ours - theirs).abs() < 2.0, "{log}");
    }
    let host = at(&estimate.buckets[0], OperatorPlace::Host);
    let expected = [("aten::add", 1), ("aten::embedding", 2)];
    assert_eq!(
        host,
        expected
            .map(|(name, count)| (name.to_owned(), count))
            .into()
    );
}

#[test]
fn the_flops_of_bert_are_those_of_its_formula() {
    let (s, h, i, heads, layers) = (128u64, 768, 3072, 12, 12);
    let linear = |rows: u64, from: u64, to: u64| 2 * rows * from * to + rows * to;
    let attention = 4 * linear(s, h, h)
        + s * h // the query is scaled
        + 2 * (2 * s * s * h)
        + (1 + 5) * heads * s * s; // mask, softmax
    let feed_forward = linear(s, h, i) + 5 * s * i + linear(s, i, h);
    let residuals = 2 * (s * h + 7 * s * h);
    let mask = 2 * s;
    let embeddings = 2 * s * h + 7 * s * h;
    let head = linear(1, h, h) + h + linear(1, h, 2);
    let expected = layers * (attention + feed_forward + residuals) + mask + embeddings + head;
    for chip in ["inf1", "inf2"] {
        let totals = estimate_native(chip).totals;
        assert_eq!(
            (totals.flops.all(), totals.flops_unknown),
            (expected, 0),
            "{chip}"
        );
    }
}

#[test]
fn a_chip_without_a_complete_list_refuses_nothing_by_absence() {
    for chip in ["inf2", "trn1", "trn2"] {
        let estimate = estimate_native(chip);
        assert!(estimate.all_or_nothing);
        assert_eq!(
            estimate.totals.operators.percent,
            Some(100.0),
            "{:?}",
            estimate.buckets
        );
    }
}

#[test]
fn modules_and_constants_of_transformers_are_followed() {
    let path = graph("transformers-bert.pt");
    let bucket = estimate_file("inf2", &path);
    assert_eq!(bucket.totals.flops_unknown, 0, "{:?}", bucket.operators);
    let attention = "aten::scaled_dot_product_attention";
    let counted = census::count(&path).unwrap();
    let counted = counted.iter().find(|row| row.operator == attention);
    assert_eq!(counted.unwrap().count, 2);
    let refused = estimate_file("inf1", &path);
    let row = refused
        .operators
        .iter()
        .find(|row| row.operator == attention);
    assert_eq!(row.unwrap().state, OperatorSupport::NotSupported);
}

#[test]
fn shapes_that_do_not_fit_are_refused_with_both_numbers() {
    let profile = profile::load("inf1").unwrap();
    let path = graph("bert-base-modules.pt");
    let error = estimate::graph_file(&path, &profile, Some(&[vec![1, 8]])).unwrap_err();
    assert!(error.to_string().contains("3 inputs"), "{error}");
    let shapes = vec![vec![2, 128]; 3];
    let twice = estimate::graph_file(&path, &profile, Some(&shapes)).unwrap();
    // Where the graph has sizes of its own, other shapes need not fit: what is unknown is said.
    let once = estimate_file("inf1", &path).totals;
    assert!(twice.totals.flops_unknown > 0 || twice.totals.flops.all() > once.flops.all());
}

#[test]
fn a_profile_of_the_user_names_embedded_lists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.yaml");
    let text = std::fs::read_to_string(repository().join("profiles/inf2.yaml")).unwrap();
    std::fs::write(
        &path,
        text.replace("[inf2, inf2-analyze, inf2-xla]", "[inf1]"),
    )
    .unwrap();
    let profile = profile::load_file(&path).unwrap();
    let mine = estimate::graph_file(&graph("bert-base-modules.pt"), &profile, None).unwrap();
    assert_eq!(mine.lists.len(), 1);
    std::fs::write(
        &path,
        text.replace("[inf2, inf2-analyze, inf2-xla]", "[inf3]"),
    )
    .unwrap();
    let error = profile::load_file(&path).unwrap_err().to_string();
    assert!(
        error.contains("inf3") && error.contains("inf2-xla"),
        "{error}"
    );
}

#[test]
fn what_is_traced_for_the_host_is_estimated_for_every_chip() {
    let place = Workplace::new();
    for model in ["feature-extraction", "question-answering", "fill-mask"] {
        let shapes = ["--batch-size", "1,2", "--sequence-length", "16"];
        let folder = place.traced(&fixture(model), model, &shapes);
        let bundle = Bundle::open(&folder, Check::Sizes).unwrap();
        let graphs = bundle.manifest.artifacts.iter();
        let traced = TracedModel {
            plan: &bundle.manifest.plan,
            weights: bundle.weights().unwrap(),
            graphs: graphs
                .map(|artifact| (artifact.bucket, bundle.path(&artifact.graph)))
                .collect(),
        };
        let mut all = Vec::new();
        for chip in ["inf1", "inf2", "trn1", "trn2"] {
            let estimate = estimate::traced(&traced, &profile::load(chip).unwrap()).unwrap();
            assert_eq!(estimate.totals.flops_unknown, 0, "{model} on {chip}");
            assert_eq!(
                estimate.notes.len(),
                1,
                "fused attention is written out, and it says so"
            );
            let [one, two] = &estimate.buckets[..] else {
                panic!("two buckets")
            };
            assert_eq!(
                2 * one.totals.flops.all(),
                two.totals.flops.all(),
                "{model}"
            );
            all.push(estimate.totals.flops.all());
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    }
}
