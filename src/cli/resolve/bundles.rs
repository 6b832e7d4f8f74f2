//! The bundles that options name, and what all bundles of one server have in common.

use anyhow::Result;

use crate::bundle::{Bundle, Check};
use crate::cli::flags::placement::PlacementFlags;
use crate::failure::{Failure, name_list, printable};
use crate::placement::cores::CoreList;
use crate::placement::model;
use crate::profile::ChipProfile;
use crate::serve::check_model_name;

/// An opened bundle, with its name and the cores that it may use.
#[derive(Debug)]
pub(in crate::cli) struct BundleToPlace {
    pub(in crate::cli) name: String,
    pub(in crate::cli) bundle: Bundle,
    pub(in crate::cli) cores: Option<CoreList>,
}

impl BundleToPlace {
    fn check_name(&self) -> Result<()> {
        check_model_name(&self.name).map_err(|why| {
            let what = format!("a model cannot be called `{}`", printable(&self.name));
            let failure = Failure::usage(what).why(why);
            failure.help("name it with `--model NAME=BUNDLE`").into()
        })
    }
}

/// Opens every bundle; the order is that of the command line, `--model` last.
pub(in crate::cli) fn open(flags: &PlacementFlags, check: Check) -> Result<Vec<BundleToPlace>> {
    if flags.bundles.is_empty() && flags.model.is_empty() {
        return Err(Failure::usage("no bundle is given")
            .help("make one with `neuronc trace MODEL -o BUNDLE`, and name it here")
            .into());
    }
    let plain = flags.bundles.iter().map(|folder| {
        let bundle = Bundle::open(folder, check)?;
        Ok(BundleToPlace {
            name: bundle.manifest.plan.name.clone(),
            bundle,
            cores: None,
        })
    });
    let named = flags.model.iter().map(|named| {
        Ok(BundleToPlace {
            name: named.name.clone(),
            bundle: Bundle::open(&named.bundle, check)?,
            cores: named.cores.clone(),
        })
    });
    let opened: Vec<BundleToPlace> = plain.chain(named).collect::<Result<_>>()?;
    opened.iter().try_for_each(BundleToPlace::check_name)?;
    Ok(opened)
}

/// The one chip that all bundles are for.
pub(in crate::cli) fn chip(opened: &[BundleToPlace]) -> Result<&str> {
    let mut chips: Vec<&str> = opened
        .iter()
        .map(|opened| opened.bundle.manifest.plan.chip.as_str())
        .collect();
    chips.sort_unstable();
    chips.dedup();
    match chips.as_slice() {
        [chip] => Ok(chip),
        _ => Err(Failure::usage("the bundles are for different chips")
            .why(format!("they are for {}", name_list(chips)))
            .help("one server has one kind of chip: trace the others for it")
            .into()),
    }
}

/// The core size that all bundles are compiled for. A machine is divided into cores of one size, so the
/// bundles must agree.
pub(super) fn core_size(opened: &[BundleToPlace], profile: &ChipProfile) -> Result<Option<u32>> {
    let mut sizes = Vec::new();
    for opened in opened {
        sizes.push(model::core_size(&opened.bundle.manifest.plan, profile)?);
    }
    sizes.dedup();
    match sizes.as_slice() {
        [size] => Ok(*size),
        _ => Err(
            Failure::usage("the bundles are compiled for different core sizes")
                .why("cores are counted in one size on a machine")
                .help("trace them with the same `lnc`")
                .into(),
        ),
    }
}
