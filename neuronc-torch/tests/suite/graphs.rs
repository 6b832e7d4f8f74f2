//! What is in a graph: the forward for any input of its bucket, and nothing that ties it to a CPU.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use neuronc::bucket::{Row, fill};
use neuronc::cast::{Cast, CastMode, CastType};
use neuronc::command::Program;
use neuronc::family::{Head, Pooling};
use neuronc::profile::Attention;
use neuronc::tensor::HostTensor;
use neuronc_torch::cast::Numerics;
use neuronc_torch::graph::{Bound, WeightsAre};
use neuronc_torch::model::Forward;
use neuronc_torch::tensors::{to_host, to_torch};
use tch::{CModule, Kind, Tensor};

use crate::support::{
    FP32, Made, Subject, bucket, heads, max_difference, perform, repository, row, tiny,
};

#[test]
fn a_graph_follows_inputs_other_than_those_it_was_traced_with() {
    let folder = tempfile::tempdir().unwrap();
    for head in heads() {
        let subject = Subject::random(folder.path(), head.clone());
        let at = bucket(3, 16);
        let made_in = tempfile::tempdir().unwrap();
        let job = subject.job(made_in.path(), &[at], FP32);
        perform(&job).unwrap();
        let made = Made::open(&job);
        for seed in 0..4 {
            let rows: Vec<Row> = (0..=seed.min(2))
                .map(|index| row(16 - index * seed, seed))
                .collect();
            let rows: Vec<&Row> = rows.iter().collect();
            let expected = subject.forward(Attention::Fused, at, &rows);
            let found = made.run(0, &rows);
            assert_eq!(found.shape(), expected.shape());
            let difference = max_difference(&found.to_f32().unwrap(), &expected.to_f32().unwrap());
            assert!(difference < 1e-6, "{head:?}: {difference}");
        }
    }
}

/// What graphs may consist of where attention is explicit. The compiler of the first chips has all
/// of them but `embedding`, which runs on the host.
const OPERATORS: [&str; 27] = [
    "add",
    "amax",
    "cat",
    "clamp_min",
    "div",
    "embedding",
    "gelu",
    "index_select",
    "layer_norm",
    "linear",
    "matmul",
    "mul",
    "relu",
    "reshape",
    "select",
    "slice",
    "softmax",
    "split",
    "sqrt",
    "sub",
    "sum",
    "tanh",
    "to",
    "transpose",
    "unbind",
    "unsqueeze",
    "view",
];

#[test]
fn no_graph_names_a_device_or_an_operator_that_a_chip_lacks() {
    let casts = [CastMode::None, CastMode::Matmult, CastMode::All];
    let folder = tempfile::tempdir().unwrap();
    for head in heads() {
        let subject = Subject::random(folder.path(), head.clone());
        for mode in casts {
            for attention in [Attention::Fused, Attention::Explicit] {
                let made_in = tempfile::tempdir().unwrap();
                let to = CastType::Bf16;
                let buckets = [bucket(1, 8), bucket(4, 32)];
                let mut job = subject.job(made_in.path(), &buckets, Cast { mode, to });
                job.attention = attention;
                perform(&job).unwrap();
                for graph in &job.graphs {
                    let path = made_in.path().join(&graph.file);
                    check_code(&code(&path), attention);
                    assert!(path.metadata().unwrap().len() < 8 << 10, "it holds weights");
                }
            }
        }
    }
}

fn check_code(code: &str, attention: Attention) {
    assert!(!code.contains("device"), "{code}");
    assert!(!code.contains("CONSTANTS"), "{code}");
    let calls = code.split("torch.").skip(1);
    let names = calls.map(|call| call.split('(').next().unwrap_or_default());
    for name in names.filter(|name| !name.starts_with("Graph")) {
        let allowed = match attention {
            Attention::Fused => name == "scaled_dot_product_attention",
            Attention::Explicit => false,
        };
        assert!(allowed || OPERATORS.contains(&name), "`{name}` in\n{code}");
    }
}

/// The code in a TorchScript file.
fn code(path: &Path) -> String {
    let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut code = String::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        if file.name().unwrap().ends_with(".py") {
            file.read_to_string(&mut code).unwrap();
        }
    }
    assert!(code.contains("torch.embedding"), "{code}");
    code
}

/// A model with weights in memory.
fn bound_parts(head: &Head) -> (Forward, Vec<String>, Vec<Tensor>) {
    let spec = tiny(head);
    let specs = spec.weights();
    let weights = specs.iter().map(|spec| {
        let shape: Vec<i64> = spec.shape.iter().map(|size| *size as i64).collect();
        Tensor::randn(shape, (Kind::Float, tch::Device::Cpu)) * 0.2
    });
    let weights = weights.collect();
    let names = specs.into_iter().map(|spec| spec.name).collect();
    let model = Forward {
        spec,
        attention: Attention::Fused,
        numerics: Numerics::FP32,
    };
    (model, names, weights)
}

#[test]
fn a_forward_that_returns_another_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (model, names, weights) = bound_parts(&Head::QuestionAnswering);
    let inputs = model.spec.inputs();
    let mut output = model.spec.output();
    output.width = 3;
    let bound = Bound {
        model: &model,
        names: &names,
        weights: &weights,
        inputs: &inputs,
        output,
    };
    let path = folder.path().join("graph.pt");
    let error = bound
        .trace(bucket(2, 8), &path, WeightsAre::Inputs)
        .unwrap_err();
    let message = format!("{error:#}");
    assert!(
        message.contains("[2, 8, 2]") && message.contains("[2, 8, 3]"),
        "{message}"
    );
}

#[test]
fn a_graph_that_computes_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.pt");
    let head = |pooling| Head::FeatureExtraction {
        pooling: Some(pooling),
        normalize: true,
    };
    let (mut model, names, weights) = bound_parts(&head(Pooling::Cls));
    let inputs = model.spec.inputs();
    let at = bucket(2, 8);
    let bound = Bound {
        model: &model,
        names: &names,
        weights: &weights,
        inputs: &inputs,
        output: model.spec.output(),
    };
    let graph = bound.trace(at, &path, WeightsAre::Inputs).unwrap();
    bound.check(at, &graph, WeightsAre::Inputs).unwrap();
    model.spec = tiny(&head(Pooling::Mean));
    let bound = Bound {
        model: &model,
        names: &names,
        weights: &weights,
        inputs: &inputs,
        output: model.spec.output(),
    };
    let error = bound.check(at, &graph, WeightsAre::Inputs).unwrap_err();
    assert!(
        format!("{error:#}").contains("does not compute what its forward does"),
        "{error:#}"
    );
}

#[test]
fn weights_that_share_memory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.pt");
    let (model, names, mut weights) = bound_parts(&Head::QuestionAnswering);
    let inputs = model.spec.inputs();
    weights[7] = weights[5].view_as(&weights[7]);
    let bound = Bound {
        model: &model,
        names: &names,
        weights: &weights,
        inputs: &inputs,
        output: model.spec.output(),
    };
    let error = bound
        .trace(bucket(1, 8), &path, WeightsAre::Inputs)
        .unwrap_err();
    assert!(error.to_string().contains("share memory"), "{error:#}");
}

#[test]
fn a_model_whose_output_is_not_finite_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.pt");
    let (model, names, mut weights) = bound_parts(&Head::QuestionAnswering);
    let inputs = model.spec.inputs();
    weights[5] = &weights[5] * f64::NAN;
    let bound = Bound {
        model: &model,
        names: &names,
        weights: &weights,
        inputs: &inputs,
        output: model.spec.output(),
    };
    let at = bucket(1, 8);
    let graph = bound.trace(at, &path, WeightsAre::Inputs).unwrap();
    let error = bound.check(at, &graph, WeightsAre::Inputs).unwrap_err();
    assert!(format!("{error:#}").contains("is not finite"), "{error:#}");
}

#[test]
fn a_self_contained_file_answers_without_weights() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::random(folder.path(), Head::FillMask { tied: true });
    let at = bucket(2, 8);
    let mut job = subject.job(folder.path(), &[at], FP32);
    job.graphs[0].self_contained = Some("torchscript/b2_s8.pt".to_owned());
    perform(&job).unwrap();
    let path = folder.path().join("torchscript/b2_s8.pt");
    let rows = [row(8, 3), row(5, 4)];
    let rows: Vec<&Row> = rows.iter().collect();
    let expected = Made::open(&job).run(0, &rows).to_f32().unwrap();

    let inputs = fill(at, &rows, &job.inputs, 0).unwrap();
    let tensors: Vec<Tensor> = inputs
        .iter()
        .map(|input| to_torch(input).unwrap())
        .collect();
    let graph = CModule::load(&path).unwrap();
    let found = to_host(&graph.forward_ts(&tensors).unwrap()).unwrap();
    assert!(max_difference(&found.to_f32().unwrap(), &expected) < 1e-6);

    let python = repository().join(".cache/fixtures-venv/bin/python");
    if !python.is_file() {
        println!("Python skipped: {} is missing", python.display());
        return;
    }
    let found = run_in_python(&python, &path, &inputs);
    assert!(max_difference(&found, &expected) < 1e-5);
}

/// Arguments: a TorchScript file, and the shape and the values of each of its inputs.
const SCRIPT: &str = "
import json, sys, torch
path, inputs = sys.argv[1], json.loads(sys.argv[2])
tensors = [torch.tensor(values).reshape(shape) for shape, values in inputs]
print(json.dumps(torch.jit.load(path)(*tensors).flatten().tolist()))
";

fn run_in_python(python: &Path, path: &Path, inputs: &[HostTensor]) -> Vec<f32> {
    let inputs: Vec<(&[usize], Vec<i64>)> = inputs
        .iter()
        .map(|input| {
            let (values, _) = input.bytes().as_chunks::<8>();
            let values = values.iter().map(|value| i64::from_ne_bytes(*value));
            (input.shape(), values.collect())
        })
        .collect();
    let program = Program {
        path: python.to_owned(),
        args: vec![
            "-c".into(),
            SCRIPT.into(),
            path.into(),
            serde_json::to_string(&inputs).unwrap().into(),
        ],
        environment: BTreeMap::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    let result = program.run(
        Vec::new(),
        &neuronc::command::ChildLog::file(&folder.path().join("log")),
        Duration::from_secs(120),
        &mut |line| {
            lines.push(line.to_owned());
            Ok(())
        },
    );
    result.unwrap();
    serde_json::from_str(&lines[0]).unwrap()
}
