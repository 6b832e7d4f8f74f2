//! From what the user typed, in texts and in options of their own, to arguments of a chip.

use anyhow::Result;

use crate::arguments::{refuse, words};
use crate::profile::{ChipProfile, TypedFlag, flags};

/// The arguments as they were typed.
#[derive(Debug, Clone, Default)]
pub struct TypedArguments {
    /// The texts of `--compiler-args`, in their order.
    pub texts: Vec<String>,
    /// Arguments with an option of their own.
    pub options: Vec<TypedFlag>,
}

/// Arguments that a chip's compiler takes, by name and value, each name once.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedArguments<'a> {
    profile: &'a ChipProfile,
    values: Vec<(String, String)>,
}

impl<'a> ParsedArguments<'a> {
    /// The chip that they are for.
    pub fn profile(&self) -> &'a ChipProfile {
        self.profile
    }

    pub(super) fn into_values(self) -> Vec<(String, String)> {
        self.values
    }
}

impl TypedArguments {
    /// The arguments for the compiler of `profile`. In a text the right-most wins, as it does for the
    /// compilers; an option and a text must not contradict each other.
    pub fn parse<'a>(&self, profile: &'a ChipProfile) -> Result<ParsedArguments<'a>> {
        let mut split = Vec::new();
        for text in &self.texts {
            split.extend(words::split(text)?);
        }
        let in_texts = flags(split).map_err(|word| refuse::stray(&word))?;
        let all: Vec<TypedFlag> = self.options.iter().chain(&in_texts).cloned().collect();
        if let Some(refused) = refuse::foreign(profile, &all) {
            return Err(refused);
        }
        let mut parsed: Vec<ParsedFlag> = Vec::new();
        for typed in &in_texts {
            let new = ParsedFlag::new(profile, typed)?;
            parsed.retain(|earlier| earlier.name != new.name);
            parsed.push(new);
        }
        for typed in &self.options {
            let new = ParsedFlag::new(profile, typed)?;
            match parsed.iter().find(|earlier| earlier.name == new.name) {
                Some(text) if text.value != new.value => {
                    return Err(refuse::contradiction(typed, text.typed));
                }
                Some(_) => {}
                None => parsed.push(new),
            }
        }
        let is_there = |name: &str| parsed.iter().any(|flag| flag.name == name);
        if let Some((a, b)) = opposites(profile).find(|(a, b)| is_there(a) && is_there(b)) {
            return Err(refuse::opposites(a, b));
        }
        let values = parsed.into_iter();
        Ok(ParsedArguments {
            profile,
            values: values
                .map(|flag| (flag.name.to_owned(), flag.value))
                .collect(),
        })
    }
}

/// A typed flag as the argument that it stands for.
struct ParsedFlag<'a> {
    name: &'a str,
    value: String,
    typed: &'a TypedFlag,
}

impl<'a> ParsedFlag<'a> {
    fn new(profile: &'a ChipProfile, typed: &'a TypedFlag) -> Result<Self> {
        // Flags that stand for no argument were refused before.
        let Some((name, argument, words)) = profile.find(typed) else {
            return Err(anyhow::anyhow!("`{}` is not an argument", typed.flag));
        };
        let value = argument
            .accept(&words)
            .map_err(|unfit| refuse::unfit(profile, argument, typed, unfit))?;
        Ok(Self { name, value, typed })
    }
}

/// The pairs of arguments of which one says the opposite of the other.
pub(super) fn opposites(profile: &ChipProfile) -> impl Iterator<Item = (&str, &str)> {
    let arguments = profile.arguments.iter();
    arguments.filter_map(|(name, argument)| Some((name.as_str(), argument.excludes.as_deref()?)))
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::*;
    use crate::arguments::pass::command_line;
    use crate::profile;

    fn of_text(text: &str) -> TypedArguments {
        TypedArguments {
            texts: vec![text.to_owned()],
            options: Vec::new(),
        }
    }

    fn parsed(chip: &str, text: &str) -> String {
        let profile = profile::load(chip).unwrap();
        let parsed = of_text(text).parse(&profile).unwrap();
        let values = parsed.values.iter();
        let shown = values.map(|(name, value)| format!("{name}={value}"));
        shown.collect::<Vec<_>>().join("; ")
    }

    fn refused(chip: &str, text: &str) -> String {
        let profile = profile::load(chip).unwrap();
        of_text(text).parse(&profile).unwrap_err().to_string()
    }

    #[test]
    fn the_grammar_of_the_compilers_is_understood() {
        let text = "--fast-math fp32-cast-matmult no-fast-relayout --neuroncore-pipeline-cores 1";
        let expected = "fast-math=fp32-cast-matmult no-fast-relayout; neuroncore-pipeline-cores=1";
        assert_eq!(parsed("inf1", text), expected);
        let text = "--auto-cast=all -O1 --enable-saturate-infinity --auto-cast-type 'fp16'";
        let expected =
            "auto-cast=all; optlevel=1; enable-saturate-infinity=on; auto-cast-type=fp16";
        assert_eq!(parsed("inf2", text), expected);
        assert_eq!(parsed("trn2", "-lnc 1"), "lnc=1");
        assert_eq!(parsed("inf2", ""), "");
    }

    #[test]
    fn the_right_most_wins_in_a_text() {
        assert_eq!(parsed("inf2", "-O1 --optlevel 3 -O 2"), "optlevel=2");
    }

    #[test]
    fn an_option_and_a_text_must_agree() {
        let profile = profile::load("inf2").unwrap();
        let typed = |value: &str| TypedArguments {
            texts: vec!["-O3".to_owned()],
            options: vec![TypedFlag {
                flag: "--optlevel".to_owned(),
                words: vec![value.to_owned()],
            }],
        };
        let error = typed("1").parse(&profile).unwrap_err().to_string();
        assert!(
            error.contains("`--optlevel 1` contradicts `-O3` in `--compiler-args`"),
            "{error}"
        );
        let agreed = typed("3").parse(&profile).unwrap();
        assert_eq!(agreed.values, [("optlevel".to_owned(), "3".to_owned())]);
    }

    #[test]
    fn a_wrong_spelling_is_answered_with_the_right_one() {
        for (chip, text, right) in [
            ("inf1", "--fast-math fp32-cast-matmul", "fp32-cast-matmult"),
            (
                "inf1",
                "--neuron-core-pipeline-cores 1",
                "--neuroncore-pipeline-cores",
            ),
            ("inf2", "--auto-cast matmul", "matmult"),
            ("inf2", "--auto_cast matmult", "--auto-cast"),
            ("inf2", "--opt-level 2", "--optlevel"),
            ("inf2", "--model-type transformers", "transformer"),
        ] {
            let error = refused(chip, text);
            assert!(
                error.contains(&format!("did you mean `{right}`")),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_flag_of_the_other_generation_is_answered_with_its_equivalent() {
        for (chip, text, right) in [
            ("inf1", "--auto-cast none", "--fast-math none"),
            (
                "inf1",
                "--auto-cast matmult",
                "--fast-math fp32-cast-matmult",
            ),
            (
                "inf1",
                "--auto-cast-type fp16 --auto-cast matmult",
                "--fast-math fp32-cast-matmult-fp16",
            ),
            (
                "inf1",
                "--auto-cast-type bf16 --auto-cast all",
                "--fast-math fp32-cast-all",
            ),
            (
                "inf1",
                "--auto-cast all --auto-cast-type fp16",
                "--fast-math fp32-cast-all-fp16",
            ),
            (
                "inf1",
                "--fp32-cast=matmult-fp16",
                "--fast-math fp32-cast-matmult-fp16",
            ),
            (
                "inf2",
                "--fast-math fp32-cast-all",
                "--auto-cast all --auto-cast-type bf16",
            ),
            (
                "trn1",
                "--fast-math fp32-cast-matmult-fp16 no-fast-relayout",
                "--auto-cast matmult --auto-cast-type fp16",
            ),
            ("trn2", "--fast-math none", "--auto-cast none"),
            (
                "cpu",
                "--fast-math fp32-cast-all",
                "--auto-cast all --auto-cast-type bf16",
            ),
        ] {
            let error = refused(chip, text);
            assert!(
                error.contains(&format!("use `{right}`")),
                "{chip} {text}: {error}"
            );
        }
    }

    #[test]
    fn a_flag_without_an_equivalent_is_refused_with_the_reason() {
        for (chip, text, why) in [
            ("inf1", "--optlevel 2", "no optimization levels"),
            ("inf1", "-O2", "no optimization levels"),
            ("inf1", "--framework TENSORFLOW", "by itself"),
            ("inf1", "--verbose DEBUG", "by itself"),
            ("inf2", "--target=trn1", "by itself"),
            ("inf2", "--output x.neff", "by itself"),
            ("inf2", "--lnc 1", "does not group"),
            ("inf2", "--cache_dir /x", "never reaches the compiler"),
            ("inf2", "--neuroncore-pipeline-cores 4", "on each core"),
        ] {
            let error = refused(chip, text);
            assert!(error.contains(why), "{chip} {text}: {error}");
            assert!(error.contains("leave it out"), "{chip} {text}: {error}");
        }
    }

    #[test]
    fn all_foreign_flags_are_answered_at_once() {
        let text = "--fast-math fp32-cast-matmul --neuron-core-pipeline-cores 1 --xyz";
        insta::assert_snapshot!(refused("inf2", text), @r"
        chip `inf2` takes no arguments `--fast-math`, `--neuron-core-pipeline-cores` and `--xyz`
          why:  --fast-math: it is an argument of neuron-cc; neuronx-cc says with `--auto-cast` what is cast
                --neuron-core-pipeline-cores: this chip has no pipelines over cores; neuronc serve runs a copy of the model on each core
          help: --fast-math: use `--auto-cast matmult --auto-cast-type bf16`
                --neuron-core-pipeline-cores: leave it out
                --xyz: known: `--auto-cast`, `--auto-cast-type`, `--disable-mixed-precision-accumulation`, `--distribution-strategy`, `--enable-fast-context-switch`, `--enable-fast-loading-neuron-binaries`, `--enable-mixed-precision-accumulation`, `--enable-saturate-infinity`, `--implicit-integer-downcast`, `--model-type`, `--optlevel` and `--verbose`
        ");
    }

    #[test]
    fn what_cannot_follow_a_flag_is_refused() {
        for (chip, text, part) in [
            ("inf2", "--optlevel", "`--optlevel` lacks its value"),
            ("inf2", "--optlevel=", "`--optlevel` lacks its value"),
            ("inf2", "--optlevel 1 2", "takes one value"),
            ("inf2", "-O4", "`-O4` is not possible on chip `inf2`"),
            ("inf2", "-O 4", "`-O 4` is not possible on chip `inf2`"),
            ("inf2", "--enable-saturate-infinity true", "takes no value"),
            ("inf2", "all --auto-cast", "`all` in `--compiler-args`"),
            ("inf1", "--fast-math", "lacks its value"),
            (
                "inf1",
                "--fast-math fp32-cast-all fp32-cast-matmult",
                "`fp32-cast-matmult` and `fp32-cast-all` exclude each other",
            ),
            ("inf1", "--fast-math all none", "exclude each other"),
            ("inf1", "--neuroncore-pipeline-cores 0", "from 1 to 64"),
            ("trn2", "--lnc 4", "values: `1` and `2`"),
            (
                "trn2",
                "--implicit-integer-downcast all,dot",
                "`all` and `dot` exclude each other",
            ),
            (
                "inf2",
                "--enable-mixed-precision-accumulation --disable-mixed-precision-accumulation",
                "exclude each other",
            ),
        ] {
            let error = refused(chip, text);
            assert!(error.contains(part), "{chip} {text}: {error}");
        }
    }

    /// Words of the compilers, of others, and noise.
    fn texts() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            "[-a-zA-Z0-9=,'\"\\\\ ü]{0,12}",
            prop::sample::select(vec![
                "--fast-math",
                "fp32-cast-all",
                "none",
                "--auto-cast",
                "all",
                "-O",
                "-O2",
                "-lnc",
                "--optlevel",
                "--lnc=",
                "--optimizations",
                "2",
                "--",
                "-",
                "=",
                "--fp32-cast",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(word, 0..8).prop_map(|words| words.join(" "))
    }

    /// The embedded profiles, loaded once.
    fn profiles() -> &'static [ChipProfile] {
        static PROFILES: OnceLock<Vec<ChipProfile>> = OnceLock::new();
        PROFILES.get_or_init(|| {
            let names = profile::names().into_iter();
            names.map(|name| profile::load(name).unwrap()).collect()
        })
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_parsed_is_parsed_back_the_same(text in texts()) {
            for profile in profiles() {
                let Ok(parsed) = of_text(&text).parse(profile) else { continue };
                let arguments = parsed.check(None).unwrap().into_values();
                // The command line that is made of them means the same.
                let words = command_line(profile, &arguments);
                for (name, value) in of_text(&words.join(" ")).parse(profile).unwrap().values {
                    prop_assert_eq!(&arguments[&name], &value);
                }
            }
        }

        #[test]
        fn any_characters_are_parsed_or_refused(text in any::<String>()) {
            for profile in profiles() {
                let _ = of_text(&text).parse(profile);
            }
        }
    }
}
