//! The options of `place` and `serve` that say which bundles run on which cores.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::placement::cores::{CoreList, Cores};

/// Bundles, and the cores that they may use.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::cli) struct PlacementFlags {
    /// Bundles that `neuronc trace` made; each takes the cores that are left, in turn.
    #[arg(value_name = "BUNDLE")]
    pub(in crate::cli) bundles: Vec<PathBuf>,

    /// A bundle under a name of its own, and on cores of its own such as `0-3` or `0,2,5-7`.
    #[arg(long, value_name = "NAME=BUNDLE[@CORES]", value_parser = NamedBundle::parse)]
    pub(in crate::cli) model: Vec<NamedBundle>,

    /// How many cores, or which: `4`, `0-3`, `0,2,5-7`; one core is `5-5` [default: all].
    #[arg(long, value_name = "N|LIST", value_parser = parse_cores)]
    pub(in crate::cli) cores: Option<Cores>,

    /// Models that a core may hold [default: 1].
    #[arg(long, value_name = "K")]
    pub(in crate::cli) models_per_core: Option<NonZeroUsize>,
}

/// A bundle with the name under which it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct NamedBundle {
    pub(in crate::cli) name: String,
    pub(in crate::cli) bundle: PathBuf,
    pub(in crate::cli) cores: Option<CoreList>,
}

impl NamedBundle {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((name, rest)) = text.split_once('=') else {
            return Err("write it as NAME=BUNDLE or NAME=BUNDLE@CORES".to_owned());
        };
        // A path may have an @ of its own.
        let is_list = |text: &&str| {
            let mut characters = text.chars();
            characters.all(|c| c.is_ascii_digit() || ",- ".contains(c)) && !text.is_empty()
        };
        let parts = rest.rsplit_once('@').filter(|(_, list)| is_list(list));
        let (bundle, cores) = match parts {
            None => (rest, None),
            Some((bundle, list)) => {
                let cores =
                    CoreList::parse(list, "after the @,").map_err(|error| error.to_string())?;
                (bundle, Some(cores))
            }
        };
        if name.is_empty() || bundle.is_empty() {
            return Err("neither the name nor the bundle may be empty".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            bundle: PathBuf::from(bundle),
            cores,
        })
    }
}

fn parse_cores(text: &str) -> Result<Cores, String> {
    Cores::parse(text, "--cores").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_bundle_may_have_cores_and_an_at_sign_in_its_path() {
        let parsed = |text: &str| {
            let named = NamedBundle::parse(text).unwrap();
            let cores = named.cores.map(|list| list.to_string());
            (named.name, named.bundle.display().to_string(), cores)
        };
        let named = |name: &str, bundle: &str, cores: Option<&str>| {
            (name.to_owned(), bundle.to_owned(), cores.map(str::to_owned))
        };
        assert_eq!(parsed("a=b"), named("a", "b", None));
        assert_eq!(parsed("a=b@0,2-3"), named("a", "b", Some("0,2-3")));
        assert_eq!(parsed("a=b@home/c"), named("a", "b@home/c", None));
        assert_eq!(parsed("a=b@home/c@7"), named("a", "b@home/c", Some("7")));
        for wrong in ["a", "=b", "a=", "a=@1", "a=b@3-1"] {
            assert!(NamedBundle::parse(wrong).is_err(), "{wrong}");
        }
    }
}
