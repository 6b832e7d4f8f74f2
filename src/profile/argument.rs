//! The arguments of a compiler as a profile describes them: which words may follow a flag, and what
//! to say about a flag that the compiler does not take.

use serde::{Deserialize, Serialize};

/// The value of a switch that is passed.
pub const ON: &str = "on";
/// The value of a switch that is not passed.
pub const OFF: &str = "off";

/// An argument that the compiler takes. Of `values`, `keywords`, `number` and `switch` at most one
/// is given; without any of them one word of any kind follows the flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// As the compiler spells it, or the keyword of the framework's trace function.
    pub flag: String,
    /// The compiler's short form of it.
    #[serde(default)]
    pub short: Option<String>,
    #[serde(default)]
    pub passed_to: PassedTo,
    /// Exactly one of these follows.
    #[serde(default)]
    pub values: Vec<String>,
    #[serde(default)]
    pub keywords: Option<Keywords>,
    #[serde(default)]
    pub number: Option<Number>,
    /// True when no value follows.
    #[serde(default)]
    pub switch: bool,
    /// Always passed explicitly; absent for an argument that is passed only on request.
    #[serde(default)]
    pub default: Option<String>,
    /// The compiler version that introduced it.
    #[serde(default)]
    pub since: Option<String>,
    /// The name of the argument that says the opposite.
    #[serde(default)]
    pub excludes: Option<String>,
    #[serde(default)]
    pub decides: Option<Decides>,
    #[serde(default)]
    pub note: Option<String>,
}

/// Who takes an argument.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassedTo {
    /// The compiler, on its command line.
    #[default]
    Compiler,
    /// The framework's trace function, as a keyword argument.
    Trace,
}

/// The decision of neuronc that an argument makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decides {
    /// The cast, and so the tolerance that holds.
    Cast,
    /// Physical cores of a logical core.
    CoreSize,
    /// Cores that one copy of the model occupies.
    Cores,
}

/// Several words that may follow one flag together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keywords {
    /// Each excludes every other keyword.
    #[serde(default)]
    pub alone: Vec<String>,
    /// At most one of each list.
    #[serde(default)]
    pub one_of: Vec<Vec<String>>,
    #[serde(default)]
    pub any_of: Vec<String>,
    /// The text between two of them; a space makes each a word of its own.
    #[serde(default = "space")]
    pub joined_by: String,
}

fn space() -> String {
    " ".to_owned()
}

/// A number within bounds, both of them possible.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    pub from: f64,
    #[serde(default)]
    pub to: Option<f64>,
    /// False for whole numbers.
    #[serde(default)]
    pub decimals: bool,
}

/// Flags that users bring from elsewhere, and that the compiler does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedFlags {
    /// Alternatives; each is one or more flags, with the values that the row is about.
    pub given: Vec<String>,
    #[serde(default)]
    pub why: Option<String>,
    /// Arguments of this profile that have the same effect.
    #[serde(default)]
    pub instead: Option<String>,
}

/// Why the words after a flag do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// No word follows, but one has to.
    Missing,
    /// Words follow a switch.
    NotTaken,
    /// More than one word follows.
    Several,
    /// This word is not possible.
    Unknown(String),
    /// These two keywords contradict each other.
    Exclusive(String, String),
}

impl Argument {
    /// The text that records `words`, the words behind the flag: the same text for all that mean
    /// the same.
    pub fn accept(&self, words: &[String]) -> Result<String, Unfit> {
        if self.switch {
            return match words {
                [] => Ok(ON.to_owned()),
                _ => Err(Unfit::NotTaken),
            };
        }
        if let Some(keywords) = &self.keywords {
            return keywords.accept(words);
        }
        let word = match words {
            [word] if !word.is_empty() => word,
            [_, _, ..] => return Err(Unfit::Several),
            _ => return Err(Unfit::Missing),
        };
        if let Some(number) = &self.number {
            return number
                .accept(word)
                .ok_or_else(|| Unfit::Unknown(word.clone()));
        }
        if self.values.is_empty() || self.values.contains(word) {
            Ok(word.clone())
        } else {
            Err(Unfit::Unknown(word.clone()))
        }
    }

    /// Checks a recorded value.
    pub fn check(&self, recorded: &str) -> Result<(), Unfit> {
        if self.switch {
            return if [ON, OFF].contains(&recorded) {
                Ok(())
            } else {
                Err(Unfit::Unknown(recorded.to_owned()))
            };
        }
        self.accept(&[recorded.to_owned()]).map(drop)
    }

    /// Everything that can be listed of what may follow the flag.
    pub fn listed(&self) -> Vec<&str> {
        let words = match &self.keywords {
            Some(keywords) => keywords.all().collect(),
            None => self.values.iter().collect::<Vec<_>>(),
        };
        words.into_iter().map(String::as_str).collect()
    }

    /// The number of ways in which the profile says what may follow; more than one contradict each other.
    pub(super) fn kinds(&self) -> usize {
        let given = [
            !self.values.is_empty(),
            self.keywords.is_some(),
            self.number.is_some(),
            self.switch,
        ];
        given.into_iter().filter(|given| *given).count()
    }
}

impl Keywords {
    /// All keywords, in the order in which they are recorded and passed.
    fn all(&self) -> impl Iterator<Item = &String> {
        let groups = self.one_of.iter().flatten();
        self.alone.iter().chain(groups).chain(&self.any_of)
    }

    /// Words may also be several keywords with commas or spaces between them.
    fn accept(&self, words: &[String]) -> Result<String, Unfit> {
        let given: Vec<&str> = words
            .iter()
            .flat_map(|word| word.split([',', ' ']))
            .filter(|word| !word.is_empty())
            .collect();
        if given.is_empty() {
            return Err(Unfit::Missing);
        }
        let known = |word: &&str| self.all().any(|keyword| keyword == word);
        if let Some(unknown) = given.iter().find(|word| !known(word)) {
            return Err(Unfit::Unknown((*unknown).to_owned()));
        }
        let mut chosen: Vec<&str> = self.all().map(String::as_str).collect();
        chosen.retain(|keyword| given.contains(keyword));
        let together = |a: &str, b: &str| {
            let in_one = |group: &&Vec<String>| [a, b].iter().all(|k| group.iter().any(|g| g == k));
            let alone = [a, b]
                .iter()
                .any(|k| self.alone.iter().any(|word| word == k));
            !alone && self.one_of.iter().find(in_one).is_none()
        };
        for (index, first) in chosen.iter().enumerate() {
            if let Some(second) = chosen[index + 1..].iter().find(|b| !together(first, b)) {
                return Err(Unfit::Exclusive((*first).to_owned(), (*second).to_owned()));
            }
        }
        Ok(chosen.join(&self.joined_by))
    }
}

impl Number {
    fn accept(&self, word: &str) -> Option<String> {
        let (value, text) = if self.decimals {
            let value: f64 = word.parse().ok()?;
            (value, value.to_string())
        } else {
            let value: u32 = word.parse().ok()?;
            (f64::from(value), value.to_string())
        };
        let fits = value.is_finite() && value >= self.from && self.to.is_none_or(|to| value <= to);
        fits.then_some(text)
    }

    /// The bounds, for people.
    pub fn shown(&self) -> String {
        let kind = if self.decimals {
            "a number"
        } else {
            "a whole number"
        };
        match self.to {
            Some(to) => format!("{kind} from {} to {to}", self.from),
            None => format!("{kind} from {}", self.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(text: &str) -> Argument {
        crate::files::parse_yaml(text, "test").unwrap()
    }

    fn accept(argument: &Argument, text: &str) -> Result<String, Unfit> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        argument.accept(&words)
    }

    #[test]
    fn keywords_are_recorded_in_one_order_whatever_the_order_they_come_in() {
        let argument = argument("flag: --f\nkeywords: {one_of: [[a, b], [x, y]], any_of: [m, n]}");
        assert_eq!(accept(&argument, "n x a"), Ok("a x n".to_owned()));
        assert_eq!(accept(&argument, "a,x n,n"), Ok("a x n".to_owned()));
        let exclusive = Unfit::Exclusive("x".to_owned(), "y".to_owned());
        assert_eq!(accept(&argument, "y a x"), Err(exclusive));
        assert_eq!(accept(&argument, ","), Err(Unfit::Missing));
        assert_eq!(
            accept(&argument, "a z"),
            Err(Unfit::Unknown("z".to_owned()))
        );
    }

    #[test]
    fn a_keyword_that_stands_alone_takes_no_other() {
        let text = "flag: --f\nkeywords: {alone: [all], any_of: [m, n], joined_by: ','}";
        let argument = argument(text);
        assert_eq!(accept(&argument, "n,m"), Ok("m,n".to_owned()));
        assert_eq!(argument.check("m,n"), Ok(()));
        let exclusive = Unfit::Exclusive("all".to_owned(), "m".to_owned());
        assert_eq!(accept(&argument, "m all"), Err(exclusive));
    }

    #[test]
    fn numbers_are_recorded_without_decoration_and_within_their_bounds() {
        let whole = argument("flag: --f\nnumber: {from: 1, to: 4}");
        assert_eq!(accept(&whole, "04"), Ok("4".to_owned()));
        for wrong in ["0", "5", "-1", "1.5", "1e0", "four"] {
            let expected = Err(Unfit::Unknown(wrong.to_owned()));
            assert_eq!(whole.accept(&[wrong.to_owned()]), expected);
        }
        let share = argument("flag: --f\nnumber: {from: 0, to: 1, decimals: true}");
        assert_eq!(accept(&share, "0.60"), Ok("0.6".to_owned()));
        for wrong in ["NaN", "inf", "1.01"] {
            assert!(accept(&share, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_switch_takes_no_value_and_everything_else_takes_one() {
        let switch = argument("flag: --f\nswitch: true");
        assert_eq!(accept(&switch, ""), Ok("on".to_owned()));
        assert_eq!(accept(&switch, "true"), Err(Unfit::NotTaken));
        let value = argument("flag: --f\nvalues: [a, b]");
        assert_eq!(accept(&value, ""), Err(Unfit::Missing));
        assert_eq!(value.accept(&[String::new()]), Err(Unfit::Missing));
        assert_eq!(accept(&value, "a b"), Err(Unfit::Several));
    }
}
