//! The messages that refuse arguments.

use anyhow::Error;

use crate::failure::{Failure, name_list, nearest};
use crate::profile::{Argument, ChipProfile, TypedFlag, Unfit};

/// A word in `--compiler-args` before the first flag.
pub(super) fn stray(word: &str) -> Error {
    Failure::usage(format!("`{word}` in `--compiler-args` belongs to no flag"))
        .help("begin with a flag: --compiler-args \"--flag value\"")
        .into()
}

/// Words that cannot follow the flag of `typed`.
pub(super) fn unfit(
    profile: &ChipProfile,
    argument: &Argument,
    typed: &TypedFlag,
    unfit: Unfit,
) -> Error {
    let flag = &typed.flag;
    let listed = argument.listed();
    let possible = match argument.number {
        Some(number) => number.shown(),
        None => format!("values: {}", name_list(listed.iter().copied())),
    };
    match unfit {
        Unfit::Missing => Failure::usage(format!("`{flag}` lacks its value")).help(possible),
        Unfit::NotTaken => Failure::usage(format!("`{}` is not possible", typed.shown()))
            .why(format!("`{flag}` takes no value"))
            .help(format!("give `{flag}` alone, or leave it out")),
        Unfit::Several => Failure::usage(format!("`{}` is not possible", typed.shown()))
            .why(format!("`{flag}` takes one value"))
            .help(possible),
        Unfit::Exclusive(a, b) => Failure::usage(format!("`{}` is not possible", typed.shown()))
            .why(format!("`{a}` and `{b}` exclude each other"))
            .help("give one of the two"),
        Unfit::Unknown(word) => Failure::usage(format!(
            "`{}` is not possible on chip `{}`",
            if typed.words.is_empty() {
                // The word is attached, as in `-O4`.
                flag.clone()
            } else {
                format!("{flag} {word}")
            },
            profile.name
        ))
        .help(match nearest(&word, listed.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? {possible}"),
            None => possible,
        }),
    }
    .into()
}

/// Flags that the profile does not list; all of them are answered at once.
pub(super) fn foreign(profile: &ChipProfile, all: &[TypedFlag]) -> Option<Error> {
    let mut answers: Vec<FlagAnswer> = Vec::new();
    let mut answered: Vec<&TypedFlag> = Vec::new();
    for typed in all {
        if profile.find(typed).is_some() || answered.contains(&typed) {
            continue;
        }
        let rows = profile.refusals(typed, all);
        answered.push(typed);
        if let Some(first) = rows.first() {
            answered.extend(all.iter().filter(|other| first.names(other)));
        }
        answers.push(FlagAnswer {
            typed,
            why: rows.iter().find_map(|row| row.why),
            instead: rows.iter().find_map(|row| row.instead),
            known: !rows.is_empty(),
        });
    }
    let flags: Vec<&str> = answers.iter().map(|answer| answer.flag()).collect();
    let (what, several) = match flags.as_slice() {
        [] => return None,
        [one] => (format!("no argument `{one}`"), false),
        more => (
            format!("no arguments {}", name_list(more.iter().copied())),
            true,
        ),
    };
    let failure = Failure::usage(format!("chip `{}` takes {what}", profile.name));
    let labelled = |answer: &FlagAnswer, text: &str| {
        if several {
            format!("{}: {text}", answer.flag())
        } else {
            text.to_owned()
        }
    };
    let why = answers
        .iter()
        .filter_map(|answer| Some(labelled(answer, answer.why?)));
    let why: Vec<String> = why.collect();
    let help = answers
        .iter()
        .map(|answer| labelled(answer, &answer.help(profile)));
    let help: Vec<String> = help.collect();
    let failure = if why.is_empty() {
        failure
    } else {
        failure.why(why.join("\n"))
    };
    Some(failure.help(help.join("\n")).into())
}

/// What the profile says of a flag that is not an argument.
struct FlagAnswer<'a> {
    typed: &'a TypedFlag,
    why: Option<&'a str>,
    instead: Option<&'a str>,
    /// True when the profile speaks about the flag.
    known: bool,
}

impl FlagAnswer<'_> {
    fn flag(&self) -> &str {
        &self.typed.flag
    }

    fn help(&self, profile: &ChipProfile) -> String {
        if let Some(instead) = self.instead {
            return format!("use `{instead}`");
        }
        if self.known {
            return "leave it out".to_owned();
        }
        let names = profile.arguments.keys().map(String::as_str);
        let dashed: Vec<String> = names.clone().map(|name| format!("--{name}")).collect();
        let known = name_list(dashed.iter().map(String::as_str));
        match nearest(self.flag().trim_start_matches('-'), names) {
            Some(near) => format!("did you mean `--{near}`? known: {known}"),
            None => format!("known: {known}"),
        }
    }
}

/// An option of its own that says something else than `--compiler-args`.
pub(super) fn contradiction(option: &TypedFlag, text: &TypedFlag) -> Error {
    Failure::usage(format!(
        "`{}` contradicts `{}` in `--compiler-args`",
        option.shown(),
        text.shown()
    ))
    .help("give it once")
    .into()
}

/// Two arguments of which one says the opposite of the other.
pub(super) fn opposites(a: &str, b: &str) -> Error {
    Failure::usage(format!("`--{a}` and `--{b}` exclude each other"))
        .help("give one of the two")
        .into()
}

/// An argument that the compiler of this machine does not have yet.
pub(super) fn too_new(profile: &ChipProfile, name: &str, since: &str, version: &str) -> Error {
    let compiler = profile.compiler.package.as_deref().unwrap_or("compiler");
    Failure::usage(format!("`--{name}` needs {compiler} {since} or newer"))
        .why(format!("this machine has {compiler} {version}"))
        .help("leave it out, or take a newer SDK")
        .into()
}
