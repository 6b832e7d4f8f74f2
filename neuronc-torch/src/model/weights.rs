//! The weights that a forward takes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use tch::Tensor;

/// The weights of a forward by their names in bundles.
pub struct Weights<'a>(BTreeMap<&'a str, &'a Tensor>);

impl<'a> Weights<'a> {
    /// Fails when there are not as many tensors as names.
    pub fn new(names: &'a [String], tensors: &'a [Tensor]) -> Result<Self> {
        ensure!(
            names.len() == tensors.len(),
            "{} weights for {} names",
            tensors.len(),
            names.len()
        );
        let names = names.iter().map(String::as_str);
        Ok(Self(names.zip(tensors).collect()))
    }

    pub(super) fn get(&self, name: &str) -> Result<&'a Tensor> {
        let weight = self.0.get(name).copied();
        weight.with_context(|| format!("the forward takes no weight `{name}`"))
    }
}
