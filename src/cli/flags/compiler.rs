//! The options of `neuronc trace` that go to the chip's compiler. The profile of the chip says which of them
//! it has, and with which values.

use crate::arguments::TypedArguments;
use crate::profile::TypedFlag;

const ANY: &str = "Compiler, any chip";
const NEW: &str = "Compiler, neuronx-cc (Inferentia2, Trainium)";
const OLD: &str = "Compiler, neuron-cc (Inferentia)";

/// Arguments of the compiler, and of the trace function of its framework.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CompilerFlags {
    /// Arguments as one text, such as "--optlevel 1 --auto-cast all"; may be repeated. Everything
    /// that the chip's profile lists is accepted.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = ANY)]
    compiler_args: Vec<String>,

    /// What is cast to a smaller type: none, matmult or all; also on cpu.
    #[arg(long, value_name = "MODE", help_heading = NEW)]
    auto_cast: Option<String>,

    /// That type: bf16, fp16, tf32 or fp8_e4m3; bf16 or fp16 on cpu.
    #[arg(long, value_name = "TYPE", help_heading = NEW)]
    auto_cast_type: Option<String>,

    /// How hard the compiler tries: 1 compiles fastest, 3 may run faster.
    #[arg(short = 'O', long, value_name = "LEVEL", help_heading = NEW)]
    optlevel: Option<String>,

    /// What the compiler may assume: transformer, generic or unet-inference.
    #[arg(long, value_name = "TYPE", help_heading = NEW)]
    model_type: Option<String>,

    /// Physical cores of one logical core, 1 or 2, where the chip groups them; what the runtime is
    /// started with.
    #[arg(long, value_name = "CORES", help_heading = NEW)]
    lnc: Option<String>,

    /// What is cast, and how tensors are transposed: keywords, with commas between them.
    #[arg(long, value_name = "WORDS", value_delimiter = ',', help_heading = OLD)]
    fast_math: Vec<String>,

    /// Deprecated in neuron-cc; answered with what says the same.
    #[arg(long, value_name = "CAST", hide = true, help_heading = OLD)]
    fp32_cast: Option<String>,

    /// Cores over which one copy of the model is spread.
    #[arg(long, value_name = "CORES", help_heading = OLD)]
    neuroncore_pipeline_cores: Option<String>,

    /// Changes to the traced graph: float32-to-float16.
    #[arg(long, value_name = "WORDS", value_delimiter = ',', help_heading = OLD)]
    optimizations: Vec<String>,

    /// Groups of fewer operators stay on the host.
    #[arg(long, value_name = "N", help_heading = OLD)]
    minimum_segment_size: Option<String>,

    /// A group with more than this share of all operators is the only one on the chip.
    #[arg(long, value_name = "SHARE", help_heading = OLD)]
    single_fusion_ratio_threshold: Option<String>,

    /// Keep the weights out of the compiler's input, for more than 1.9 GB of them.
    #[arg(long, help_heading = OLD)]
    separate_weights: bool,
}

impl CompilerFlags {
    /// The options as they were typed; only the profile can check them.
    pub(in crate::cli) fn typed(&self) -> TypedArguments {
        let one = |value: &Option<String>| value.clone().map(|value| vec![value]);
        let several = |words: &Vec<String>| (!words.is_empty()).then(|| words.clone());
        let options = [
            ("--auto-cast", one(&self.auto_cast)),
            ("--auto-cast-type", one(&self.auto_cast_type)),
            ("--fast-math", several(&self.fast_math)),
            ("--fp32-cast", one(&self.fp32_cast)),
            ("--optlevel", one(&self.optlevel)),
            ("--model-type", one(&self.model_type)),
            ("--lnc", one(&self.lnc)),
            (
                "--neuroncore-pipeline-cores",
                one(&self.neuroncore_pipeline_cores),
            ),
            ("--optimizations", several(&self.optimizations)),
            ("--minimum-segment-size", one(&self.minimum_segment_size)),
            (
                "--single-fusion-ratio-threshold",
                one(&self.single_fusion_ratio_threshold),
            ),
            ("--separate-weights", self.separate_weights.then(Vec::new)),
        ];
        let typed = options.into_iter().filter_map(|(flag, words)| {
            Some(TypedFlag {
                flag: flag.to_owned(),
                words: words?,
            })
        });
        TypedArguments {
            texts: self.compiler_args.clone(),
            options: typed.collect(),
        }
    }
}
