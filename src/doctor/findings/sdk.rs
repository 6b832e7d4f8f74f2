//! Findings about the SDK of a Neuron chip: whether an environment has it, and all of it.

use crate::doctor::facts::MachineFacts;
use crate::doctor::finding::{Capability, Finding};
use crate::doctor::sdk::{SdkEnvironment, SdkFit};
use crate::executor::events::Probed;
use crate::profile::{ChipProfile, Sdk};

const BOTH: &[Capability] = &[Capability::Trace, Capability::Serve];

/// Part of the message with which the placeholder package of the public index fails to import.
const PLACEHOLDER: &str = "WRONG PACKAGE";

pub(super) fn of_chip(machine: &MachineFacts, chip: &ChipProfile, sdk: &Sdk) -> Vec<Finding> {
    let candidates = machine.sdk.iter().filter_map(|environment| {
        let fit = environment.chips.get(&chip.name)?;
        Some((environment, fit))
    });
    let candidates: Vec<_> = candidates.collect();
    let serving = candidates.iter().find(|(_, fit)| fit.problem.is_none());
    let found = match serving {
        None => vec![none(&candidates, sdk)],
        Some((environment, fit)) => complete(environment, fit, chip, sdk),
    };
    found.into_iter().map(|finding| finding.of(chip)).collect()
}

fn none(candidates: &[(&SdkEnvironment, &SdkFit)], sdk: &Sdk) -> Finding {
    let placeholder = candidates
        .iter()
        .find(|(environment, _)| is_placeholder(environment.probed.as_ref(), sdk));
    let package = sdk.module.replace('_', "-");
    if let Some((environment, _)) = placeholder {
        let python = environment.python.display();
        return Finding::problem(
            "placeholder-package",
            BOTH,
            "the SDK",
            format!("`{package}` of `{python}` is the placeholder of the public index"),
        )
        .why("the package of that name in the public index only says that it is the wrong one")
        .fix(format!(
            "`{python} -m pip uninstall {package}`, then install it from AWS's repository with \
             `--extra-index-url https://pip.repos.neuron.amazonaws.com`"
        ));
    }
    let tried = candidates.iter().map(|(environment, fit)| {
        let problem = fit.problem.as_deref().unwrap_or_default();
        format!("`{}`: {problem}", environment.python.display())
    });
    let tried: Vec<String> = tried.collect();
    let why = if tried.is_empty() {
        "no known environment is here, and no `python3` on `PATH`".to_owned()
    } else {
        tried.join("\n")
    };
    Finding::problem(
        "no-sdk",
        BOTH,
        "the SDK",
        format!(
            "no Python here has the Neuron SDK (`{}`) for this chip",
            sdk.module
        ),
    )
    .why(why)
    .fix(format!(
        "name an environment that has it with `--sdk PATH`, or use a machine image or a container \
         of Neuron SDK {}",
        sdk.release
    ))
}

fn is_placeholder(probed: Option<&Probed>, sdk: &Sdk) -> bool {
    let why = probed.and_then(|probed| probed.missing.get(&sdk.module));
    why.is_some_and(|why| why.contains(PLACEHOLDER))
}

/// Findings about an environment that has the SDK's module: missing parts, and other versions.
fn complete(
    environment: &SdkEnvironment,
    fit: &SdkFit,
    chip: &ChipProfile,
    sdk: &Sdk,
) -> Vec<Finding> {
    let python = environment.python.display();
    let packages = environment.probed.as_ref().map(|probed| &probed.packages);
    let mut found = Vec::new();
    let compiler = chip.compiler.package.as_deref();
    if let (Some(compiler), Some(packages)) = (compiler, packages)
        && !packages.contains_key(compiler)
    {
        found.push(
            Finding::problem(
                "no-compiler",
                &[Capability::Trace],
                "the compiler",
                format!("the compiler `{compiler}` is not installed beside the SDK"),
            )
            .why(format!("`{python}` has `{}` without it", sdk.module))
            .fix(format!("install `{compiler}` there, from AWS's repository")),
        );
    }
    if fit.plugin.is_none() {
        let plugin = &sdk.plugin;
        found.push(
            Finding::problem(
                "no-plugin",
                &[Capability::Serve],
                "the SDK's library for libtorch",
                "the SDK's library for libtorch is missing",
            )
            .why(format!("none of the packages of `{python}` has `{plugin}`"))
            .fix(format!(
                "install `{}` there anew",
                sdk.module.replace('_', "-")
            )),
        );
    }
    let others: Vec<String> = packages
        .into_iter()
        .flatten()
        .filter_map(|(name, version)| {
            let expected = sdk.packages.get(name)?;
            (version != expected).then(|| format!("{name} {version}, not {expected}"))
        })
        .collect();
    if !others.is_empty() {
        found.push(
            Finding::note(
                "other-release",
                format!("`{python}` is not of SDK {}", sdk.release),
            )
            .why(others.join("\n"))
            .fix("nothing, as long as it works: neuronc's facts on this chip are of that release"),
        );
    }
    found
}
