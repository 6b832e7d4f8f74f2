//! Cast modes keep the answers close and the weights small.

use neuronc::bucket::Row;
use neuronc::cast::{Cast, CastMode, CastType};
use neuronc::executor::job::WEIGHTS_FILE;
use neuronc::family::weights::{WeightUse, map_file, parse};
use neuronc::profile::Attention;
use safetensors::Dtype;

use crate::support::{FP32, Made, Subject, bucket, cosine, heads, perform, row};

/// Cast modes with the types in which a bundle then holds matrix operands and everything else.
fn casts() -> Vec<(Cast, Dtype, Dtype)> {
    let cast = |mode, to| Cast { mode, to };
    vec![
        (FP32, Dtype::F32, Dtype::F32),
        (
            cast(CastMode::Matmult, CastType::Bf16),
            Dtype::BF16,
            Dtype::F32,
        ),
        (
            cast(CastMode::Matmult, CastType::Fp16),
            Dtype::F16,
            Dtype::F32,
        ),
        (
            cast(CastMode::All, CastType::Bf16),
            Dtype::BF16,
            Dtype::BF16,
        ),
        (cast(CastMode::All, CastType::Fp16), Dtype::F16, Dtype::F16),
    ]
}

#[test]
fn every_cast_mode_stays_close_to_fp32() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [row(20, 1), row(7, 2)];
    let rows: Vec<&Row> = rows.iter().collect();
    // One row of the bucket stays empty: nothing but padding must not become NaN in a smaller type.
    let at = bucket(3, 24);
    for head in heads() {
        let subject = Subject::random(folder.path(), head.clone());
        let exact = subject
            .forward(Attention::Explicit, at, &rows)
            .to_f32()
            .unwrap();
        for (cast, ..) in casts() {
            for attention in [Attention::Fused, Attention::Explicit] {
                let made_in = tempfile::tempdir().unwrap();
                let mut job = subject.job(made_in.path(), &[at], cast);
                job.attention = attention;
                perform(&job).unwrap();
                let output = Made::open(&job).run(0, &rows).to_f32().unwrap();
                assert!(
                    output.iter().all(|value| value.is_finite()),
                    "{head:?} {cast:?} {attention:?}"
                );
                let filled = exact.len() / at.batch * rows.len();
                let cosine = cosine(&exact[..filled], &output[..filled]);
                assert!(cosine > 0.999, "{head:?} {cast:?} {attention:?}: {cosine}");
            }
        }
    }
}

#[test]
fn weights_are_stored_in_the_type_in_which_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    for head in heads() {
        let subject = Subject::random(folder.path(), head);
        for (cast, matmul, other) in casts() {
            let made_in = tempfile::tempdir().unwrap();
            let job = subject.job(made_in.path(), &[], cast);
            perform(&job).unwrap();
            let path = made_in.path().join(WEIGHTS_FILE);
            let map = map_file(&path).unwrap();
            let stored = parse(&path, &map).unwrap();
            assert_eq!(stored.names().len(), job.weights.len());
            for weight in &job.weights {
                let expected = if weight.used_as == WeightUse::Matmul {
                    matmul
                } else {
                    other
                };
                assert_eq!(
                    stored.tensor(&weight.name).unwrap().dtype(),
                    expected,
                    "{}",
                    weight.name
                );
            }
        }
    }
}
