//! Arguments that the compiler of this machine takes, with every default written out.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::arguments::parse::{ParsedArguments, opposites};
use crate::arguments::refuse;
use crate::profile::{Argument, ChipProfile, reaches};

/// Arguments by name, without the leading dashes. A switch is `on` or `off`.
pub type Arguments = BTreeMap<String, String>;

/// Arguments that a chip's compiler takes, with every default written out.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedArguments<'a> {
    profile: &'a ChipProfile,
    values: Arguments,
}

impl<'a> CheckedArguments<'a> {
    /// The arguments of the compiler of `profile` where nobody asks for any.
    pub fn defaults(profile: &'a ChipProfile) -> Self {
        let version = profile.compiler_version();
        Self::with_defaults(profile, Arguments::new(), version)
    }

    /// `values`, which are possible, and the defaults of a compiler of `version`. Defaults that it
    /// does not know yet are left out, and so is the opposite of a value.
    fn with_defaults(
        profile: &'a ChipProfile,
        mut values: Arguments,
        version: Option<&str>,
    ) -> Self {
        let version = version.unwrap_or_default();
        let is_default = |(name, argument): &(&String, &Argument)| {
            let since = argument.since.as_ref();
            let exists = since.is_none_or(|since| reaches(version, since));
            let excluded = opposites(profile).any(|(a, b)| {
                (a == name.as_str() && values.contains_key(b))
                    || (b == name.as_str() && values.contains_key(a))
            });
            exists && !excluded && !values.contains_key(name.as_str())
        };
        let defaults = profile.arguments.iter().filter(is_default);
        let defaults: Arguments = defaults
            .filter_map(|(name, argument)| Some((name.clone(), argument.default.clone()?)))
            .collect();
        values.extend(defaults);
        Self { profile, values }
    }

    /// The chip that they were checked for.
    pub fn profile(&self) -> &'a ChipProfile {
        self.profile
    }

    pub fn values(&self) -> &Arguments {
        &self.values
    }

    pub fn into_values(self) -> Arguments {
        self.values
    }
}

impl<'a> ParsedArguments<'a> {
    /// The arguments that a compiler of `version` gets. Fails for an argument that a compiler of this
    /// version does not have. Where the version is not known, defaults are those of the version that
    /// the profile describes, and whatever was asked for is passed on.
    pub fn check(self, version: Option<&str>) -> Result<CheckedArguments<'a>> {
        let profile = self.profile();
        let values = self.into_values();
        for name in values.iter().map(|(name, _)| name) {
            let argument = profile.arguments.get(name);
            let since = argument.and_then(|argument| argument.since.as_deref());
            if let (Some(since), Some(version)) = (since, version)
                && !reaches(version, since)
            {
                return Err(refuse::too_new(profile, name, since, version));
            }
        }
        let version = version.or(profile.compiler_version());
        let values = values.into_iter().collect();
        Ok(CheckedArguments::with_defaults(profile, values, version))
    }
}
