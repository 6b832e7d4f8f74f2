//! A name that stands for several models, each with a share of the requests: for trying a new model on
//! some of them, and for going back at once.

use std::sync::{Mutex, PoisonError};

/// Which models answer under the name.
#[derive(Debug)]
pub(super) struct Alias {
    targets: Vec<Target>,
    /// What each target is owed; see [`Alias::choose`].
    credits: Mutex<Vec<i64>>,
    /// The targets before these, for going back.
    previous: Option<Vec<Target>>,
}

/// One of the models of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) model: String,
    pub(super) weight: u32,
}

impl Alias {
    /// An alias in place of another one. At least one target must have a weight.
    pub(super) fn new(targets: Vec<Target>, before: Option<&Alias>) -> Option<Self> {
        if targets.iter().all(|target| target.weight == 0) {
            return None;
        }
        let previous = before.map(|before| before.targets.clone());
        Some(Self {
            credits: Mutex::new(vec![0; targets.len()]),
            targets,
            previous,
        })
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub(super) fn previous(&self) -> Option<&[Target]> {
        self.previous.as_deref()
    }

    /// The model whose turn it is. Turns are as even as they can be, as in nginx' smooth weighted
    /// round-robin: each request credits every target with its weight, and the one with most credit
    /// pays for all.
    pub(super) fn choose(&self) -> &str {
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = 0;
        let mut best = 0;
        for (index, target) in self.targets.iter().enumerate() {
            credits[index] += i64::from(target.weight);
            total += i64::from(target.weight);
            if target.weight > 0
                && (self.targets[best].weight == 0 || credits[index] > credits[best])
            {
                best = index;
            }
        }
        credits[best] -= total;
        &self.targets[best].model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(weights: &[(&str, u32)]) -> Option<Alias> {
        let target = |(model, weight): &(&str, u32)| Target {
            model: (*model).to_owned(),
            weight: *weight,
        };
        Alias::new(weights.iter().map(target).collect(), None)
    }

    #[test]
    fn every_model_gets_its_share_and_turns_are_spread() {
        let alias = alias(&[("a", 3), ("none", 0), ("b", 1)]).unwrap();
        let turns: Vec<&str> = (0..8).map(|_| alias.choose()).collect();
        assert_eq!(turns, ["a", "a", "b", "a", "a", "a", "b", "a"]);
    }

    #[test]
    fn an_alias_of_nothing_is_none() {
        assert!(alias(&[]).is_none());
        assert!(alias(&[("a", 0)]).is_none());
        let first_without = alias(&[("a", 0), ("b", 2)]).unwrap();
        assert_eq!(first_without.choose(), "b");
    }

    #[test]
    fn what_was_before_is_kept() {
        let old = alias(&[("a", 1)]).unwrap();
        let new = Alias::new(
            vec![Target {
                model: "b".to_owned(),
                weight: 1,
            }],
            Some(&old),
        );
        assert_eq!(new.unwrap().previous().unwrap()[0].model, "a");
    }
}
