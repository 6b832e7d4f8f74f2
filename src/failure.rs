//! A failure as the user meets it: what failed, why, what to do now, and the exit code it leads to.
//!
//! Only failures that the outside can cause are built here; everything else travels as a plain
//! [`anyhow::Error`] and counts as unreadable input.

use std::fmt;

/// Kind of a failure; each has one exit code, listed in `docs/exit-codes.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The work was done, and the result is negative: a gate was missed, a check failed.
    Negative,
    /// The command line or an input file cannot be used.
    Usage,
    /// The Hub or the network.
    Hub,
    /// An SDK, a compiler, an executor or a device is missing or unusable.
    Executor,
    /// A compilation failed.
    Compilation,
    /// Memory or disk ran out.
    Resources,
    /// The user interrupted the run.
    Interrupted,
    /// A defect of neuronc.
    Bug,
}

impl Class {
    /// The process exit code of this kind of failure.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Negative => 1,
            Class::Usage => 2,
            Class::Hub => 3,
            Class::Executor => 4,
            Class::Compilation => 5,
            Class::Resources => 6,
            Class::Bug => 70,
            Class::Interrupted => 130,
        }
    }
}

/// A failure with its reason and its remedy.
#[derive(Debug, Clone)]
pub struct Failure {
    class: Class,
    what: String,
    why: Option<String>,
    help: Option<String>,
}

impl Failure {
    /// A failure of `class`; `what` says what failed, in lower case and without a final period.
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self {
            class,
            what: what.into(),
            why: None,
            help: None,
        }
    }

    /// Shorthand for the most common class.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Class::Usage, what)
    }

    /// Adds the reason.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds what the user can do now.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds to what the user can do now, on a line of its own.
    #[must_use]
    pub fn add_help(self, more: impl Into<String>) -> Self {
        let more = more.into();
        let help = match &self.help {
            Some(help) => format!("{help}\n{more}"),
            None => more,
        };
        self.help(help)
    }

    /// The class of the outermost [`Failure`] in the chain of `error`, else the class that an I/O error
    /// in it implies, else [`Class::Usage`].
    pub fn class_of(error: &anyhow::Error) -> Class {
        for cause in error.chain() {
            if let Some(failure) = cause.downcast_ref::<Failure>() {
                return failure.class;
            }
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                return Self::class_of_io(io);
            }
        }
        Class::Usage
    }

    /// A full disk or exhausted memory counts as resources, every other I/O error as input.
    fn class_of_io(error: &std::io::Error) -> Class {
        use std::io::ErrorKind::{FileTooLarge, OutOfMemory, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | OutOfMemory | FileTooLarge => Class::Resources,
            _ => Class::Usage,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\n  why:  {}", indent(why))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {}", indent(help))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// An error in one line, for logs and answers: what failed, why, and what to do.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for line in format!("{error:#}").lines() {
        // The labels of an inner error are indented further than those of the outer one.
        let line = line.trim_start();
        let (joint, line) = match (line.strip_prefix("why:  "), line.strip_prefix("help: ")) {
            (Some(why), _) => (": ", why),
            (None, Some(help)) => ("; ", help),
            (None, None) => (" ", line),
        };
        if !text.is_empty() {
            text.push_str(joint);
        }
        text.push_str(line);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// Aligns continuation lines with the text behind the label.
fn indent(text: &str) -> String {
    text.replace('\n', "\n        ")
}

/// Text from outside with its control characters replaced, so that it cannot move the cursor.
pub fn printable(text: &str) -> String {
    let visible = |character: char| {
        if character.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        }
    };
    text.chars().map(visible).collect()
}

/// A list of names as messages show it: `a`, `b` and `c`, each in backticks.
pub fn name_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

/// The entry of `known` that resembles `typed` most; `None` where none is similar enough to suggest.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&typed, &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The help text of a failed look-up: the nearest name, if any, then all names.
pub fn known_names<'a>(typed: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let all = name_list(known.clone());
    match nearest(typed, known) {
        Some(name) => format!("did you mean `{name}`? known: {all}"),
        None => format!("known: {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn says_what_why_and_help_on_their_own_lines() {
        let failure = Failure::usage("chip `inf3` is unknown")
            .why("no profile\nhas that name")
            .help("did you mean `inf2`?");
        insta::assert_snapshot!(failure, @r"
        chip `inf3` is unknown
          why:  no profile
                has that name
          help: did you mean `inf2`?
        ");
    }

    #[test]
    fn the_class_survives_added_context() {
        let result: anyhow::Result<()> = Err(Failure::new(Class::Hub, "no answer").into());
        let error = result.context("downloading `config.json`").unwrap_err();
        assert_eq!(Failure::class_of(&error), Class::Hub);
    }

    #[test]
    fn a_full_disk_is_a_matter_of_resources() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = anyhow::Error::from(full).context("writing `x`");
        assert_eq!(Failure::class_of(&error), Class::Resources);
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(nearest("Inf2", ["cpu", "inf1", "inf2"]), Some("inf2"));
        assert_eq!(nearest("xyz", ["cpu", "inf1", "inf2"]), None);
    }
}
