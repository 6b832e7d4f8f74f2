//! What the tests share: models as folders, tiny random models, jobs, and running what they made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;

use neuronc::bucket::{Bucket, Row, fill};
use neuronc::cast::{Cast, CastMode, CastType};
use neuronc::checkpoint::{Checkpoint, RequestedTracer, small_files};
use neuronc::executor::events::Event;
use neuronc::executor::job::{GraphJob, PROTOCOL, TraceJob, WEIGHTS_FILE};
use neuronc::family::weights::find;
use neuronc::family::{self, Head, ModelSpec, Pooling, Scores};
use neuronc::files;
use neuronc::profile::Attention;
use neuronc::tensor::{Dtype, HostTensor, Layout};
use neuronc_torch::cast::Numerics;
use neuronc_torch::mapped::MappedFile;
use neuronc_torch::model::{Forward, Inputs, Weights};
use neuronc_torch::store::{self, Entry};
use neuronc_torch::tensors::{to_host, to_torch};
use neuronc_torch::trace;
use serde_json::{Value, json};
use tch::{CModule, Kind, Tensor};

pub(crate) const FP32: Cast = Cast {
    mode: CastMode::None,
    to: CastType::Bf16,
};

/// What is traced, and files with the weights.
pub(crate) struct Subject {
    pub(crate) spec: ModelSpec,
    pub(crate) weight_files: Vec<PathBuf>,
}

impl Subject {
    /// The model in a folder as transformers writes it.
    pub(crate) fn from_folder(folder: &Path) -> Self {
        let listed = list(folder, "");
        let names: Vec<&str> = listed.iter().map(String::as_str).collect();
        let small: BTreeMap<String, Vec<u8>> = small_files(names.iter().copied())
            .into_iter()
            .map(|name| (name.to_owned(), files::read(&folder.join(name)).unwrap()))
            .collect();
        let checkpoint =
            Checkpoint::resolve(&small, &names, None, &RequestedTracer::Automatic).unwrap();
        Self {
            spec: checkpoint.tracer.spec().unwrap().clone(),
            weight_files: checkpoint
                .weight_files
                .iter()
                .map(|file| folder.join(file))
                .collect(),
        }
    }

    /// A tiny model with random weights, which are written to `folder`.
    pub(crate) fn random(folder: &Path, head: Head) -> Self {
        Self::random_of(&folder.join("model.safetensors"), tiny(&head))
    }

    /// A model with random weights, which are written to `path`.
    pub(crate) fn random_of(path: &Path, spec: ModelSpec) -> Self {
        write_random(path, &spec);
        Self {
            spec,
            weight_files: vec![path.to_owned()],
        }
    }

    /// A job that traces `buckets` into `folder`, with attention as one operator and no references.
    pub(crate) fn job(&self, folder: &Path, buckets: &[Bucket], cast: Cast) -> TraceJob {
        let graph = |bucket: &Bucket| GraphJob {
            bucket: *bucket,
            file: format!("graphs/b{}_s{}.pt", bucket.batch, bucket.sequence),
            self_contained: None,
        };
        TraceJob {
            protocol: PROTOCOL,
            spec: self.spec.clone(),
            attention: Attention::Fused,
            cast,
            weights: find(&self.spec.weights(), &self.weight_files).unwrap(),
            inputs: self.spec.inputs(),
            output: self.spec.output(),
            graphs: buckets.iter().map(graph).collect(),
            references: Vec::new(),
            jobs: thread::available_parallelism().map_or(1, usize::from),
            folder: folder.to_owned(),
        }
    }

    /// The eager forward on the inputs of a bucket that `rows` fill.
    pub(crate) fn forward(
        &self,
        attention: Attention,
        bucket: Bucket,
        rows: &[&Row],
    ) -> HostTensor {
        use_one_thread();
        let specs = self.spec.weights();
        let sources = find(&specs, &self.weight_files).unwrap();
        let weights: Vec<Tensor> = sources
            .iter()
            .map(|source| {
                MappedFile::open(&source.file)
                    .unwrap()
                    .tensor(&source.tensor)
                    .unwrap()
            })
            .map(|tensor| tensor.to_kind(Kind::Float))
            .collect();
        let names: Vec<String> = specs.into_iter().map(|spec| spec.name).collect();
        let model = Forward {
            spec: self.spec.clone(),
            attention,
            numerics: Numerics::FP32,
        };
        let order = self.spec.inputs();
        let inputs = tensors(&fill(bucket, rows, &order, self.spec.encoder.pad_id).unwrap());
        let weights = Weights::new(&names, &weights).unwrap();
        let output = model.output(&weights, &Inputs::new(&order, &inputs).unwrap());
        to_host(&output.unwrap()).unwrap()
    }
}

/// What a job made, ready to run.
pub(crate) struct Made<'a> {
    job: &'a TraceJob,
    weights: Vec<Tensor>,
    graphs: Vec<CModule>,
}

impl<'a> Made<'a> {
    pub(crate) fn open(job: &'a TraceJob) -> Self {
        use_one_thread();
        let file = MappedFile::open(&job.folder.join(WEIGHTS_FILE)).unwrap();
        let weights = job
            .weights
            .iter()
            .map(|weight| file.tensor(&weight.name).unwrap());
        let graphs = job
            .graphs
            .iter()
            .map(|graph| CModule::load(job.folder.join(&graph.file)).unwrap());
        Self {
            job,
            weights: weights.collect(),
            graphs: graphs.collect(),
        }
    }

    /// Runs graph `index` of the job on `rows`.
    pub(crate) fn run(&self, index: usize, rows: &[&Row]) -> HostTensor {
        let pad = self.job.spec.encoder.pad_id;
        let filled = fill(self.job.graphs[index].bucket, rows, &self.job.inputs, pad).unwrap();
        let inputs = tensors(&filled);
        let inputs: Vec<&Tensor> = self.weights.iter().chain(&inputs).collect();
        to_host(&self.graphs[index].forward_ts(&inputs).unwrap()).unwrap()
    }
}

/// Does a job within this process; its events, or the failure that it reported.
pub(crate) fn perform(job: &TraceJob) -> Result<Vec<Event>, Event> {
    use_one_thread();
    let mut lines = Vec::new();
    let result = trace::run(serde_json::to_vec(job).unwrap().as_slice(), &mut lines);
    let lines = String::from_utf8(lines).unwrap();
    let mut events: Vec<Event> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    match result {
        Ok(()) => Ok(events),
        Err(_) => Err(events.pop().unwrap()),
    }
}

pub(crate) fn bucket(batch: usize, sequence: usize) -> Bucket {
    Bucket { sequence, batch }
}

/// A row of `length` tokens in two segments; another `seed` gives other ids.
pub(crate) fn row(length: usize, seed: usize) -> Row {
    let id = |place: usize| (5 + (place * 7 + seed * 11) % 40) as i64;
    Row {
        ids: (0..length).map(id).collect(),
        type_ids: (0..length)
            .map(|place| i64::from(place * 2 >= length))
            .collect(),
        position: Some(length / 2),
    }
}

/// One head of each kind.
pub(crate) fn heads() -> Vec<Head> {
    let labels = || vec!["A".to_owned(), "B".to_owned(), "C".to_owned()];
    let embedding = |pooling, normalize| Head::FeatureExtraction { pooling, normalize };
    vec![
        embedding(None, false),
        embedding(Some(Pooling::Mean), true),
        embedding(Some(Pooling::Cls), false),
        embedding(Some(Pooling::Max), true),
        Head::QuestionAnswering,
        Head::TextClassification {
            labels: labels(),
            scores: Scores::Softmax,
        },
        Head::TokenClassification { labels: labels() },
        Head::FillMask { tied: true },
        Head::FillMask { tied: false },
    ]
}

/// The config of a tiny model.
pub(crate) fn tiny_config() -> Value {
    json!({
        "model_type": "bert",
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    })
}

pub(crate) fn tiny(head: &Head) -> ModelSpec {
    family::resolve(&tiny_config(), head).unwrap()
}

/// A tiny model but for one key of its config.
pub(crate) fn tiny_with(key: &str, value: Value, head: &Head) -> ModelSpec {
    let mut config = tiny_config();
    config[key] = value;
    family::resolve(&config, head).unwrap()
}

/// Weights around 0, and scales of layer norms around 1, so that every one of them shows.
fn write_random(path: &Path, spec: &ModelSpec) {
    let specs = spec.weights();
    let entries: Vec<Entry> = specs
        .iter()
        .map(|spec| Entry {
            name: spec.name.clone(),
            layout: Layout {
                dtype: Dtype::F32,
                shape: spec.shape.clone(),
            },
        })
        .collect();
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut values = |index: usize| -> anyhow::Result<Vec<u8>> {
        let spec = &specs[index];
        let centre = if spec.name.ends_with("LayerNorm.weight") {
            1.0
        } else {
            0.0
        };
        let count = spec.shape.iter().product();
        Ok((0..count)
            .flat_map(|_| (centre + 0.3 * random()).to_le_bytes())
            .collect())
    };
    store::write(path, &entries, &mut values).unwrap();
}

pub(crate) fn max_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().zip(right);
    // NaN is larger than any bound, which `max` would hide.
    pairs
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |max, d| if d <= max { max } else { d })
}

pub(crate) fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

/// The repository that this crate is a part of.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Tests run beside each other: operators that wait for threads of their own would spin.
fn use_one_thread() {
    tch::set_num_threads(1);
}

fn tensors(tensors: &[HostTensor]) -> Vec<Tensor> {
    tensors
        .iter()
        .map(|tensor| to_torch(tensor).unwrap())
        .collect()
}

/// The files of `folder` and of the folders in it, relative to it.
fn list(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for name in files::list(folder).unwrap() {
        let path = folder.join(&name);
        match path.is_dir() {
            true => names.extend(list(&path, &format!("{prefix}{name}/"))),
            false => names.push(format!("{prefix}{name}")),
        }
    }
    names
}
