//! Derives from the findings what the machine can do for each chip.

use serde::Serialize;

use crate::doctor::finding::{Capability, Finding};
use crate::profile::ChipProfile;

/// The readiness of the machine for a chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    pub chip: String,
    pub title: String,
    pub trace: bool,
    pub serve: bool,
    /// Missing things, in a few words each.
    pub lacks: Vec<&'static str>,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.trace && self.serve
    }
}

/// The readiness for each of `chips`.
pub fn of(chips: &[ChipProfile], findings: &[Finding]) -> Vec<Readiness> {
    let readiness = |chip: &ChipProfile| {
        let own: Vec<&Finding> = findings.iter().filter(|f| f.is_about(&chip.name)).collect();
        let can = |work| !own.iter().any(|finding| finding.blocks.contains(&work));
        let mut lacks = Vec::new();
        for lack in own.iter().filter_map(|finding| finding.lacks) {
            if !lacks.contains(&lack) {
                lacks.push(lack);
            }
        }
        Readiness {
            chip: chip.name.clone(),
            title: chip.title.clone(),
            trace: can(Capability::Trace),
            serve: can(Capability::Serve),
            lacks,
        }
    };
    chips.iter().map(readiness).collect()
}

/// All in one sentence: `this machine can trace and serve for cpu; for inf2 it lacks a device`.
pub fn sentence(chips: &[Readiness]) -> String {
    let of = |trace: bool, serve: bool| {
        let fit = move |c: &&Readiness| (c.trace, c.serve) == (trace, serve);
        let names = chips.iter().filter(fit).map(|chip| chip.chip.as_str());
        names.collect::<Vec<_>>()
    };
    let can = [
        ("trace and serve", of(true, true)),
        ("trace", of(true, false)),
        ("serve", of(false, true)),
    ];
    let can: Vec<String> = can
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(work, names)| format!("{work} for {}", list(&names)))
        .collect();
    let groups = lacking(chips);
    let nothing = of(false, false);
    let start = match (can.is_empty(), groups.as_slice()) {
        (false, _) => format!("this machine can {}", can.join(", and ")),
        (true, [(chip, names)]) => {
            return format!(
                "this machine can neither trace nor serve for {}: it lacks {}",
                list(names),
                list(&chip.lacks)
            );
        }
        (true, _) => format!(
            "this machine can neither trace nor serve for {}",
            list(&nothing)
        ),
    };
    let lacks = groups.iter().map(|(chip, names)| {
        let lacks = list(&chip.lacks);
        match (chip.trace, chip.serve) {
            (true, false) => format!("to serve for {} it lacks {lacks}", list(names)),
            (false, true) => format!("to trace for {} it lacks {lacks}", list(names)),
            _ => format!("for {} it lacks {lacks}", list(names)),
        }
    });
    let parts: Vec<String> = std::iter::once(start).chain(lacks).collect();
    parts.join("; ")
}

/// The chips that are not ready; those that lack the same things for the same capability are grouped.
fn lacking(chips: &[Readiness]) -> Vec<(&Readiness, Vec<&str>)> {
    let mut groups: Vec<(&Readiness, Vec<&str>)> = Vec::new();
    for chip in chips.iter().filter(|chip| !chip.is_ready()) {
        let is_alike =
            |c: &Readiness| (c.trace, c.serve, &c.lacks) == (chip.trace, chip.serve, &chip.lacks);
        match groups.iter_mut().find(|(first, _)| is_alike(first)) {
            Some((_, names)) => names.push(&chip.chip),
            None => groups.push((chip, vec![&chip.chip])),
        }
    }
    groups
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chip(name: &str, can: &[Capability], lacks: &[&'static str]) -> Readiness {
        Readiness {
            chip: name.to_owned(),
            title: name.to_owned(),
            trace: can.contains(&Capability::Trace),
            serve: can.contains(&Capability::Serve),
            lacks: lacks.to_vec(),
        }
    }

    #[test]
    fn the_sentence_says_what_can_be_done_and_what_is_missing() {
        let all = [
            chip("cpu", &[Capability::Trace, Capability::Serve], &[]),
            chip("inf1", &[], &["a device", "the SDK"]),
            chip("inf2", &[Capability::Trace], &["a device"]),
            chip("trn1", &[Capability::Trace], &["a device"]),
        ];
        assert_eq!(
            sentence(&all),
            "this machine can trace and serve for cpu, and trace for inf2 and trn1; \
             for inf1 it lacks a device and the SDK; to serve for inf2 and trn1 it lacks a device"
        );
        assert_eq!(
            sentence(&all[1..2]),
            "this machine can neither trace nor serve for inf1: it lacks a device and the SDK"
        );
        assert_eq!(
            sentence(&all[..1]),
            "this machine can trace and serve for cpu"
        );
    }
}
