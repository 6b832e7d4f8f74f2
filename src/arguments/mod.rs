//! Compiler arguments: what the user asked for, checked against the profile, with every default
//! written out.

mod refuse;
mod request;
mod words;

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::profile::{Argument, ChipProfile, Decides, ON, PassedTo, Typed, reaches};

pub use crate::arguments::request::Request;

/// Arguments by name, without the leading dashes. A switch is `on` or `off`.
pub type Arguments = BTreeMap<String, String>;

/// What was asked for: names and values, checked, each name once.
pub type Asked = Vec<(String, String)>;

/// The arguments that the compiler of `profile` gets: its defaults, replaced by what was `asked`.
/// `version` is that of the compiler, where it is known. Defaults that it does not know yet are
/// left out; where it is not known, it is taken to be that of the profile.
pub fn resolve(
    profile: &ChipProfile,
    asked: &[(String, String)],
    version: Option<&str>,
) -> Result<Arguments> {
    let mut resolved = Arguments::new();
    for (name, value) in asked {
        let typed = Typed {
            flag: format!("--{name}"),
            words: vec![value.clone()],
        };
        let Some(argument) = profile.arguments.get(name) else {
            let refused = refuse::foreign(profile, &[typed]);
            return Err(refused.unwrap_or_else(|| anyhow::anyhow!("`{name}` is a short form")));
        };
        argument
            .check(value)
            .map_err(|unfit| refuse::unfit(profile, argument, &typed, unfit))?;
        if let (Some(since), Some(version)) = (&argument.since, version)
            && !reaches(version, since)
        {
            return Err(refuse::too_new(profile, name, since, version));
        }
        resolved.insert(name.clone(), value.clone());
    }
    if let Some((a, b)) = opposites(profile).find(|(a, b)| {
        let asked = |name: &str| resolved.contains_key(name);
        asked(a) && asked(b)
    }) {
        return Err(refuse::opposites(a, b));
    }
    let version = version.or(profile.compiler_version()).unwrap_or_default();
    let is_default = |(name, argument): &(&String, &Argument)| {
        let since = argument.since.as_ref();
        let exists = since.is_none_or(|since| reaches(version, since));
        let excluded = opposites(profile).any(|(a, b)| {
            (a == name.as_str() && resolved.contains_key(b))
                || (b == name.as_str() && resolved.contains_key(a))
        });
        exists && !excluded && !resolved.contains_key(name.as_str())
    };
    let defaults = profile.arguments.iter().filter(is_default);
    let defaults: Arguments = defaults
        .filter_map(|(name, argument)| Some((name.clone(), argument.default.clone()?)))
        .collect();
    resolved.extend(defaults);
    Ok(resolved)
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
            match separate {
                true => words.extend(value.split(' ').map(str::to_owned)),
                false => words.push(value.to_owned()),
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

/// The names under which the tolerance of these arguments may stand, the best first: the value of
/// the argument that decides the cast, then each of its keywords.
pub fn cast_names(profile: &ChipProfile, arguments: &Arguments) -> Vec<String> {
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
    use serde_json::json;

    use super::*;
    use crate::profile;

    fn resolved(chip: &str, text: &str, version: Option<&str>) -> Arguments {
        let profile = profile::load(chip).unwrap();
        let request = Request {
            texts: vec![text.to_owned()],
            options: Vec::new(),
        };
        let asked = request.read(&profile).unwrap();
        resolve(&profile, &asked, version).unwrap()
    }

    fn line(chip: &str, text: &str, version: Option<&str>) -> String {
        let profile = profile::load(chip).unwrap();
        command_line(&profile, &resolved(chip, text, version)).join(" ")
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
        let asked = [("native-int64".to_owned(), "enabled".to_owned())];
        let error = resolve(&profile, &asked, Some("2.26.6360.0")).unwrap_err();
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
        let arguments = resolved("inf1", text, None);
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
        let options = trace_options(&profile, &resolved("inf1", "", None));
        assert_eq!(options["separate_weights"], json!(false));
    }

    #[test]
    fn several_keywords_are_words_of_their_own_or_one_as_the_compiler_has_it() {
        let profile = profile::load("inf1").unwrap();
        let arguments = resolved("inf1", "--fast-math no-fast-relayout fp32-cast-all", None);
        assert_eq!(
            command_line(&profile, &arguments)[..3],
            ["--fast-math", "fp32-cast-all", "no-fast-relayout"]
        );
        let profile = profile::load("trn2").unwrap();
        let arguments = resolved("trn2", "--implicit-integer-downcast=pow,dot", None);
        let line = command_line(&profile, &arguments);
        assert!(line.contains(&"dot,pow".to_owned()), "{line:?}");
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
            let names = cast_names(&profile, &resolved("inf1", text, None));
            let found = names.iter().find(|n| profile.tolerances.contains_key(*n));
            assert_eq!(found.map(String::as_str), Some(name), "{text}");
        }
    }

    #[test]
    fn what_is_offered_instead_is_possible_in_every_profile() {
        for chip in profile::names() {
            let profile = profile::load(chip).unwrap();
            for instead in profile.refused.iter().filter_map(|row| row.instead.clone()) {
                let request = Request {
                    texts: vec![instead.clone()],
                    options: Vec::new(),
                };
                let read = request.read(&profile);
                assert!(read.is_ok(), "{chip}: `{instead}`: {read:?}");
            }
        }
    }
}
