//! Graphs and weights stay the same files, byte by byte, from one version of the code to the next.
//!
//! A graph holds no weights, so that its bytes depend on the code alone. `graph-digests.txt` has the
//! SHA-256 of each, and of the weights file of each head and cast; with `NEURONC_BLESS=1` it is written anew, which is right only where a change of
//! graphs is meant.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use neuronc::cast::{Cast, CastMode, CastType};
use neuronc::executor::job::WEIGHTS_FILE;
use neuronc::files;
use neuronc::profile::Attention;

use crate::support::{Subject, bucket, heads, perform, repository};

fn golden() -> PathBuf {
    repository().join("neuronc-torch/tests/suite/graph-digests.txt")
}

/// A line for each graph of each head, cast and form of attention.
fn digests() -> String {
    let folder = tempfile::tempdir().unwrap();
    let casts = [
        (CastMode::None, CastType::Bf16),
        (CastMode::Matmult, CastType::Bf16),
        (CastMode::Matmult, CastType::Fp16),
        (CastMode::All, CastType::Bf16),
    ];
    let mut lines = String::new();
    for (index, head) in heads().into_iter().enumerate() {
        let task = head.task().name();
        let subject = Subject::random(folder.path(), head);
        for (mode, to) in casts {
            for attention in [Attention::Fused, Attention::Explicit] {
                let made_in = tempfile::tempdir().unwrap();
                let buckets = [bucket(1, 8), bucket(4, 32)];
                let mut job = subject.job(made_in.path(), &buckets, Cast { mode, to });
                job.attention = attention;
                perform(&job).unwrap();
                let graphs = job.graphs.iter().map(|graph| graph.file.as_str());
                for file in graphs.chain([WEIGHTS_FILE]) {
                    let digest = files::sha256(&made_in.path().join(file)).unwrap();
                    let case = format!("{index} {task} {mode:?} {to:?} {attention:?} {file}");
                    writeln!(lines, "{digest} {case}").unwrap();
                }
            }
        }
    }
    lines
}

#[test]
fn graphs_are_byte_for_byte_those_of_the_last_version() {
    let found = digests();
    if std::env::var_os("NEURONC_BLESS").is_some() {
        fs::write(golden(), &found).unwrap();
    }
    let expected = fs::read_to_string(golden()).unwrap();
    let pairs = expected.lines().zip(found.lines());
    for (expected, found) in pairs {
        assert_eq!(expected, found);
    }
    assert_eq!(expected.lines().count(), found.lines().count());
}
