//! The grammar of a compiler's command line: flags, and the words that follow them.

use crate::profile::argument::{Argument, PassedTo};
use crate::profile::chip::ChipProfile;

/// A flag as it was typed, dashes included, with the words that follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedFlag {
    pub flag: String,
    pub words: Vec<String>,
}

impl TypedFlag {
    /// As it would be typed with a space between all words.
    pub fn shown(&self) -> String {
        let words = self.words.iter().map(|word| format!(" {word}"));
        self.flag.clone() + &words.collect::<String>()
    }
}

/// The flags among `words`; fails with a word that follows no flag.
pub fn flags(words: impl IntoIterator<Item = String>) -> Result<Vec<TypedFlag>, String> {
    let mut flags: Vec<TypedFlag> = Vec::new();
    for word in words {
        if !is_flag(&word) {
            match flags.last_mut() {
                Some(last) => last.words.push(word),
                None => return Err(word),
            }
            continue;
        }
        flags.push(match word.split_once('=') {
            Some((flag, value)) => TypedFlag {
                flag: flag.to_owned(),
                words: vec![value.to_owned()],
            },
            None => TypedFlag {
                flag: word,
                words: Vec::new(),
            },
        });
    }
    Ok(flags)
}

/// A dash before a digit makes a negative number.
fn is_flag(word: &str) -> bool {
    word.strip_prefix('-')
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

/// The rest of `flag` where it is the short form `short` with a value attached, as in `-O2`.
fn attached<'a>(flag: &'a str, short: &str) -> Option<&'a str> {
    let rest = flag.strip_prefix(short)?;
    (!short.starts_with("--") && !rest.is_empty()).then_some(rest)
}

impl ChipProfile {
    /// The argument that is meant by a typed flag, by its name, and the words that follow it.
    pub fn find(&self, typed: &TypedFlag) -> Option<(&str, &Argument, Vec<String>)> {
        let exactly = self.arguments.iter().find(|(name, argument)| {
            typed.flag.strip_prefix("--") == Some(name.as_str())
                || argument.passed_to == PassedTo::Compiler && argument.flag == typed.flag
                || argument.short.as_ref() == Some(&typed.flag)
        });
        if let Some((name, argument)) = exactly {
            return Some((name, argument, typed.words.clone()));
        }
        self.arguments.iter().find_map(|(name, argument)| {
            let rest = attached(&typed.flag, argument.short.as_ref()?)?;
            let mut words = vec![rest.to_owned()];
            words.extend(typed.words.iter().cloned());
            Some((name.as_str(), argument, words))
        })
    }

    /// The rows of `refused` that speak about `about`, one of `all` the typed flags: the one that
    /// says most about them first.
    pub fn refusals(&self, about: &TypedFlag, all: &[TypedFlag]) -> Vec<RefusalMatch<'_>> {
        let mut rows: Vec<(usize, RefusalMatch<'_>)> = Vec::new();
        for refusal in &self.refused {
            for given in &refusal.given {
                let Ok(flags) = flags(given.split_whitespace().map(str::to_owned)) else {
                    continue;
                };
                let fits = |row: &TypedFlag| all.iter().any(|typed| speaks_about(row, typed));
                if flags.iter().any(|row| speaks_about(row, about)) && flags.iter().all(fits) {
                    let row = RefusalMatch {
                        why: refusal.why.as_deref(),
                        instead: refusal.instead.as_deref(),
                        flags,
                    };
                    rows.push((given.split_whitespace().count(), row));
                }
            }
        }
        // Stable, so that of two equally long rows the first in the profile comes first.
        rows.sort_by_key(|(words, _)| std::cmp::Reverse(*words));
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// A row of `refused` with the flags that it speaks about.
#[derive(Debug)]
pub struct RefusalMatch<'a> {
    pub why: Option<&'a str>,
    pub instead: Option<&'a str>,
    pub flags: Vec<TypedFlag>,
}

impl RefusalMatch<'_> {
    pub fn names(&self, typed: &TypedFlag) -> bool {
        self.flags.iter().any(|row| speaks_about(row, typed))
    }
}

/// True when the flags are the same and all words of `row` were typed.
fn speaks_about(row: &TypedFlag, typed: &TypedFlag) -> bool {
    let rest = attached(&typed.flag, &row.flag);
    let same = row.flag == typed.flag || rest.is_some();
    let was_typed = |word: &String| {
        let words = typed.words.iter().flat_map(|words| words.split([',', ' ']));
        words.chain(rest).any(|typed| typed == word)
    };
    same && row.words.iter().all(was_typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<Vec<TypedFlag>, String> {
        flags(text.split(' ').map(str::to_owned))
    }

    fn typed(flag: &str, words: &[&str]) -> TypedFlag {
        TypedFlag {
            flag: flag.to_owned(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    #[test]
    fn a_value_stands_behind_its_flag_or_an_equals_sign() {
        let expected = vec![
            typed("--a", &["x", "-1"]),
            typed("--b", &["y=z"]),
            typed("-O2", &[]),
        ];
        assert_eq!(split("--a x -1 --b=y=z -O2"), Ok(expected));
        assert_eq!(split("x --a"), Err("x".to_owned()));
    }

    #[test]
    fn short_forms_take_their_value_attached_or_not() {
        let profile = crate::profile::load("trn2").unwrap();
        for text in [
            "-O2",
            "-O 2",
            "-O=2",
            "--optlevel 2",
            "--optlevel=2",
            "-lnc 2",
            "--logical-nc-config 2",
            "--lnc=2",
        ] {
            let flags = split(text).unwrap();
            let (name, _, words) = profile.find(&flags[0]).unwrap();
            let expected = match text.contains('O') || text.contains("opt") {
                true => "optlevel",
                false => "lnc",
            };
            assert_eq!((name, words), (expected, vec!["2".to_owned()]), "{text}");
        }
        assert!(profile.find(&typed("-x2", &[])).is_none());
    }
}
