//! Judges the facts about a machine: what is wrong with it, and how to fix that. Pure.

mod device;
mod machine;
mod sdk;

use crate::doctor::facts::MachineFacts;
use crate::doctor::finding::Finding;
use crate::profile::ChipProfile;

/// All findings, the worst first. Findings that differ only in their chip are merged into one.
pub fn find(machine: &MachineFacts, chips: &[ChipProfile]) -> Vec<Finding> {
    let neuron = chips.iter().filter_map(|chip| {
        let sdk = chip.sdk.as_ref()?;
        let mut found = device::of_chip(machine, chip, sdk);
        found.extend(sdk::of_chip(machine, chip, sdk));
        Some(found)
    });
    let mut found = machine::of_host(machine, chips);
    found.extend(neuron.flatten());
    let mut merged: Vec<Finding> = Vec::new();
    for finding in found {
        let key = |f: &Finding| Finding {
            chips: Vec::new(),
            ..f.clone()
        };
        match merged.iter_mut().find(|known| key(known) == key(&finding)) {
            Some(known) => known.chips.extend(finding.chips),
            None => merged.push(finding),
        }
    }
    merged.sort_by_key(|finding| finding.severity);
    merged
}
