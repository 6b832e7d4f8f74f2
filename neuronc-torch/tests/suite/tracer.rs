//! Jobs: what the tracer reports, what it writes, and what it refuses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use neuronc::bucket::Row;
use neuronc::cast::{Cast, CastMode, CastType};
use neuronc::command::{ChildLog, Program};
use neuronc::executor::events::{Event, FailureClass};
use neuronc::executor::job::{
    PROTOCOL, REFERENCE_FILE, REFERENCE_VALUES_MAX, TraceJob, WEIGHTS_FILE, reference_stride,
};
use neuronc::family::weights::{map_file, parse};
use neuronc::family::{Head, Pooling};
use neuronc::files;
use neuronc::profile::Attention;

use crate::support::{FP32, Subject, bucket, max_difference, perform, row, tiny_with};

const EMBEDDING: Head = Head::FeatureExtraction {
    pooling: Some(Pooling::Mean),
    normalize: true,
};

/// Makes a job one that cannot be done.
type Spoil<'a> = &'a dyn Fn(&mut TraceJob);

fn executor(word: &str) -> Program {
    Program {
        path: PathBuf::from(env!("CARGO_BIN_EXE_neuronc-torch")),
        args: vec![word.into()],
        environment: BTreeMap::new(),
    }
}

/// What the program prints for `input`, and whether it succeeded.
fn run(word: &str, input: Vec<u8>) -> (Vec<String>, bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    let log = folder.path().join("log");
    let result = executor(word).run(
        input,
        &ChildLog::file(&log),
        Duration::from_secs(120),
        &mut |line| {
            lines.push(line.to_owned());
            Ok(())
        },
    );
    (lines, result.is_ok())
}

#[test]
fn the_program_finds_libtorch_and_says_what_it_is() {
    let (lines, ok) = run("--version", Vec::new());
    assert!(ok && lines[0].contains("libtorch 2.9.0"), "{lines:?}");
    assert!(!run("serve", Vec::new()).1);
}

#[test]
fn a_job_is_answered_with_events_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::random(folder.path(), EMBEDDING);
    let mut job = subject.job(folder.path(), &[bucket(1, 8), bucket(2, 16)], FP32);
    job.references = vec![row(6, 1), row(16, 2)];
    let (lines, ok) = run("trace", serde_json::to_vec(&job).unwrap());
    assert!(ok, "{lines:?}");
    let events: Vec<Event> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let weights = folder.path().join(WEIGHTS_FILE).metadata().unwrap().len();
    assert!(
        matches!(&events[0], Event::Started { protocol, .. } if *protocol == PROTOCOL),
        "{events:?}"
    );
    assert!(
        events.iter().any(|event| matches!(event, Event::Weights { bytes, names } if *bytes == weights && !names.is_empty())),
        "{events:?}"
    );
    assert!(
        events.iter().any(
            |event| matches!(event, Event::References { rows: 2, output } if output.width == 32)
        ),
        "{events:?}"
    );
    assert_eq!(events.last(), Some(&Event::Done));
    let graphs = events
        .iter()
        .filter(|event| matches!(event, Event::Graph { .. }))
        .count();
    assert_eq!(graphs, 2);
    assert!(folder.path().join("graphs/b2_s16.pt").is_file());
}

#[test]
fn the_same_job_makes_the_same_bytes_however_many_graphs_are_traced_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::random(folder.path(), Head::FillMask { tied: false });
    let buckets = [
        bucket(1, 8),
        bucket(2, 8),
        bucket(1, 32),
        bucket(3, 32),
        bucket(4, 16),
        bucket(1, 64),
    ];
    let cast = Cast {
        mode: CastMode::Matmult,
        to: CastType::Bf16,
    };
    let made = [1, 4].map(|jobs| {
        let made_in = tempfile::tempdir().unwrap();
        let mut job = subject.job(made_in.path(), &buckets, cast);
        job.references = vec![row(9, 1)];
        job.jobs = jobs;
        perform(&job).unwrap();
        let graphs = job.graphs.iter().map(|graph| graph.file.as_str());
        let names = graphs.chain([WEIGHTS_FILE, REFERENCE_FILE]);
        names
            .map(|name| files::sha256(&made_in.path().join(name)).unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(made[0], made[1]);
}

/// The values of reference output `index`.
fn reference(job: &TraceJob, index: usize) -> Vec<f32> {
    let path = job.folder.join(REFERENCE_FILE);
    let map = map_file(&path).unwrap();
    let file = parse(&path, &map).unwrap();
    let view = file.tensor(&index.to_string()).unwrap();
    let (values, _) = view.data().as_chunks::<4>();
    values
        .iter()
        .map(|value| f32::from_le_bytes(*value))
        .collect()
}

#[test]
fn reference_outputs_are_exact_whatever_the_cast_and_sampled_where_large() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::random(
        folder.path(),
        Head::FeatureExtraction {
            pooling: None,
            normalize: false,
        },
    );
    let vocabulary = Subject::random_of(
        &folder.path().join("large.safetensors"),
        tiny_with("vocab_size", 9000.into(), &Head::FillMask { tied: true }),
    );
    for subject in [subject, vocabulary] {
        let made_in = tempfile::tempdir().unwrap();
        let cast = Cast {
            mode: CastMode::All,
            to: CastType::Bf16,
        };
        let mut job = subject.job(made_in.path(), &[], cast);
        job.references = vec![row(5, 1), row(64, 2)];
        perform(&job).unwrap();
        for (index, row) in job.references.iter().enumerate() {
            let alone = bucket(1, row.ids.len());
            let output = subject
                .forward(Attention::Explicit, alone, &[row])
                .to_f32()
                .unwrap();
            let expected: Vec<f32> = output
                .iter()
                .copied()
                .step_by(reference_stride(output.len()))
                .collect();
            let found = reference(&job, index);
            assert!(found.len() <= REFERENCE_VALUES_MAX);
            assert!(max_difference(&found, &expected) < 1e-6);
        }
    }
}

#[test]
fn a_job_that_cannot_be_done_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::random(folder.path(), EMBEDDING);
    let good = subject.job(folder.path(), &[bucket(1, 8)], FP32);
    let cases: [(&str, Spoil); 9] = [
        ("protocol 7", &|job| job.protocol = 7),
        ("other weights", &|job| job.weights.truncate(3)),
        ("other inputs", &|job| job.inputs.truncate(2)),
        ("another output", &|job| job.output.width = 31),
        ("exceeds the 64 positions", &|job| {
            job.graphs[0].bucket = bucket(1, 65)
        }),
        ("holds nothing", &|job| job.graphs[0].bucket = bucket(0, 8)),
        ("not a plain path", &|job| {
            job.graphs[0].file = "../outside.pt".to_owned()
        }),
        ("reference row 0", &|job| {
            job.references = vec![Row::default()]
        }),
        ("no/such.safetensors", &|job| {
            job.weights[3].file = "/no/such.safetensors".into()
        }),
    ];
    for (reason, spoil) in cases {
        let mut job = good.clone();
        spoil(&mut job);
        let failed = perform(&job).unwrap_err();
        let Event::Failed { class, message } = &failed else {
            panic!("{failed:?}")
        };
        assert!(message.contains(reason), "{reason}: {message}");
        assert_eq!(*class, FailureClass::Input, "{message}");
    }
}

#[test]
fn an_id_beyond_the_vocabulary_is_the_message_of_the_failure() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::random(folder.path(), EMBEDDING);
    let mut job = subject.job(folder.path(), &[], FP32);
    job.references = vec![Row {
        ids: vec![7, 50],
        type_ids: vec![0, 0],
        position: None,
    }];
    let failed = perform(&job).unwrap_err();
    let Event::Failed { message, .. } = &failed else {
        panic!("{failed:?}")
    };
    assert_eq!(
        message,
        "computing reference output 0: index out of range in self"
    );
}

#[test]
fn a_weight_of_another_shape_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::random(folder.path(), EMBEDDING);
    let mut job = subject.job(folder.path(), &[], FP32);
    job.spec = tiny_with("vocab_size", 51.into(), &EMBEDDING);
    let failed = perform(&job).unwrap_err();
    let Event::Failed { class, message } = &failed else {
        panic!("{failed:?}")
    };
    assert!(
        message.contains("word_embeddings") && message.contains("51"),
        "{message}"
    );
    assert_eq!(*class, FailureClass::Input);
}

#[test]
fn a_full_disk_is_told_as_such_for_weights_and_for_graphs() {
    let full = PathBuf::from("/dev/full");
    if !full.exists() {
        println!("skipped: this system has no /dev/full");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::random(folder.path(), EMBEDDING);
    for name in [WEIGHTS_FILE, "graphs/b1_s8.pt"] {
        let made_in = tempfile::tempdir().unwrap();
        let job = subject.job(made_in.path(), &[bucket(1, 8)], FP32);
        files::create_folder(&made_in.path().join("graphs")).unwrap();
        std::os::unix::fs::symlink(&full, made_in.path().join(name)).unwrap();
        let failed = perform(&job).unwrap_err();
        let Event::Failed { class, message } = &failed else {
            panic!("{failed:?}")
        };
        assert!(message.contains(name), "{message}");
        assert_eq!(*class, FailureClass::Resources, "{message}");
    }
}
