//! How much memory a model takes where it runs: an estimate, made before anything is compiled.
//!
//! On a Neuron chip each bucket is a program of its own with a copy of the weights. What is known of
//! the programs is what `neuron-top` shows of one model in public, BERT-base for question answering
//! with one bucket of 1x128 (aws-samples/best-practices-for-fastapi-on-inferentia, folder `images`):
//!
//! | | weights of the model, cast | constants on the core | code on the core |
//! | --- | --- | --- | --- |
//! | Inferentia2 | 265.5 MB | 286.7 MB | 50.5 MB |
//! | Inferentia, embeddings on the host | 170.1 MB | 174.8 MB | 2.9 MB |
//!
//! From it are [`CONSTANTS_PER_WEIGHT`] and the bytes of code below. That code does not grow with the
//! bucket is an assumption. Activations are computed from the shapes of one layer. A test compares
//! with the published totals; nothing here was measured on a chip by us.

use serde::Serialize;

use crate::arguments::Arguments;
use crate::bucket::Bucket;
use crate::cast::{CastMode, CompilerCast};
use crate::plan::Plan;
use crate::profile::{self, ChipProfile, CompilerKind};
use crate::sample::output::OutputLayout;

/// Bytes of constants on a core for each byte of cast weights.
const CONSTANTS_PER_WEIGHT: f64 = 1.08;

/// Bytes of code that one bucket needs, by what compiles it.
fn code_bytes(compiler: CompilerKind) -> u64 {
    match compiler {
        CompilerKind::TorchNeuron => 3_000_000,
        CompilerKind::TorchNeuronx => 51_000_000,
        // A graph without weights is a file of a few kilobytes.
        CompilerKind::Libtorch => 0,
    }
}

/// What a worker on the host takes beside weights and activations: libtorch and its allocator.
const HOST_PROCESS_BYTES: u64 = 100_000_000;

/// The memory of one copy of a model, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The weights as they lie in memory.
    pub weights: u64,
    /// Copies of the weights: one for each bucket, or one that everybody shares.
    pub weight_copies: u64,
    /// All workers of the machine use the same weights.
    pub weights_shared: bool,
    /// Of shared weights, what each worker lays out anew for itself.
    pub packed: u64,
    /// Programs of all buckets.
    pub code: u64,
    /// What the largest bucket needs while it runs.
    pub activations: u64,
}

impl Memory {
    /// What each copy of the model takes.
    pub fn each(&self) -> u64 {
        let weights = match self.weights_shared {
            true => self.packed,
            false => self.weights * self.weight_copies,
        };
        weights + self.code + self.activations
    }

    /// What all copies take together, however many there are.
    pub fn once(&self) -> u64 {
        match self.weights_shared {
            true => self.weights - self.packed,
            false => 0,
        }
    }
}

/// A weight by its name and shape.
pub type Weight = (String, Vec<usize>);

/// The tensors of a model that decide how much memory it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTensors {
    pub weights: Vec<Weight>,
    pub output: OutputLayout,
}

/// The memory of the model of `plan`, which has `tensors`, on the chip of `profile`, compiled with
/// `arguments`: those of the plan, unless it is for another chip.
pub fn estimate(
    plan: &Plan,
    tensors: &ModelTensors,
    profile: &ChipProfile,
    arguments: &Arguments,
) -> Memory {
    let compiler = profile.compiler.kind;
    let weights = tensors.weights.as_slice();
    let widths = Widths::of(weights);
    let matrices = weights.iter().filter(|weight| is_matrix(weight));
    let matrices = weight_bytes(matrices, profile, arguments);
    let weights = weight_bytes(weights, profile, arguments);
    let buckets = plan.buckets.len() as u64;
    let activations = plan
        .buckets
        .iter()
        .map(|bucket| activation_bytes(&widths, tensors.output, *bucket));
    let activations = activations.max().unwrap_or(0);
    match compiler.is_host() {
        true => Memory {
            weights,
            weight_copies: 1,
            weights_shared: true,
            packed: if packs_weights() { matrices } else { 0 },
            code: HOST_PROCESS_BYTES,
            activations,
        },
        false => Memory {
            weights: (weights as f64 * CONSTANTS_PER_WEIGHT) as u64,
            weight_copies: buckets,
            weights_shared: false,
            packed: 0,
            code: buckets * code_bytes(compiler),
            activations,
        },
    }
}

/// The weights after the cast, without those that stay on the host.
fn weight_bytes<'a>(
    weights: impl IntoIterator<Item = &'a Weight>,
    profile: &ChipProfile,
    arguments: &Arguments,
) -> u64 {
    let cast = CompilerCast::of(arguments);
    let embeddings_on_chip = !leaves_embeddings_on_host(profile);
    let of = |weight: &Weight| {
        let (_, shape) = weight;
        let values = shape.iter().product::<usize>() as u64;
        let bytes = match is_embedding(weight) {
            true if !embeddings_on_chip => 0,
            false if cast.mode != CastMode::None && shape.len() > 1 => cast.to.bytes(),
            _ if cast.mode == CastMode::All => cast.to.bytes(),
            _ => 4,
        };
        values * bytes
    };
    weights.into_iter().map(of).sum()
}

/// A table that is looked up: models name it so.
fn is_embedding((name, shape): &Weight) -> bool {
    let tables = ["embedding", "embed_", ".wte.", ".wpe."];
    shape.len() == 2 && tables.iter().any(|part| name.contains(part))
}

/// What a linear layer multiplies with.
fn is_matrix(weight: &Weight) -> bool {
    weight.1.len() == 2 && !is_embedding(weight)
}

/// True when a worker of this machine lays linear layers out anew, as `neuronc-torch` does where libtorch
/// says that there is AVX-512 (`at::cpu::is_avx512_supported`).
fn packs_weights() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// True when the compiler divides a graph and does not take the look-up of embeddings.
fn leaves_embeddings_on_host(profile: &ChipProfile) -> bool {
    let Some(operators) = &profile.operators else {
        return false;
    };
    let mut lists = operators
        .lists
        .iter()
        .filter_map(|name| profile::operator_list(name));
    let takes = lists.any(|list| list.contains("\naten::embedding\tyes"));
    operators.partitioner.is_some() && !takes
}

/// The widths of a transformer, read off its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Widths {
    hidden: u64,
    /// Of the feed-forward layers.
    wide: u64,
}

/// The size of an attention head in nearly every encoder.
const HEAD_SIZE: u64 = 64;

impl Widths {
    /// The largest table gives the hidden size, the largest matrix beside those of its vocabulary the
    /// wide layer.
    fn of(weights: &[Weight]) -> Self {
        let tables = weights.iter().filter(|weight| is_embedding(weight));
        let table = tables.map(|(_, shape)| shape).max_by_key(|shape| shape[0]);
        let (vocabulary, hidden) = table.map_or((0, 0), |shape| (shape[0] as u64, shape[1] as u64));
        let matrices = weights
            .iter()
            .filter(|weight| is_matrix(weight))
            .flat_map(|(_, shape)| shape.iter().map(|width| *width as u64));
        let wide = matrices.filter(|width| *width != vocabulary).max();
        Self {
            hidden,
            wide: wide.unwrap_or(hidden),
        }
    }
}

/// The largest set of tensors of one layer that live at the same time, in fp32, and the output.
fn activation_bytes(widths: &Widths, output: OutputLayout, bucket: Bucket) -> u64 {
    let tokens = (bucket.batch * bucket.sequence) as u64;
    let hidden = widths.hidden;
    // Residual, query, key, value and context; scores before and after softmax.
    let scores = 2 * hidden.div_ceil(HEAD_SIZE) * bucket.sequence as u64;
    let attention = 5 * hidden + scores;
    // Residual, and the wide layer before and after its activation.
    let wide = hidden + 2 * widths.wide;
    let output = (bucket.batch * output.values(bucket.sequence)) as u64;
    4 * (tokens * attention.max(wide) + output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{CheckedArguments, TypedArguments};
    use crate::checkpoint::{Checkpoint, Tracer};
    use crate::family::{self, Head, ModelSpec};
    use crate::plan::{self, ModelIdentity, PlanOptions};
    use crate::recipe::Recipe;
    use serde_json::json;

    fn bert() -> ModelSpec {
        let config = json!({"model_type": "bert"});
        family::resolve(&config, &Head::QuestionAnswering).unwrap()
    }

    /// The model of the published figures.
    fn bert_base(buckets: &[(usize, usize)]) -> Plan {
        let spec = bert();
        let checkpoint = Checkpoint {
            inputs: spec.inputs(),
            pad_id: 0,
            tracer: Tracer::Native { spec },
            head: Head::QuestionAnswering,
            max_tokens: 1024,
            weight_files: Vec::new(),
            tokenizer_files: Vec::new(),
        };
        let model = ModelIdentity {
            id: None,
            commit: None,
            files: Default::default(),
        };
        let recipe = Recipe::for_model("squad2", "org/squad2", None);
        let profile = profile::load("cpu").unwrap();
        let options = PlanOptions::default();
        let arguments = CheckedArguments::defaults(&profile);
        let mut plan = plan::plan(&recipe, arguments, &checkpoint, model, &options).unwrap();
        let bucket = |&(batch, sequence): &(usize, usize)| Bucket { sequence, batch };
        plan.buckets = buckets.iter().map(bucket).collect();
        plan
    }

    fn on(chip: &str, compiler_args: &str, buckets: &[(usize, usize)]) -> Memory {
        let profile = profile::load(chip).unwrap();
        let typed = TypedArguments {
            texts: vec![compiler_args.to_owned()],
            ..TypedArguments::default()
        };
        let arguments = typed.parse(&profile).unwrap().check(None).unwrap();
        let specs = bert().weights().into_iter();
        let plan = bert_base(buckets);
        let tensors = ModelTensors {
            weights: specs.map(|spec| (spec.name, spec.shape)).collect(),
            output: plan.output.layout().unwrap(),
        };
        estimate(&plan, &tensors, &profile, arguments.values())
    }

    #[test]
    fn the_published_figures_are_met_within_ten_percent() {
        // Two copies on a core, whatever else they need included.
        for (chip, published) in [("inf2", 675.3e6), ("inf1", 358.0e6)] {
            let estimated = 2.0 * on(chip, "", &[(1, 128)]).each() as f64;
            let ratio = estimated / published;
            assert!(
                (0.95..1.10).contains(&ratio),
                "{chip}: {estimated} is {ratio}"
            );
        }
    }

    #[test]
    fn each_bucket_holds_its_own_weights_on_a_chip_and_none_on_the_host() {
        let (one, two) = (
            on("inf2", "", &[(1, 128)]),
            on("inf2", "", &[(1, 64), (1, 128)]),
        );
        assert_eq!(two.weight_copies, 2);
        assert_eq!(two.each() - one.each(), one.weights + one.code);
        let (one, two) = (
            on("cpu", "", &[(1, 128)]),
            on("cpu", "", &[(1, 64), (1, 128)]),
        );
        assert_eq!((one.each(), one.once()), (two.each(), two.once()));
        assert_eq!(one.packed > 0, packs_weights());
        assert_eq!(one.once() + one.packed, one.weights);
    }

    #[test]
    fn the_cast_decides_the_size_of_weights() {
        let weights = |cast: &str, to: &str| {
            let asked = format!("--auto-cast {cast} --auto-cast-type {to}");
            on("inf2", &asked, &[(1, 128)]).weights
        };
        let none = weights("none", "bf16");
        assert!(weights("matmult", "bf16") < none);
        // But for rounding.
        assert!((weights("all", "bf16") * 2).abs_diff(none) <= 1);
        assert!(weights("matmult", "fp8_e4m3") < weights("matmult", "bf16"));
        assert_eq!(weights("all", "tf32"), none);
    }

    #[test]
    fn larger_buckets_need_more() {
        let of = |batch, sequence| on("inf2", "", &[(batch, sequence)]).activations;
        assert!(of(1, 128) < of(8, 128));
        // Scores grow with the square of the sequence.
        assert!(2 * of(1, 512) < of(1, 1024));
    }
}
