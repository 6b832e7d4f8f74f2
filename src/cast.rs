//! Casts: which operators run in a smaller float type, as compiler arguments say it.
//!
//! neuronx-cc and libtorch are told with `auto-cast` and `auto-cast-type`, neuron-cc with the
//! keywords of `fast-math`. Nothing outside of this file interprets these words.

use serde::{Deserialize, Serialize};

use crate::arguments::Arguments;
use crate::profile::{ChipProfile, CompilerKind, Decides};

/// The cast of libtorch, with which a graph for the host is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cast {
    pub mode: CastMode,
    pub to: CastType,
}

/// The values of `--auto-cast`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CastMode {
    None,
    /// Operands of linear layers and matrix products are cast; results come back as fp32.
    Matmult,
    /// Everything between the embeddings and the output.
    All,
}

/// The values of `--auto-cast-type` that libtorch on a CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CastType {
    Bf16,
    Fp16,
}

/// The cast of the compiler of a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompilerCast {
    pub mode: CastMode,
    pub to: ChipFloat,
}

/// The smaller float types of Neuron chips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChipFloat {
    Bf16,
    Fp16,
    /// fp32 in memory, with fewer bits in a product.
    Tf32,
    Fp8E4m3,
}

impl ChipFloat {
    /// Bytes of one value in memory.
    pub fn bytes(self) -> u64 {
        match self {
            ChipFloat::Tf32 => 4,
            ChipFloat::Bf16 | ChipFloat::Fp16 => 2,
            ChipFloat::Fp8E4m3 => 1,
        }
    }
}

impl CompilerCast {
    /// The cast of a compiler that gets `arguments`.
    pub fn of(arguments: &Arguments) -> Self {
        let value = |name: &str| arguments.get(name).map(String::as_str);
        match (value("auto-cast"), value("fast-math")) {
            (Some(mode), _) => Self {
                mode: match mode {
                    "matmult" => CastMode::Matmult,
                    "all" => CastMode::All,
                    _ => CastMode::None,
                },
                to: match value("auto-cast-type") {
                    Some("fp16") => ChipFloat::Fp16,
                    Some("tf32") => ChipFloat::Tf32,
                    Some("fp8_e4m3") => ChipFloat::Fp8E4m3,
                    _ => ChipFloat::Bf16,
                },
            },
            (None, Some(keywords)) => Self::of_fast_math(keywords),
            (None, None) => Self {
                mode: CastMode::None,
                to: ChipFloat::Bf16,
            },
        }
    }

    /// neuron-cc has no uncast fp32: its mildest keyword still casts matrix products. A keyword for
    /// the cast decides over `all` and `none`, which choose casts and transposes together.
    fn of_fast_math(keywords: &str) -> Self {
        let mut words = keywords.split(' ');
        let cast = words.clone().find(|word| word.starts_with("fp32-cast-"));
        let all = match cast {
            Some(cast) => cast.starts_with("fp32-cast-all"),
            None => words.any(|word| word == "all"),
        };
        let fp16 = cast.is_some_and(|cast| cast.ends_with("-fp16"));
        Self {
            mode: if all {
                CastMode::All
            } else {
                CastMode::Matmult
            },
            to: if fp16 {
                ChipFloat::Fp16
            } else {
                ChipFloat::Bf16
            },
        }
    }

    /// The part of it that is the tracer's: none on a Neuron chip, where the compiler casts.
    pub fn by_tracer(self, compiler: CompilerKind) -> Cast {
        Cast {
            mode: if compiler.is_host() {
                self.mode
            } else {
                CastMode::None
            },
            to: match self.to {
                ChipFloat::Fp16 => CastType::Fp16,
                // The profile of the host offers nothing but these two.
                ChipFloat::Bf16 | ChipFloat::Tf32 | ChipFloat::Fp8E4m3 => CastType::Bf16,
            },
        }
    }
}

/// The names under which the tolerance of `arguments` may stand, the best first: the value of the
/// argument that decides the cast, then each of its keywords.
pub fn tolerance_names(profile: &ChipProfile, arguments: &Arguments) -> Vec<String> {
    let decides = profile.deciding(Decides::Cast);
    let value = decides.and_then(|(name, _)| arguments.get(name));
    let Some(value) = value else {
        return vec!["none".to_owned()];
    };
    let mut names = vec![value.clone()];
    names.extend(value.split(' ').map(str::to_owned));
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::TypedArguments;
    use crate::profile;

    fn arguments(profile: &ChipProfile, text: &str) -> Arguments {
        let typed = TypedArguments {
            texts: vec![text.to_owned()],
            ..TypedArguments::default()
        };
        let parsed = typed.parse(profile).unwrap();
        parsed.check(None).unwrap().into_values()
    }

    #[test]
    fn the_words_of_every_compiler_mean_the_same_casts() {
        use CastMode::{All, Matmult};
        use ChipFloat::{Bf16, Fp8E4m3, Fp16, Tf32};
        for (chip, text, mode, to) in [
            ("cpu", "", CastMode::None, Bf16),
            ("cpu", "--auto-cast all --auto-cast-type fp16", All, Fp16),
            ("inf2", "", Matmult, Bf16),
            ("inf2", "--auto-cast none", CastMode::None, Bf16),
            ("inf2", "--auto-cast-type tf32", Matmult, Tf32),
            (
                "trn2",
                "--auto-cast=all --auto-cast-type=fp8_e4m3",
                All,
                Fp8E4m3,
            ),
            ("inf1", "", Matmult, Bf16),
            ("inf1", "--fast-math none", Matmult, Bf16),
            ("inf1", "--fast-math all", All, Bf16),
            ("inf1", "--fast-math none fp32-cast-all-fp16", All, Fp16),
            (
                "inf1",
                "--fast-math all fp32-cast-matmult-fp16",
                Matmult,
                Fp16,
            ),
            (
                "inf1",
                "--fast-math fp32-cast-all no-fast-relayout",
                All,
                Bf16,
            ),
        ] {
            let profile = profile::load(chip).unwrap();
            let cast = CompilerCast::of(&arguments(&profile, text));
            assert_eq!(cast, CompilerCast { mode, to }, "{chip} {text}");
        }
    }

    #[test]
    fn only_on_the_host_does_the_tracer_cast() {
        for (chip, mode) in [("cpu", CastMode::All), ("inf2", CastMode::None)] {
            let profile = profile::load(chip).unwrap();
            let arguments = arguments(&profile, "--auto-cast all --auto-cast-type fp16");
            let cast = CompilerCast::of(&arguments).by_tracer(profile.compiler.kind);
            let to = CastType::Fp16;
            assert_eq!(cast, Cast { mode, to }, "{chip}");
        }
    }

    #[test]
    fn every_combination_of_keywords_finds_its_tolerance_by_the_cast() {
        let profile = profile::load("inf1").unwrap();
        for (text, name) in [
            (
                "--fast-math no-fast-relayout fp32-cast-all",
                "fp32-cast-all",
            ),
            ("--fast-math none fp32-cast-all-fp16", "fp32-cast-all-fp16"),
            ("--fast-math fast-relayout none", "none"),
            ("--fast-math no-fast-relayout", "no-fast-relayout"),
        ] {
            let names = tolerance_names(&profile, &arguments(&profile, text));
            let found = names.iter().find(|n| profile.tolerances.contains_key(*n));
            assert_eq!(found.map(String::as_str), Some(name), "{text}");
        }
    }
}
