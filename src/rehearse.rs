//! Rehearses a compilation: proves as much about it as possible without the chip's SDK.
//!
//! The model is traced as for the chip, its operators are compared with the compiler's lists, memory is
//! estimated, and where an interpreter has torch-xla, every bucket is lowered to HLO and run by XLA on the
//! processor. [`Rehearsal`] says what that proves and what it does not.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::bucket::{Bucket, Row};
use crate::bundle::REFERENCE_ROWS_FILE;
use crate::command::ChildLog;
use crate::compiler::compilation::Compilation;
use crate::compiler::progress::CompilationProgress;
use crate::compiler::tracing::{self, TracedGraphs, stem};
use crate::compiler::{memory, neuron};
use crate::coverage::OperatorCount;
use crate::coverage::estimate::{self, Estimate, EstimateTotals, OperatorPlace, OperatorSupport};
use crate::executor::events::{Event, FailureClass};
use crate::executor::interpreter::{self, Interpreter, Script};
use crate::executor::job::{LowerJob, LowerModule, Module, PROTOCOL, WEIGHTS_FILE};
use crate::executor::probe;
use crate::failure::{Class, Failure};
use crate::family::weights;
use crate::files;
use crate::host_memory::HostMemory;
use crate::placement::memory::{self as device_memory, Memory, ModelTensors, Weight};
use crate::profile::Tolerance;
use crate::runtime;
use crate::sample::output::OutputLayout;
use crate::tensor::{HostTensor, Layout};
use crate::verify::{self, Difference};

/// The version of [`Rehearsal`] as JSON; described in `docs/rehearse.md`.
pub const SCHEMA_VERSION: u32 = 1;

/// Largest difference between the fp32 results of XLA and libtorch, which round differently.
const XLA_TOLERANCE: Tolerance = Tolerance {
    max_abs: 1e-3,
    min_cosine: 0.99999,
};

const NOT_LOWERED: &str = "the model cannot be lowered to HLO";

/// The result of a rehearsal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rehearsal {
    pub schema_version: u32,
    pub model: String,
    pub chip: String,
    /// True when nothing was found that stands against compiling.
    pub passed: bool,
    /// Arguments of the call of the compiler.
    pub compiler_args: Vec<String>,
    pub buckets: Vec<RehearsedBucket>,
    /// Memory of one copy of the model on the chip.
    pub device_memory: Memory,
    /// Bytes of device memory for each core.
    pub core_memory: u64,
    /// Bytes that this machine has free for compilations; absent where it does not tell.
    pub host_memory: Option<u64>,
    /// Reasons against compiling.
    pub problems: Vec<String>,
    pub proven: Vec<String>,
    pub not_proven: Vec<String>,
}

/// One bucket of a rehearsal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RehearsedBucket {
    pub bucket: Bucket,
    /// Numbers of operators by where they would run.
    pub estimate: EstimateTotals,
    /// Operators that would stay on the host, or that the compiler is known to refuse.
    pub on_host: Vec<OperatorCount>,
    /// Bytes of host memory that its compilation is expected to need.
    pub compile_memory: u64,
    pub lowering: Option<Lowering>,
}

/// A bucket as HLO.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lowering {
    /// Size of the HLO as a protocol buffer.
    pub bytes: u64,
    pub operators: Vec<HloOperator>,
    /// Difference between XLA's results on the processor and the reference outputs.
    pub difference: Difference,
}

/// An operator of XLA in a lowered graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HloOperator {
    pub operator: String,
    pub count: usize,
    pub state: OperatorSupport,
}

/// The interpreter that lowers a model.
#[derive(Debug, Clone, Copy)]
pub struct Xla<'a> {
    pub interpreter: &'a Interpreter,
    pub deadline: Duration,
}

/// The reason why nothing is lowered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLowered {
    /// The compiler takes something else.
    NotHlo,
    /// No interpreter has torch-xla.
    NoInterpreter,
}

/// Rehearses the compilation in `folder`, which is empty and may be removed afterwards. `xla` is the
/// interpreter that lowers, or the reason why nothing is lowered.
pub fn rehearse(
    compilation: &Compilation,
    xla: Result<Xla, NotLowered>,
    folder: &Path,
    root: &Path,
    progress: &mut dyn FnMut(CompilationProgress),
) -> Result<Rehearsal> {
    let (plan, profile) = (compilation.plan, compilation.profile);
    let traced = tracing::trace(compilation, folder, progress)?;
    let tensors = ModelTensors {
        weights: weights::shapes(&folder.join(WEIGHTS_FILE), &traced.weight_names)?,
        output: traced.output,
    };
    let device_memory = device_memory::estimate(plan, &tensors, profile, &plan.arguments);
    let estimate = estimate_of(compilation, &traced, tensors.weights, folder)?;
    let lowered = match &xla {
        Ok(xla) => Some(lower(compilation, &traced, folder, xla)?),
        Err(_) => None,
    };
    let expected = probe::sdk_of(profile)?.compile_memory;
    let weights = std::fs::metadata(folder.join(WEIGHTS_FILE)).map_or(0, |file| file.len());
    let buckets = estimate.buckets.iter().filter_map(|known| {
        let bucket = known.bucket?;
        let on_host = known
            .operators
            .iter()
            .filter(|entry| entry.place == OperatorPlace::Host);
        let on_host = on_host.map(|entry| OperatorCount {
            operator: entry.operator.clone(),
            count: entry.count,
        });
        Some(RehearsedBucket {
            bucket,
            estimate: known.totals.clone(),
            on_host: on_host.collect(),
            compile_memory: memory::estimate(&expected, weights, bucket),
            lowering: lowered.as_ref().and_then(|all| all.get(&bucket).cloned()),
        })
    });
    let mut rehearsal = Rehearsal {
        schema_version: SCHEMA_VERSION,
        model: plan.name.clone(),
        chip: plan.chip.clone(),
        passed: true,
        compiler_args: neuron::compiler_args(compilation),
        buckets: buckets.collect(),
        device_memory,
        core_memory: core_memory(compilation)?,
        host_memory: HostMemory::read(root).usable(),
        problems: Vec::new(),
        proven: Vec::new(),
        not_proven: Vec::new(),
    };
    rehearsal.judge(estimate.all_or_nothing, xla.err());
    Ok(rehearsal)
}

fn core_memory(compilation: &Compilation) -> Result<u64> {
    let hardware = compilation.profile.hardware.as_ref().ok_or_else(|| {
        let what = format!("profile `{}` has no hardware", compilation.profile.name);
        Failure::new(Class::Bug, what)
    })?;
    let gib = hardware.memory_gib_per_device / f64::from(hardware.cores_per_device);
    Ok((gib * (1u64 << 30) as f64) as u64)
}

fn estimate_of(
    compilation: &Compilation,
    traced: &TracedGraphs,
    weights: Vec<Weight>,
    folder: &Path,
) -> Result<Estimate> {
    let graphs = traced.graphs.iter();
    let model = estimate::TracedModel {
        plan: compilation.plan,
        weights,
        graphs: graphs
            .map(|(bucket, file)| (*bucket, folder.join(file)))
            .collect(),
    };
    estimate::traced(&model, compilation.profile)
}

/// Lowers every bucket and compares XLA's results with the references.
fn lower(
    compilation: &Compilation,
    traced: &TracedGraphs,
    folder: &Path,
    xla: &Xla,
) -> Result<BTreeMap<Bucket, Lowering>> {
    let job = lower_job(compilation, traced, folder)?;
    let script = Script::write(compilation.temporary)?;
    let program = interpreter::program(&xla.interpreter.path, script.folder(), folder, "lower");
    let log = folder.join("lower.log");
    let (mut found, mut failed) = (BTreeMap::new(), None);
    let ended = program.run(
        serde_json::to_vec(&job)?,
        &ChildLog::file(&log),
        xla.deadline,
        &mut |line| {
            match serde_json::from_str(line)
                .context("torch-xla wrote a line that is not an event")?
            {
                Event::Lowered {
                    bucket,
                    operators,
                    bytes,
                    ..
                } => drop(found.insert(bucket, (operators, bytes))),
                Event::Failed { class, message } => failed = Some((class, message)),
                _ => {}
            }
            Ok(())
        },
    );
    if let Some((class, message)) = failed {
        return Err(not_lowered(class, message).into());
    }
    ended.map_err(|error| tracing::executor_failure(NOT_LOWERED, error))?;
    let references = verify::references(folder)?;
    let lowered = job.modules.iter().map(|module| {
        let bucket = module.bucket;
        let (operators, bytes) = found
            .remove(&bucket)
            .with_context(|| format!("torch-xla did not lower bucket {bucket}"))?;
        let states = estimate::hlo_states(compilation.profile, &operators)?.unwrap_or_default();
        let mut operators: Vec<HloOperator> = operators
            .into_iter()
            .map(|(operator, count)| HloOperator {
                state: states
                    .get(&operator)
                    .copied()
                    .unwrap_or(OperatorSupport::NotKnown),
                operator,
                count,
            })
            .collect();
        operators.sort_by_key(|entry| (std::cmp::Reverse(entry.count), entry.operator.clone()));
        let lowering = Lowering {
            bytes,
            operators,
            difference: difference(module, traced.output, &references)?,
        };
        Ok((bucket, lowering))
    });
    lowered.collect()
}

fn lower_job(compilation: &Compilation, traced: &TracedGraphs, folder: &Path) -> Result<LowerJob> {
    let plan = compilation.plan;
    let rows: Vec<Row> = files::load_json(&folder.join(REFERENCE_ROWS_FILE))?;
    let modules = traced.graphs.iter().map(|(bucket, graph)| LowerModule {
        bucket: *bucket,
        module: Module::Graph {
            file: folder.join(graph),
            weights: folder.join(WEIGHTS_FILE),
            weight_names: traced.weight_names.clone(),
        },
        hlo: folder.join(format!("hlo/{}.txt", stem(*bucket))),
        outputs: folder.join(format!("hlo/{}.safetensors", stem(*bucket))),
    });
    Ok(LowerJob {
        protocol: PROTOCOL,
        inputs: plan.inputs.clone(),
        pad_id: plan.pad_id,
        modules: modules.collect(),
        rows,
    })
}

/// Difference between XLA's outputs for the rows that fit a bucket and the references.
fn difference(
    module: &LowerModule,
    output: OutputLayout,
    references: &[verify::Reference],
) -> Result<Difference> {
    let map = weights::map_file(&module.outputs)?;
    let outputs = weights::parse(&module.outputs, &map)?;
    let mut difference = Difference::default();
    for (index, reference) in references.iter().enumerate() {
        if reference.row.ids.len() > module.bucket.sequence {
            continue;
        }
        let view = outputs
            .tensor(&index.to_string())
            .with_context(|| format!("torch-xla has no output for reference row {index}"))?;
        let layout = Layout {
            dtype: crate::tensor::Dtype::F32,
            shape: view.shape().to_vec(),
        };
        let tensor = HostTensor::new(layout, view.data().to_vec())?;
        let rows = runtime::split_rows(&tensor, module.bucket, &[&reference.row], output)?;
        for row in rows {
            difference.compare(module.bucket, &row, &reference.values)?;
        }
    }
    Ok(difference)
}

fn not_lowered(class: FailureClass, message: String) -> Failure {
    let class = match class {
        FailureClass::Resources => Class::Resources,
        FailureClass::Sdk => Class::Executor,
        _ => Class::Compilation,
    };
    Failure::new(class, NOT_LOWERED)
        .why(message)
        .help("the chip's compiler would meet the same; trace it with another tracer or attention")
}

impl Rehearsal {
    /// Fills in the reasons against compiling, and what is proven and what is not.
    fn judge(&mut self, all_or_nothing: bool, not_lowered: Option<NotLowered>) {
        let mut problems = Vec::new();
        for known in &self.buckets {
            let bucket = known.bucket;
            if all_or_nothing && !known.on_host.is_empty() {
                problems.push(format!(
                    "bucket {bucket}: the compiler does not take {}",
                    known
                        .on_host
                        .iter()
                        .map(|entry| entry.operator.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ));
            }
            if let Some(host) = self.host_memory.filter(|host| *host < known.compile_memory) {
                problems.push(format!(
                    "bucket {bucket}: compiling it is expected to need {}, this machine has {} (an estimate)",
                    gib(known.compile_memory),
                    gib(host)
                ));
            }
            if let Some(lowering) = &known.lowering
                && !lowering.difference.is_within(XLA_TOLERANCE)
            {
                problems.push(format!(
                    "bucket {bucket}: XLA computes something else, by up to {:.1e}",
                    lowering.difference.max_abs
                ));
            }
        }
        if self.device_memory.each() > self.core_memory {
            problems.push(format!(
                "one copy of the model needs {} of a core's {} (an estimate)",
                gib(self.device_memory.each()),
                gib(self.core_memory)
            ));
        }
        self.passed = problems.is_empty();
        self.problems = problems;
        self.proven = vec![
            "the arguments are ones that the compiler takes".to_owned(),
            "the model is traced for every bucket, as it would be compiled".to_owned(),
        ];
        self.not_proven = vec![
            "that the compiler takes every graph: its lists of operators are not the compiler"
                .to_owned(),
            "memory: both figures are estimates".to_owned(),
            "speed and accuracy on the chip, where casts round differently".to_owned(),
        ];
        match not_lowered {
            None => self.proven.push(
                "every bucket lowers to HLO, and XLA's results on the processor agree with libtorch's".to_owned(),
            ),
            Some(NotLowered::NoInterpreter) => self.not_proven.insert(
                0,
                "that every bucket lowers to HLO: no Python with torch-xla was found; give one with `--sdk PATH`".to_owned(),
            ),
            // The compiler of such a chip takes the traced graph itself, so HLO proves nothing about it.
            Some(NotLowered::NotHlo) => {}
        }
    }
}

/// A size in GiB for reading.
pub fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / (1u64 << 30) as f64)
}
