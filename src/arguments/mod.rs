//! Compiler arguments: from what was typed to what the compiler gets, in three types.
//!
//! [`TypedArguments`] are words; [`ParsedArguments`] are possible on a chip, each there once;
//! [`CheckedArguments`] are possible with the compiler of this machine as well, with every default
//! written out. A plan is made of the last, which nothing but the way through the others makes, and
//! holds them as [`Arguments`].

mod parse;
mod refuse;
mod words;

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::profile::{Argument, ChipProfile, ON, PassedTo, reaches};

pub use crate::arguments::parse::{ParsedArguments, TypedArguments};

/// Arguments by name, without the leading dashes. A switch is `on` or `off`.
pub type Arguments = BTreeMap<String, String>;

/// Arguments that a chip's compiler takes, with every default written out.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedArguments<'a> {
    profile: &'a ChipProfile,
    values: Arguments,
}

impl<'a> CheckedArguments<'a> {
    /// What the compiler of `profile` gets where nobody asks for anything.
    pub fn defaults(profile: &'a ChipProfile) -> Self {
        let version = profile.compiler_version();
        Self::with_defaults(profile, Arguments::new(), version)
    }

    /// `values`, which are possible, and the defaults of a compiler of `version`. Defaults that it
    /// does not know yet are left out, and so is the opposite of a value.
    fn with_defaults(
        profile: &'a ChipProfile,
        mut values: Arguments,
        version: Option<&str>,
    ) -> Self {
        let version = version.unwrap_or_default();
        let is_default = |(name, argument): &(&String, &Argument)| {
            let since = argument.since.as_ref();
            let exists = since.is_none_or(|since| reaches(version, since));
            let excluded = opposites(profile).any(|(a, b)| {
                (a == name.as_str() && values.contains_key(b))
                    || (b == name.as_str() && values.contains_key(a))
            });
            exists && !excluded && !values.contains_key(name.as_str())
        };
        let defaults = profile.arguments.iter().filter(is_default);
        let defaults: Arguments = defaults
            .filter_map(|(name, argument)| Some((name.clone(), argument.default.clone()?)))
            .collect();
        values.extend(defaults);
        Self { profile, values }
    }

    /// The chip that they were checked for.
    pub fn profile(&self) -> &'a ChipProfile {
        self.profile
    }

    pub fn values(&self) -> &Arguments {
        &self.values
    }

    pub fn into_values(self) -> Arguments {
        self.values
    }
}

impl<'a> ParsedArguments<'a> {
    /// The arguments that a compiler of `version` gets. Fails for an argument that a compiler of this
    /// version does not have. Where the version is not known, defaults are those of the version that
    /// the profile describes, and whatever was asked for is passed on.
    pub fn check(self, version: Option<&str>) -> Result<CheckedArguments<'a>> {
        let profile = self.profile();
        let values = self.into_values();
        for name in values.iter().map(|(name, _)| name) {
            let argument = profile.arguments.get(name);
            let since = argument.and_then(|argument| argument.since.as_deref());
            if let (Some(since), Some(version)) = (since, version)
                && !reaches(version, since)
            {
                return Err(refuse::too_new(profile, name, since, version));
            }
        }
        let version = version.or(profile.compiler_version());
        let values = values.into_iter().collect();
        Ok(CheckedArguments::with_defaults(profile, values, version))
    }
}

/// The pairs of arguments of which one says the opposite of the other.
fn opposites(profile: &ChipProfile) -> impl Iterator<Item = (&str, &str)> {
    let arguments = profile.arguments.iter();
    arguments.filter_map(|(name, argument)| Some((name.as_str(), argument.excludes.as_deref()?)))
}

/// The words that the compiler gets, in the order of the arguments' names.
pub fn command_line(profile: &ChipProfile, arguments: &Arguments) -> Vec<String> {
    let mut words = Vec::new();
    for (argument, value) in passed_to(PassedTo::Compiler, profile, arguments) {
        if argument.switch && value != ON {
            continue;
        }
        words.push(argument.flag.clone());
        if !argument.switch {
            let separate = argument.keywords.iter().any(|k| k.joined_by == " ");
            if separate {
                words.extend(value.split(' ').map(str::to_owned));
            } else {
                words.push(value.to_owned());
            }
        }
    }
    words
}

/// The keyword arguments that the framework's trace function gets. Switches are booleans, numbers
/// numbers, and keywords lists.
pub fn trace_options(profile: &ChipProfile, arguments: &Arguments) -> BTreeMap<String, Value> {
    let passed = passed_to(PassedTo::Trace, profile, arguments);
    let options = passed.map(|(argument, value)| {
        let json = match (&argument.keywords, &argument.number) {
            _ if argument.switch => Value::from(value == ON),
            (Some(keywords), _) => value.split(&keywords.joined_by).map(Value::from).collect(),
            (_, Some(_)) => serde_json::from_str(value).unwrap_or_else(|_| value.into()),
            _ => Value::from(value),
        };
        (argument.flag.clone(), json)
    });
    options.collect()
}

fn passed_to<'a>(
    to: PassedTo,
    profile: &'a ChipProfile,
    arguments: &'a Arguments,
) -> impl Iterator<Item = (&'a Argument, &'a str)> {
    let known = arguments.iter().filter_map(|(name, value)| {
        let argument = profile.arguments.get(name)?;
        Some((argument, value.as_str()))
    });
    known.filter(move |(argument, _)| argument.passed_to == to)
}

/// The arguments as a person reads them: first what the compiler gets, then what the framework's
/// trace function gets.
pub fn shown(profile: &ChipProfile, arguments: &Arguments) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for word in command_line(profile, arguments) {
        match shown.last_mut() {
            Some(last) if !word.starts_with('-') => *last += &format!(" {word}"),
            _ => shown.push(word),
        }
    }
    let options = trace_options(profile, arguments);
    shown.extend(
        options
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::profile;

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
