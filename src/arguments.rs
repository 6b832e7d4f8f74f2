//! Compiler arguments: what the user asked for, checked against the profile, with every default
//! written out.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::failure::{Failure, known_names, name_list};
use crate::profile::ChipProfile;

/// Arguments by name, without the leading dashes.
pub type Arguments = BTreeMap<String, String>;

/// The arguments that the compiler of `profile` gets: its defaults, replaced by those of `asked`.
/// Fails for a name the compiler does not take and for a value it does not know.
pub fn resolve(profile: &ChipProfile, asked: &[(String, String)]) -> Result<Arguments> {
    let defaults = profile.arguments.iter().filter_map(|(name, argument)| {
        let default = argument.default.clone()?;
        Some((name.clone(), default))
    });
    let mut resolved: Arguments = defaults.collect();
    for (name, value) in asked {
        let Some(argument) = profile.arguments.get(name) else {
            let known: Vec<&str> = profile.arguments.keys().map(String::as_str).collect();
            return Err(Failure::usage(format!(
                "chip `{}` takes no argument `--{name}`",
                profile.name
            ))
            .help(known_names(name, known.iter().copied()))
            .into());
        };
        if !argument.values.is_empty() && !argument.values.contains(value) {
            let values = argument.values.iter().map(String::as_str);
            return Err(Failure::usage(format!(
                "`--{name} {value}` is not possible on chip `{}`",
                profile.name
            ))
            .help(match crate::failure::nearest(value, values.clone()) {
                Some(near) => format!("did you mean `{near}`? values: {}", name_list(values)),
                None => format!("values: {}", name_list(values)),
            })
            .into());
        }
        resolved.insert(name.clone(), value.clone());
    }
    Ok(resolved)
}

pub fn command_line(_: &ChipProfile, _: &Arguments) -> Vec<String> {
    Vec::new()
}
pub fn trace_options(_: &ChipProfile, _: &Arguments) -> BTreeMap<String, serde_json::Value> {
    BTreeMap::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    fn ask(name: &str, value: &str) -> Result<Arguments> {
        resolve(
            &profile::load("cpu").unwrap(),
            &[(name.to_owned(), value.to_owned())],
        )
    }

    #[test]
    fn defaults_are_written_out() {
        let arguments = ask("auto-cast", "all").unwrap();
        assert_eq!(arguments["auto-cast"], "all");
        assert_eq!(arguments["auto-cast-type"], "bf16");
    }

    #[test]
    fn wrong_names_and_values_are_answered_with_the_right_ones() {
        let error = ask("auto-cats", "all").unwrap_err().to_string();
        assert!(error.contains("did you mean `auto-cast`"), "{error}");
        let error = ask("auto-cast", "matmul").unwrap_err().to_string();
        assert!(error.contains("did you mean `matmult`"), "{error}");
    }
}
