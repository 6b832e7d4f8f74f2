//! The texts of requests: from a file, or made of common words in a mix of lengths. The same seed makes the
//! same texts, and no two of them are equal.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::Result;

use crate::failure::Failure;
use crate::files;

/// Common words, each of which is one token of BERT's vocabulary.
const WORDS: &str = include_str!("words.txt");

/// Number of words after which a made text has a full stop, which is a token for most tokenizers.
const SENTENCE_WORDS: usize = 12;

/// Random numbers that are the same on every machine: splitmix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is above zero.
    pub fn below(&mut self, end: usize) -> usize {
        // The remainder favours small numbers by less than one in 2^50.
        usize::try_from(self.draw() % end as u64).unwrap_or(0)
    }

    /// The pause in seconds before the next of independent events that happen `rate` times per second on
    /// average: exponentially distributed.
    pub fn pause(&mut self, rate: f64) -> f64 {
        let share = (self.draw() >> 11) as f64 / (1u64 << 53) as f64;
        -(1.0 - share).ln() / rate
    }
}

/// Lengths of texts in words. Each text draws a range, all with the same probability, then a length in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lengths(Vec<(usize, usize)>);

impl FromStr for Lengths {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let refuse = || {
            Failure::usage(format!("`{text}` is not a list of lengths"))
                .help("write numbers of words and ranges of them, such as 4,8,12 or 90-113")
        };
        let number = |text: &str| {
            text.trim()
                .parse()
                .ok()
                .filter(|n| (1..=10_000).contains(n))
        };
        let range = |part: &str| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (number(low)?, number(high)?);
            (low <= high).then_some((low, high))
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(Self).ok_or_else(refuse)
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (low, high)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if low == high {
                write!(f, "{comma}{low}")?
            } else {
                write!(f, "{comma}{low}-{high}")?
            }
        }
        Ok(())
    }
}

/// The source of texts.
#[derive(Debug, Clone)]
pub enum TextSource {
    /// The lines of a file, in turn.
    Lines(Vec<String>),
    /// Texts made of common words.
    Made {
        words: Vec<&'static str>,
        lengths: Lengths,
    },
}

impl TextSource {
    /// The lines of the file at `path` that are not empty.
    pub fn file(path: &Path) -> Result<Self> {
        let text = files::read_text(path)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        if lines.is_empty() {
            Err(Failure::usage(format!("`{}` has no text", path.display()))
                .help("write one text a line")
                .into())
        } else {
            Ok(Self::Lines(lines))
        }
    }

    pub fn made(lengths: Lengths) -> Self {
        let words = WORDS.split_whitespace().collect();
        Self::Made { words, lengths }
    }

    /// Appends text `index` of `seed` to `to`.
    pub fn write(&self, seed: u64, index: u64, to: &mut String) {
        match self {
            Self::Lines(lines) => {
                let count = lines.len() as u64;
                let line = usize::try_from(index.wrapping_add(seed) % count).unwrap_or(0);
                to.push_str(&lines[line]);
            }
            Self::Made { words, lengths } => {
                let mut random = Random::new(seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93));
                let (low, high) = lengths.0[random.below(lengths.0.len())];
                let count = low + random.below(high - low + 1);
                for place in 0..count {
                    if place > 0 {
                        let new_sentence = place % SENTENCE_WORDS == 0;
                        to.push_str(if new_sentence { ". " } else { " " });
                    }
                    to.push_str(words[random.below(words.len())]);
                }
                to.push('.');
            }
        }
    }
}

impl fmt::Display for TextSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(lines) => write!(f, "{} texts of a file, in turn", lines.len()),
            Self::Made { lengths, .. } => write!(f, "each a different one, of {lengths} words"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn text(source: &TextSource, seed: u64, index: u64) -> String {
        let mut text = String::new();
        source.write(seed, index, &mut text);
        text
    }

    #[test]
    fn made_texts_are_the_same_for_a_seed_and_never_twice() {
        let source = TextSource::made("20".parse().unwrap());
        let texts: BTreeSet<String> = (0..10_000).map(|index| text(&source, 7, index)).collect();
        assert_eq!(texts.len(), 10_000);
        assert_eq!(text(&source, 7, 3), text(&source, 7, 3));
        assert_ne!(text(&source, 7, 3), text(&source, 8, 3));
    }

    #[test]
    fn lengths_are_those_asked_for() {
        let source = TextSource::made("4,90-92".parse().unwrap());
        let counts: BTreeSet<usize> = (0..500)
            .map(|index| text(&source, 1, index).split(' ').count())
            .collect();
        assert_eq!(counts, BTreeSet::from([4, 90, 91, 92]));
        for wrong in ["", "0", "4,", "9-4", "a", "1-", "99999"] {
            assert!(wrong.parse::<Lengths>().is_err(), "{wrong}");
        }
        assert_eq!("4,90-92".parse::<Lengths>().unwrap().to_string(), "4,90-92");
    }

    #[test]
    fn pauses_have_the_mean_and_the_spread_of_a_poisson_process() {
        let mut random = Random::new(1);
        let pauses: Vec<f64> = (0..100_000).map(|_| random.pause(50.0)).collect();
        let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
        let spread = pauses.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / pauses.len() as f64;
        assert!((mean - 0.02).abs() < 0.0005, "{mean}");
        // An exponential distribution's deviation is its mean.
        assert!((spread.sqrt() - 0.02).abs() < 0.0005, "{spread}");
    }
}
