//! The file of API keys: who has which, and how much each may ask for. It has no key, only what a key
//! is known by.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::failure::Failure;
use crate::files;
use crate::serve::http::access::rate::Rate;
use crate::serve::http::reloaded::{FileContent, Reloaded};

/// Names are in the log.
const NAME_CHARACTERS_MAX: usize = 64;

/// More requests a second are no limit.
const PER_SECOND_MAX: f64 = 1e6;

const HELP: &str = "`neuronc key NAME` makes a key and the lines for the file";

/// What a caller may do; every request has one in its extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::serve) enum CallerRole {
    /// Ask models.
    #[default]
    Predict,
    /// Everything.
    Admin,
}

/// API keys, taken over anew when their file changes.
#[derive(Debug)]
pub struct Keys(Reloaded<KeyList>);

impl Keys {
    pub fn open(file: &Path) -> Result<Self> {
        Reloaded::open(&[file], read).map(Self)
    }

    /// Whose key that is. All keys are compared, and each to its end, so that the time says nothing.
    pub(super) fn find(&self, presented: &[u8]) -> Option<Arc<Key>> {
        let digest = Sha256::digest(presented);
        let keys = self.0.current();
        let mut found = None;
        for key in &keys.0 {
            let is_it: Choice = key.entry.sha256.0.ct_eq(digest.as_slice());
            if is_it.into() {
                found = Some(Arc::clone(key));
            }
        }
        found
    }

    pub(in crate::serve::http) fn refresh(&self) {
        self.0.refresh();
    }
}

#[derive(Debug)]
struct KeyList(Vec<Arc<Key>>);

/// An entry of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    name: KeyName,
    sha256: Fingerprint,
    #[serde(default)]
    role: CallerRole,
    requests_in_flight: Option<NonZeroUsize>,
    requests_per_second: Option<PerSecond>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct KeyName(String);

impl TryFrom<String> for KeyName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        check_key_name(&name)?;
        Ok(Self(name))
    }
}

/// Checks the name of a key; the error is a sentence.
pub fn check_key_name(name: &str) -> Result<(), String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match (1..=NAME_CHARACTERS_MAX).contains(&name.len()) && name.chars().all(is_fit) {
        true => Ok(()),
        false => Err(format!(
            "a name has 1 to {NAME_CHARACTERS_MAX} letters, digits, `-`, `_` and `.`"
        )),
    }
}

/// What a key is known by. Its error does not repeat what may be a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Fingerprint([u8; 32]);

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprint")
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "sha256 of a key has 64 hexadecimal digits";
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong);
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = &text[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong)?;
        }
        Ok(Self(bytes))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
struct PerSecond(f64);

impl TryFrom<f64> for PerSecond {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        match value > 0.001 && value <= PER_SECOND_MAX {
            true => Ok(Self(value)),
            false => Err(format!(
                "requests_per_second is more than 0.001 and at most {PER_SECOND_MAX}"
            )),
        }
    }
}

/// A key and what is going on with it.
#[derive(Debug)]
pub(super) struct Key {
    entry: KeyEntry,
    in_flight: AtomicUsize,
    rate: Option<Mutex<Rate>>,
}

/// Why a request of a key is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyLimitReached {
    InFlight(usize),
    /// How long to wait.
    Rate(Duration),
}

impl Key {
    fn new(entry: KeyEntry) -> Self {
        let rate = entry.requests_per_second;
        Self {
            rate: rate.map(|PerSecond(rate)| Mutex::new(Rate::new(rate, Instant::now()))),
            in_flight: AtomicUsize::new(0),
            entry,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.entry.name.0
    }

    pub(super) fn role(&self) -> CallerRole {
        self.entry.role
    }

    /// Takes a request, which counts until what is given back is dropped.
    pub(super) fn take(self: &Arc<Self>) -> Result<KeySlot, KeyLimitReached> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let taken = KeySlot(Arc::clone(self));
        if let Some(limit) = self.entry.requests_in_flight
            && before >= limit.get()
        {
            return Err(KeyLimitReached::InFlight(limit.get()));
        }
        if let Some(rate) = &self.rate {
            let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
            rate.take(Instant::now()).map_err(KeyLimitReached::Rate)?;
        }
        Ok(taken)
    }
}

/// A request of a key that is being answered.
#[derive(Debug)]
pub(super) struct KeySlot(Arc<Key>);

impl Drop for KeySlot {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Entries that stay as they are keep what is going on with them.
fn read(files: &[FileContent], old: Option<&KeyList>) -> Result<KeyList> {
    let [file] = files else {
        return Err(Failure::usage("there is one file of keys").into());
    };
    file.warn_if_others_read();
    let name = file.path.display();
    let refused = |why: String| {
        Failure::usage(format!("`{name}` has no usable keys"))
            .why(why)
            .help(HELP)
    };
    let text = std::str::from_utf8(&file.bytes).map_err(|error| refused(error.to_string()))?;
    let entries: Vec<KeyEntry> = files::parse_yaml(text, "keys").map_err(|error| {
        // The place and the reason, but not the lines: they may have a key in them by mistake.
        let whole = format!("{:#}", error.root_cause());
        refused(first_sentence(&whole))
    })?;
    if entries.is_empty() {
        return Err(refused("it has no entry, so nobody could ask for anything".to_owned()).into());
    }
    let mut names = BTreeSet::new();
    let mut fingerprints = BTreeSet::new();
    for entry in &entries {
        if !names.insert(&entry.name) {
            return Err(refused(format!("two entries are called `{}`", entry.name.0)).into());
        }
        if !fingerprints.insert(&entry.sha256) {
            let name = &entry.name.0;
            return Err(refused(format!("`{name}` has the key of another entry")).into());
        }
    }
    let kept = |entry: KeyEntry| {
        let mut old = old.iter().flat_map(|old| &old.0);
        match old.find(|key| key.entry == entry) {
            Some(key) => Arc::clone(key),
            None => Arc::new(Key::new(entry)),
        }
    };
    Ok(KeyList(entries.into_iter().map(kept).collect()))
}

fn first_sentence(text: &str) -> String {
    let line = text.lines().find(|line| line.contains("line "));
    line.unwrap_or(text)
        .trim()
        .trim_start_matches("error: ")
        .trim_start_matches("why:")
        .trim_start()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn content(text: &str) -> [FileContent; 1] {
        [FileContent {
            path: PathBuf::from("keys.yaml"),
            bytes: text.as_bytes().to_vec(),
        }]
    }

    fn entry(name: &str, key: &str, more: &str) -> String {
        let sha256 = files::sha256_of(key.as_bytes());
        format!("- name: {name}\n  sha256: {sha256}\n{more}")
    }

    #[test]
    fn mistakes_are_refused_with_their_place_and_without_what_may_be_a_key() {
        let good = entry("a", "one", "");
        for (text, parts) in [
            ("[]", vec!["no entry"]),
            (
                "- name: a\n  key: hunter2hunter2\n",
                vec!["line 2", "`key`"],
            ),
            (
                "- name: a\n  sha256: hunter2hunter2\n",
                vec!["line 2", "64 hexadecimal"],
            ),
            ("- name: a b\n", vec!["line 1", "a name has"]),
            (
                &format!("{good}  role: boss\n"),
                vec!["line 3", "`boss`", "predict"],
            ),
            (&format!("{good}  requests_in_flight: 0\n"), vec!["line 3"]),
            (
                &format!("{good}  requests_per_second: -1\n"),
                vec!["line 3", "0.001"],
            ),
            (&format!("{good}{good}"), vec!["two entries", "`a`"]),
            (
                &format!("{good}{}", entry("b", "one", "")),
                vec!["`b`", "another entry"],
            ),
        ] {
            let error = format!("{:#}", read(&content(text), None).unwrap_err());
            for part in parts {
                assert!(error.contains(part), "{part}: {error}");
            }
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn entries_that_stay_keep_what_is_in_flight() {
        let limit = "  requests_in_flight: 1\n";
        let (a, b) = (entry("a", "one", limit), entry("b", "two", limit));
        let before = read(&content(&format!("{a}{b}")), None).unwrap();
        let _held = (before.0[0].take().unwrap(), before.0[1].take().unwrap());
        let changed = entry("b", "three", limit);
        let after = read(&content(&format!("{a}{changed}")), Some(&before)).unwrap();
        assert_eq!(after.0[0].take().unwrap_err(), KeyLimitReached::InFlight(1));
        assert!(after.0[1].take().is_ok());
    }

    #[test]
    fn what_is_refused_is_not_in_flight() {
        let list = read(
            &content(&entry(
                "a",
                "one",
                "  requests_in_flight: 1\n  requests_per_second: 1\n",
            )),
            None,
        );
        let key = list.unwrap().0.remove(0);
        let held = key.take().unwrap();
        assert_eq!(key.take().unwrap_err(), KeyLimitReached::InFlight(1));
        drop(held);
        assert!(matches!(key.take(), Err(KeyLimitReached::Rate(_))));
        assert_eq!(key.in_flight.load(Ordering::Relaxed), 0);
    }
}
