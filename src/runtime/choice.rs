//! Which backend runs the artifacts of a bundle on this machine. Nothing falls back: a chip that is not
//! here is an error.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::executor::interpreter::{self, Interpreter, Script, torch_release};
use crate::executor::probe::{self, Places};
use crate::executor::wire::Plugin;
use crate::failure::{Class, Failure};
use crate::plan::LIBTORCH_VERSION;
use crate::profile::{ChipProfile, Sdk};
use crate::runtime::{Backend, Preload};

/// The backend for what was compiled for the chip of `profile`. `plugin` is a libtorchneuron.so that the
/// user names. Where the SDK's torch is that of `neuronc-torch` the library is opened there, otherwise
/// the SDK's own interpreter runs the artifacts.
pub fn backend_for(
    profile: &ChipProfile,
    places: &Places,
    plugin: Option<&Path>,
) -> Result<Backend> {
    if profile.compiler.kind.is_host() {
        return places.torch().map(Backend::host);
    }
    if !places.has_device() {
        return Err(Failure::new(
            Class::Executor,
            format!(
                "the bundle runs on chip `{}`, which is not here",
                profile.name
            ),
        )
        .why("this machine has no Neuron device")
        .help(
            "run it on an instance with that chip, or trace the model for `--chip cpu`; \
             `neuronc doctor` says what is missing",
        )
        .into());
    }
    let sdk = probe::sdk_of(profile)?;
    if let Some(file) = plugin {
        let file = file.to_owned();
        let preload = Preload::Plugin(Plugin { file, torch: None });
        let library = runtime_library(sdk, None);
        return Ok(Backend::chip(places.torch()?, preload, library.as_deref()));
    }
    let interpreter = places.sdk(profile)?;
    let library = runtime_library(sdk, Some(&interpreter));
    let torch = interpreter.probed.torch.clone();
    if let (Some(version), Some(file)) = (&torch, in_packages(&interpreter, &sdk.plugin))
        && shares_our_process(version)
    {
        let preload = Preload::Plugin(Plugin { file, torch });
        return Ok(Backend::chip(places.torch()?, preload, library.as_deref()));
    }
    let script = Script::write(&places.temporary)?;
    let folder = script.folder();
    let program = interpreter::executor(&interpreter.path, folder, folder);
    let preload = Preload::Module(sdk.module.clone());
    Ok(Backend::chip(program, preload, library.as_deref()).with_script(script))
}

/// Whether a library for that torch can be opened beside our libtorch: releases that differ in their
/// last number only are binary compatible.
fn shares_our_process(torch: &str) -> bool {
    let series = |version: &str| {
        version
            .rsplit_once('.')
            .map(|(series, _)| series.to_owned())
    };
    series(torch_release(torch)) == series(LIBTORCH_VERSION)
}

/// A file of a package in the interpreter's environment.
fn in_packages(interpreter: &Interpreter, relative: &str) -> Option<PathBuf> {
    let folders = interpreter.probed.site_packages.iter();
    let mut files = folders.map(|folder| Path::new(folder).join(relative));
    files.find(|file| file.is_file())
}

/// libnrt where the profile says it is: a place of its own, or in the environment.
fn runtime_library(sdk: &Sdk, interpreter: Option<&Interpreter>) -> Option<PathBuf> {
    let named = sdk.runtime_library.as_deref()?;
    match Path::new(named).is_absolute() {
        true => Some(PathBuf::from(named)),
        false => in_packages(interpreter?, named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_torch_of_our_series_shares_our_process() {
        assert!(shares_our_process("2.9.0+cu128"));
        assert!(shares_our_process("2.9.1"));
        assert!(!shares_our_process("2.8.0"));
        assert!(!shares_our_process("1.13.0a0"));
    }
}
