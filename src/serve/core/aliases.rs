//! A name that stands for several models, each with a share of the requests: for trying a new model on
//! some of them, and for going back at once.

use std::sync::{Mutex, PoisonError};

/// Which models answer under the name.
#[derive(Debug)]
pub(crate) struct Alias {
    targets: Vec<AliasTarget>,
    /// What each target is owed; see [`Alias::choose`].
    credits: Mutex<Vec<i64>>,
    /// The targets before these, for going back.
    previous: Option<Vec<AliasTarget>>,
}

/// One of the models of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AliasTarget {
    pub(crate) model: String,
    pub(crate) weight: u32,
}

impl Alias {
    /// An alias in place of another one. At least one target must have a weight.
    pub(crate) fn new(targets: Vec<AliasTarget>, before: Option<&Alias>) -> Option<Self> {
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

    pub(crate) fn targets(&self) -> &[AliasTarget] {
        &self.targets
    }

    pub(crate) fn previous(&self) -> Option<&[AliasTarget]> {
        self.previous.as_deref()
    }

    /// Of the models that `is_here` is true of, the one whose turn it is. Turns are as even as they can be,
    /// as in nginx' smooth weighted round-robin: each request credits every such target with its weight,
    /// and the one with most credit pays for all.
    pub(crate) fn choose(&self, is_here: impl Fn(&str) -> bool) -> Option<&str> {
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = 0;
        let mut best: Option<usize> = None;
        for (index, target) in self.targets.iter().enumerate() {
            if target.weight == 0 || !is_here(&target.model) {
                continue;
            }
            credits[index] += i64::from(target.weight);
            total += i64::from(target.weight);
            if best.is_none_or(|best| credits[index] > credits[best]) {
                best = Some(index);
            }
        }
        let best = best?;
        credits[best] -= total;
        Some(&self.targets[best].model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(weights: &[(&str, u32)]) -> Option<Alias> {
        let target = |(model, weight): &(&str, u32)| AliasTarget {
            model: (*model).to_owned(),
            weight: *weight,
        };
        Alias::new(weights.iter().map(target).collect(), None)
    }

    #[test]
    fn every_model_gets_its_share_and_turns_are_spread() {
        let alias = alias(&[("a", 3), ("none", 0), ("b", 1)]).unwrap();
        let turns: Vec<&str> = (0..8).filter_map(|_| alias.choose(|_| true)).collect();
        assert_eq!(turns, ["a", "a", "b", "a", "a", "a", "b", "a"]);
    }

    #[test]
    fn turns_are_among_those_that_are_here() {
        let alias = alias(&[("a", 3), ("b", 1)]).unwrap();
        let mut taken = [0, 0];
        for turn in 0..80 {
            // Every other request comes in where only `b` is.
            let is_here = |model: &str| turn % 2 == 0 || model == "b";
            match (turn % 2, alias.choose(is_here)) {
                (1, model) => assert_eq!(model, Some("b")),
                (_, model) => taken[usize::from(model == Some("b"))] += 1,
            }
        }
        assert_eq!(
            taken,
            [30, 10],
            "the shares of the others are what they were"
        );
        assert_eq!(alias.choose(|_| false), None);
    }

    #[test]
    fn an_alias_of_nothing_is_none() {
        assert!(alias(&[]).is_none());
        assert!(alias(&[("a", 0)]).is_none());
        let first_without = alias(&[("a", 0), ("b", 2)]).unwrap();
        assert_eq!(first_without.choose(|_| true), Some("b"));
    }

    #[test]
    fn what_was_before_is_kept() {
        let old = alias(&[("a", 1)]).unwrap();
        let new = Alias::new(
            vec![AliasTarget {
                model: "b".to_owned(),
                weight: 1,
            }],
            Some(&old),
        );
        assert_eq!(new.unwrap().previous().unwrap()[0].model, "a");
    }
}
