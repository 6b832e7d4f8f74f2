//! The worker as a process on a real socket.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use neuronc::bucket::{Bucket, Row, fill};
use neuronc::command::{Program, tail};
use neuronc::executor::job::{PROTOCOL, TraceJob, WEIGHTS_FILE};
use neuronc::executor::wire::{self, Artifact, Frame, Load, Reply, Request};
use neuronc::family::{Head, ModelSpec};
use neuronc::profile::Attention;
use neuronc::tensor::HostTensor;
use tempfile::TempDir;

use crate::support::{FP32, Subject, bucket, max_difference, perform, row, tiny, tiny_with};

/// A worker process; it ends with the value.
struct Worker {
    child: Child,
    socket: UnixStream,
    log: PathBuf,
}

impl Worker {
    fn start(folder: &Path) -> Self {
        let program = Program {
            path: PathBuf::from(env!("CARGO_BIN_EXE_neuronc-torch")),
            args: vec!["worker".into()],
            environment: BTreeMap::new(),
        };
        let log = folder.join("worker.log");
        let (child, socket) = program
            .start_with_socket(File::create(&log).unwrap())
            .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self { child, socket, log }
    }

    fn loaded(made: &Made) -> Self {
        let mut worker = Self::start(made.folder.path());
        assert_eq!(
            worker.ask(&Request::Load(made.load()), &[]).message,
            Reply::Loaded
        );
        worker
    }

    fn ask(&mut self, request: &Request, tensors: &[HostTensor]) -> Frame<Reply> {
        wire::send(&mut self.socket, request, tensors).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Frame<Reply> {
        let answer = wire::receive(&mut self.socket).unwrap();
        answer.unwrap_or_else(|| panic!("no answer; {:?}", tail(&self.log, 20)))
    }

    /// The reason of the failure with which it answers.
    fn refusal(&mut self, id: u64, artifact: usize, tensors: &[HostTensor]) -> String {
        match self.ask(&Request::Run { id, artifact }, tensors).message {
            Reply::Failed {
                id: Some(answered),
                message,
            } if answered == id => message,
            other => panic!("{other:?}"),
        }
    }

    /// Closes the socket; whether the process then ended well.
    fn close(mut self) -> bool {
        self.socket.shutdown(Shutdown::Both).unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a request one that cannot be met.
type Spoil<'a> = &'a dyn Fn(&mut Load);

/// A model that was traced.
struct Made {
    folder: TempDir,
    subject: Subject,
    job: TraceJob,
}

impl Made {
    fn new(spec: ModelSpec, buckets: &[Bucket]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let subject = Subject::random_of(&folder.path().join("model.safetensors"), spec);
        let job = subject.job(folder.path(), buckets, FP32);
        perform(&job).unwrap();
        Self {
            folder,
            subject,
            job,
        }
    }

    fn load(&self) -> Load {
        let artifacts = self.job.graphs.iter().map(|graph| Artifact {
            bucket: graph.bucket,
            file: self.folder.path().join(&graph.file),
        });
        Load {
            plugin: None,
            module: None,
            protocol: PROTOCOL,
            artifacts: artifacts.collect(),
            weights: self.folder.path().join(WEIGHTS_FILE),
            weight_names: self
                .job
                .weights
                .iter()
                .map(|weight| weight.name.clone())
                .collect(),
            threads: 1,
        }
    }

    fn inputs(&self, at: Bucket, rows: &[&Row]) -> Vec<HostTensor> {
        fill(at, rows, &self.job.inputs, self.job.spec.encoder.pad_id).unwrap()
    }
}

#[test]
fn a_worker_runs_every_bucket_and_ends_when_its_socket_is_closed() {
    let buckets = [bucket(1, 8), bucket(2, 16)];
    let made = Made::new(tiny(&Head::FillMask { tied: true }), &buckets);
    let mut worker = Worker::loaded(&made);
    let rows = [row(7, 1), row(5, 2)];
    for (artifact, at) in buckets.into_iter().enumerate() {
        let rows: Vec<&Row> = rows.iter().take(at.batch).collect();
        let run = Request::Run {
            id: 40 + artifact as u64,
            artifact,
        };
        let frame = worker.ask(&run, &made.inputs(at, &rows));
        assert!(matches!(frame.message, Reply::Output { id, .. } if id == 40 + artifact as u64));
        let expected = made.subject.forward(Attention::Fused, at, &rows);
        assert_eq!(frame.tensors[0].shape(), expected.shape());
        let (found, expected) = (
            frame.tensors[0].to_f32().unwrap(),
            expected.to_f32().unwrap(),
        );
        assert!(max_difference(&found, &expected) < 1e-5);
    }
    assert!(worker.close());
}

#[test]
fn a_run_that_fails_is_answered_and_the_worker_lives_on() {
    let at = bucket(1, 8);
    let made = Made::new(tiny(&Head::QuestionAnswering), &[at]);
    let mut worker = Worker::loaded(&made);
    let good = made.inputs(at, &[&row(6, 1)]);
    let changed = |index: usize, tensor: HostTensor| {
        let mut tensors = good.clone();
        tensors[index] = tensor;
        tensors
    };
    let floats = HostTensor::from_f32(&[1, 8], &[0.0; 8]).unwrap();
    let longer = HostTensor::from_i64(&[1, 9], &[0; 9]).unwrap();
    let beyond = HostTensor::from_i64(&[1, 8], &[50; 8]).unwrap();
    let negative = HostTensor::from_i64(&[1, 8], &[-1; 8]).unwrap();
    let cases = [
        (1, good.clone(), "no artifact 1"),
        (0, Vec::new(), "no input"),
        (0, good[..2].to_vec(), "takes 42 inputs and got 41"),
        (0, changed(0, floats), "F32"),
        (0, changed(1, longer), "[1, 9]"),
        (0, changed(0, beyond), "index out of range"),
        (0, changed(2, negative), "index out of range"),
    ];
    for (id, (artifact, tensors, reason)) in cases.into_iter().enumerate() {
        let message = worker.refusal(id as u64, artifact, &tensors);
        assert!(message.contains(reason), "{reason}: {message}");
        assert!(message.len() < 500, "{message}");
    }
    let frame = worker.ask(
        &Request::Run {
            id: 99,
            artifact: 0,
        },
        &good,
    );
    assert!(
        matches!(frame.message, Reply::Output { id: 99, .. }),
        "{:?}",
        frame.message
    );
    assert!(worker.close());
}

#[test]
fn what_cannot_be_loaded_is_named_and_ends_the_worker() {
    let made = Made::new(tiny(&Head::QuestionAnswering), &[bucket(1, 8)]);
    let broken = made.folder.path().join("broken.pt");
    neuronc::files::write(&broken, b"not a graph").unwrap();
    let cases: [(&str, Spoil); 5] = [
        ("protocol 9", &|load| load.protocol = 9),
        ("no/weights", &|load| load.weights = "/no/weights".into()),
        ("`surplus` is missing", &|load| {
            load.weight_names.push("surplus".to_owned())
        }),
        ("broken.pt", &|load| load.artifacts[0].file = broken.clone()),
        ("0 threads", &|load| load.threads = 0),
    ];
    for (reason, spoil) in cases {
        let mut load = made.load();
        spoil(&mut load);
        let mut worker = Worker::start(made.folder.path());
        match worker.ask(&Request::Load(load), &[]).message {
            Reply::Failed { id: None, message } => assert!(message.contains(reason), "{message}"),
            other => panic!("{other:?}"),
        }
        assert!(!worker.child.wait().unwrap().success());
    }
}

#[test]
fn a_peer_that_does_not_keep_to_the_protocol_is_told_and_left() {
    let made = Made::new(tiny(&Head::QuestionAnswering), &[bucket(1, 8)]);
    let mut worker = Worker::start(made.folder.path());
    let frame = worker.ask(&Request::Run { id: 1, artifact: 0 }, &[]);
    assert!(
        matches!(frame.message, Reply::Failed { id: None, .. }),
        "{:?}",
        frame.message
    );
    assert!(!worker.child.wait().unwrap().success());

    let mut worker = Worker::loaded(&made);
    worker.socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(matches!(
        worker.answer().message,
        Reply::Failed { id: None, .. }
    ));
    assert!(!worker.child.wait().unwrap().success());
}

#[test]
fn two_workers_hold_the_weights_in_memory_once() {
    // Its decoder reads the whole table, which is most of the file.
    let spec = tiny_with("vocab_size", 20_000.into(), &Head::FillMask { tied: true });
    let at = bucket(1, 8);
    let made = Made::new(spec, &[at]);
    let inputs = made.inputs(at, &[&row(8, 1)]);
    let mut workers = [Worker::loaded(&made), Worker::loaded(&made)];
    for worker in &mut workers {
        let frame = worker.ask(&Request::Run { id: 1, artifact: 0 }, &inputs);
        assert!(matches!(frame.message, Reply::Output { .. }));
    }
    let file = made.folder.path().join(WEIGHTS_FILE);
    let size = file.metadata().unwrap().len() / 1024;
    let mapped = |worker: &Worker, of: &str| mapped_kilobytes(worker.child.id(), &file, of);
    let total: u64 = workers.iter().map(|worker| mapped(worker, "Pss:")).sum();
    for worker in &workers {
        assert!(
            mapped(worker, "Rss:") > size * 9 / 10,
            "the weights are in memory"
        );
        assert_eq!(mapped(worker, "Private_Dirty:"), 0);
    }
    assert!(
        total <= size * 11 / 10,
        "two workers hold {total} kB of {size} kB"
    );
}

#[test]
fn what_of_files_only_first_runs_needed_does_not_stay_in_memory() {
    let buckets = [bucket(1, 8), bucket(1, 16)];
    let made = Made::new(tiny(&Head::QuestionAnswering), &buckets);
    let mut worker = Worker::loaded(&made);
    let mut after_run = |artifact: usize| {
        let inputs = made.inputs(buckets[artifact], &[&row(6, 1)]);
        let frame = worker.ask(&Request::Run { id: 1, artifact }, &inputs);
        assert!(matches!(frame.message, Reply::Output { .. }));
        file_kilobytes(worker.child.id())
    };
    let first = after_run(0);
    after_run(1);
    // It is let go of after the answer, and ahead of the next one.
    let third = after_run(0);
    assert!(third < first * 2 / 3, "{third} of {first} kB");
}

/// Kilobytes that a process has in memory of files.
fn file_kilobytes(process: u32) -> u64 {
    let path = PathBuf::from(format!("/proc/{process}/smaps_rollup"));
    let text = neuronc::files::read_text(&path).unwrap();
    let kilobytes = |name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    kilobytes("Rss:") - kilobytes("Anonymous:")
}

/// Kilobytes of the mapped `file` in a process, by the kernel's count named `of`.
fn mapped_kilobytes(process: u32, file: &Path, of: &str) -> u64 {
    let maps = File::open(format!("/proc/{process}/smaps")).unwrap();
    let text = std::io::read_to_string(maps).unwrap();
    let name = file.to_str().unwrap();
    let lines = text
        .lines()
        .skip_while(|line| !line.ends_with(name))
        .skip(1);
    let mut lines = lines.filter_map(|line| line.strip_prefix(of));
    lines
        .next()
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}
