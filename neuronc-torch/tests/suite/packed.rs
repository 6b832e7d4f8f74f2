//! Graphs on packed weights give what they gave before.

use neuronc::bucket::{Row, fill};
use neuronc::cast::{Cast, CastMode, CastType};
use neuronc::executor::job::{TraceJob, WEIGHTS_FILE};
use neuronc::family::Head;
use neuronc_torch::mapped::MappedFile;
use neuronc_torch::packed::{Graph, Packed};
use neuronc_torch::tensors::{to_host, to_torch};
use tch::Tensor;

use crate::support::{FP32, Made, Subject, bucket, cosine, heads, perform, row};

/// Linear layers of an encoder layer: query, key, value, output, and the two around the activation.
const LINEAR_PER_LAYER: usize = 6;

fn casts() -> Vec<Cast> {
    let cast = |mode, to| Cast { mode, to };
    vec![
        FP32,
        cast(CastMode::Matmult, CastType::Bf16),
        cast(CastMode::All, CastType::Bf16),
        cast(CastMode::Matmult, CastType::Fp16),
    ]
}

/// The graphs of a job with their weights packed, and how many were.
fn packed(job: &TraceJob) -> (Vec<Graph>, Vec<Tensor>, usize) {
    let graphs = job.graphs.iter();
    let graphs: Vec<Graph> = graphs
        .map(|graph| Graph::load(&job.folder.join(&graph.file)).unwrap())
        .collect();
    let file = MappedFile::open(&job.folder.join(WEIGHTS_FILE)).unwrap();
    let names = job.weights.iter().map(|weight| &weight.name);
    let mut weights: Vec<Tensor> = names
        .clone()
        .map(|name| file.tensor(name).unwrap())
        .collect();
    let all: Vec<&Graph> = graphs.iter().collect();
    let packed = Packed::pack(&all, &mut weights).unwrap();
    let flags = packed.flags();
    for (name, _) in names.zip(flags).filter(|(_, is_packed)| **is_packed) {
        file.release(name).unwrap();
    }
    let count = flags.iter().filter(|is_packed| **is_packed).count();
    (graphs, weights, count)
}

#[test]
fn packed_graphs_answer_as_they_did() {
    let _no_grad = tch::no_grad_guard();
    let folder = tempfile::tempdir().unwrap();
    let buckets = [bucket(1, 16), bucket(3, 24)];
    let rows = [row(13, 1), row(7, 2), row(16, 3)];
    for (head, cast) in heads()
        .into_iter()
        .flat_map(|head| casts().into_iter().map(move |cast| (head.clone(), cast)))
    {
        let subject = Subject::random(folder.path(), head.clone());
        let made_in = tempfile::tempdir().unwrap();
        let job = subject.job(made_in.path(), &buckets, cast);
        perform(&job).unwrap();
        let plain = Made::open(&job);
        let (graphs, weights, count) = packed(&job);
        let is_packable = cast.to == CastType::Bf16 && has_avx512();
        assert_eq!(
            count >= LINEAR_PER_LAYER * subject.spec.encoder.layers,
            is_packable,
            "{head:?} {cast:?} packed {count}"
        );
        for (index, graph) in graphs.iter().enumerate() {
            let at = job.graphs[index].bucket;
            let rows: Vec<&Row> = rows.iter().take(at.batch).collect();
            let filled = fill(at, &rows, &job.inputs, job.spec.encoder.pad_id).unwrap();
            let inputs: Vec<Tensor> = filled.iter().map(|one| to_torch(one).unwrap()).collect();
            let inputs: Vec<&Tensor> = weights.iter().chain(&inputs).collect();
            let found = to_host(&graph.run(&inputs).unwrap()).unwrap();
            let found = found.to_f32().unwrap();
            let expected = plain.run(index, &rows).to_f32().unwrap();
            let least = if cast == FP32 { 0.999_999 } else { 0.999 };
            let cosine = cosine(&expected, &found);
            assert!(cosine > least, "{head:?} {cast:?} {at}: {cosine}");
        }
    }
}

/// What oneDNN needs to be faster than MKL.
fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

#[test]
fn a_table_that_is_a_decoder_as_well_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let counts = [true, false].map(|tied| {
        let subject = Subject::random(folder.path(), Head::FillMask { tied });
        let made_in = tempfile::tempdir().unwrap();
        let job = subject.job(made_in.path(), &[bucket(1, 16)], FP32);
        perform(&job).unwrap();
        packed(&job).2
    });
    let decoder = usize::from(has_avx512());
    assert_eq!(counts[0] + decoder, counts[1]);
}

#[test]
fn what_libtorch_refuses_is_an_error_and_no_abort() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Graph::load(&folder.path().join("missing.pt"))
        .err()
        .unwrap();
    assert!(format!("{missing:#}").contains("missing.pt"), "{missing:#}");
    let subject = Subject::random(folder.path(), Head::QuestionAnswering);
    let made_in = tempfile::tempdir().unwrap();
    let job = subject.job(made_in.path(), &[bucket(1, 16)], FP32);
    perform(&job).unwrap();
    let (graphs, weights, _) = packed(&job);
    let few: Vec<&Tensor> = weights.iter().collect();
    let error = graphs[0].run(&few).unwrap_err();
    assert!(error.to_string().contains("inputs and got"), "{error:#}");
}
