//! Compiler arguments: from what was typed to what the compiler gets, in three types.
//!
//! [`TypedArguments`] are words; [`ParsedArguments`] are possible on a chip, each there once;
//! [`CheckedArguments`] are possible with the compiler of this machine as well, with every default
//! written out. A plan is made of the last, which nothing but the way through the others makes, and
//! holds them as [`Arguments`].

mod check;
mod parse;
mod pass;
mod refuse;
mod words;

pub use crate::arguments::check::{Arguments, CheckedArguments};
pub use crate::arguments::parse::{ParsedArguments, TypedArguments};
pub use crate::arguments::pass::{command_line, shown, trace_options};

#[cfg(test)]
mod tests {
    use anyhow::Result;
    use serde_json::json;

    use super::*;
    use crate::profile::{self, ChipProfile};

    fn parse<'a>(profile: &'a ChipProfile, text: &str) -> Result<ParsedArguments<'a>> {
        let typed = TypedArguments {
            texts: vec![text.to_owned()],
            options: Vec::new(),
        };
        typed.parse(profile)
    }

    fn checked(chip: &str, text: &str, version: Option<&str>) -> Arguments {
        let profile = profile::load(chip).unwrap();
        let parsed = parse(&profile, text).unwrap();
        parsed.check(version).unwrap().into_values()
    }

    fn line(chip: &str, text: &str, version: Option<&str>) -> String {
        let profile = profile::load(chip).unwrap();
        command_line(&profile, &checked(chip, text, version)).join(" ")
    }

    #[test]
    fn every_default_is_written_out_in_a_stable_order() {
        assert_eq!(
            line("inf1", "", None),
            "--fast-math fp32-cast-matmult --neuroncore-pipeline-cores 1"
        );
        assert_eq!(
            line("inf2", "-O3", None),
            "--auto-cast matmult --auto-cast-type bf16 --enable-mixed-precision-accumulation \
             --model-type transformer --optlevel 3"
        );
    }

    #[test]
    fn a_default_is_left_out_for_a_compiler_that_does_not_know_it() {
        let pin = "--implicit-integer-downcast all --logical-nc-config 2 \
                   --model-type transformer --native-int64 disabled --optlevel 2";
        assert!(line("trn2", "", Some("2.27.5334.0")).ends_with(pin));
        for version in [Some("2.26.6360.0"), None] {
            let line = line("trn2", "", version);
            assert!(
                !line.contains("int64") && !line.contains("downcast"),
                "{line}"
            );
        }
        // Asked for, it is passed as long as nothing is known against it.
        assert!(line("trn2", "--native-int64=enabled", None).contains("--native-int64 enabled"));
        let profile = profile::load("trn2").unwrap();
        let parsed = parse(&profile, "--native-int64=enabled").unwrap();
        let error = parsed.check(Some("2.26.6360.0")).unwrap_err();
        insta::assert_snapshot!(error, @r"
        `--native-int64` needs neuronx-cc 2.27 or newer
          why:  this machine has neuronx-cc 2.26.6360.0
          help: leave it out, or take a newer SDK
        ");
    }

    #[test]
    fn the_opposite_of_a_default_replaces_it() {
        let line = line("inf2", "--disable-mixed-precision-accumulation", None);
        assert!(line.contains("--disable-mixed"), "{line}");
        assert!(!line.contains("--enable-mixed"), "{line}");
    }

    #[test]
    fn arguments_of_the_trace_function_go_there_with_their_types() {
        let text = "--optimizations float32-to-float16 --separate-weights \
                    --minimum-segment-size 4 --neuroncore-pipeline-cores 2";
        let profile = profile::load("inf1").unwrap();
        let arguments = checked("inf1", text, None);
        let options = trace_options(&profile, &arguments);
        let expected = json!({
            "minimum_segment_size": 4,
            "optimizations": ["float32-to-float16"],
            "separate_weights": true,
            "single_fusion_ratio_threshold": 0.6,
        });
        assert_eq!(serde_json::to_value(options).unwrap(), expected);
        assert_eq!(
            command_line(&profile, &arguments).join(" "),
            "--fast-math fp32-cast-matmult --neuroncore-pipeline-cores 2"
        );
        let options = trace_options(&profile, &checked("inf1", "", None));
        assert_eq!(options["separate_weights"], json!(false));
    }

    #[test]
    fn several_keywords_are_words_of_their_own_or_one_as_the_compiler_has_it() {
        let profile = profile::load("inf1").unwrap();
        let arguments = checked("inf1", "--fast-math no-fast-relayout fp32-cast-all", None);
        assert_eq!(
            command_line(&profile, &arguments)[..3],
            ["--fast-math", "fp32-cast-all", "no-fast-relayout"]
        );
        let profile = profile::load("trn2").unwrap();
        let arguments = checked("trn2", "--implicit-integer-downcast=pow,dot", None);
        let line = command_line(&profile, &arguments);
        assert!(line.contains(&"dot,pow".to_owned()), "{line:?}");
    }

    #[test]
    fn what_is_offered_instead_is_possible_in_every_profile() {
        for chip in profile::names() {
            let profile = profile::load(chip).unwrap();
            for instead in profile.refused.iter().filter_map(|row| row.instead.clone()) {
                let parsed = parse(&profile, &instead);
                assert!(parsed.is_ok(), "{chip}: `{instead}`: {parsed:?}");
            }
        }
    }
}
