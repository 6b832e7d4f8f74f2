//! Arguments on their way out: to the compiler, to the framework's trace function, and to people.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::arguments::check::Arguments;
use crate::profile::{Argument, ChipProfile, ON, PassedTo};

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
