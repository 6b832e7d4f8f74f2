//! A library that registers operators and classes, such as libtorchneuron.so: checked, then opened for
//! the rest of the process.
//!
//! What does not fit is told before it is opened: the loader names one symbol, not the reason. The
//! words are found again by the entries of `neuronc::explain`.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use neuronc::executor::wire::Plugin;
use neuronc::family::weights::map_file;
use neuronc::files;
use object::{Architecture, File, Object as _, ObjectKind, ObjectSymbol as _};

use crate::LIBTORCH_VERSION;

/// Where torch says which version it is, seen from a plugin in `site-packages/torch_neuronx/lib`.
const TORCH_VERSION_FILE: &str = "../../torch/version.py";

/// Namespaces of libtorch, as they stand in a mangled name.
const NAMESPACES: [&str; 3] = ["5torch", "3c10", "2at"];

/// What a mangled name has where the C++ library has its ABI of 2015.
const NEW_ABI: &str = "__cxx11";

/// A string as a parameter in the ABI before that.
const OLD_ABI: &str = "RKSs";

/// Opens the library; libtorch knows its operators from then on.
pub fn open(plugin: &Plugin) -> Result<()> {
    let shown = plugin.file.display();
    ensure!(plugin.file.is_file(), "the plugin `{shown}` does not exist");
    check_content(&plugin.file)?;
    check_version(plugin)?;
    // SAFETY: opening runs its initialisers, as for every library that a program is linked with. Whoever
    // started this process chose the library, and could have started any other program.
    #[expect(unsafe_code, reason = "opening a library runs its code")]
    let library = unsafe { Library::open(Some(&plugin.file), RTLD_NOW | RTLD_GLOBAL) };
    let library = library.map_err(|error| {
        // The reason of the loader is behind the error, not in it.
        let reason =
            std::error::Error::source(&error).map_or(error.to_string(), |cause| cause.to_string());
        anyhow::anyhow!("the plugin `{shown}` cannot be opened: {reason}")
    })?;
    // What it registered is used until the process ends.
    let _ = library.into_raw();
    Ok(())
}

/// The plugin is a library for this processor, and its C++ ABI is that of our libtorch.
fn check_content(path: &Path) -> Result<()> {
    let shown = path.display();
    let map = map_file(path).with_context(|| format!("the plugin `{shown}` cannot be read"))?;
    let library = File::parse(&*map)
        .ok()
        .filter(|file| file.kind() == ObjectKind::Dynamic);
    let Some(library) = library else {
        bail!("the plugin `{shown}` is not a library");
    };
    let processor = match library.architecture() {
        Architecture::X86_64 => "x86_64",
        Architecture::Aarch64 => "aarch64",
        _ => "another processor",
    };
    ensure!(
        processor == std::env::consts::ARCH,
        "the plugin `{shown}` is a library for {processor}, and this machine is {}",
        std::env::consts::ARCH
    );
    if let Some(symbol) = old_abi(&library) {
        bail!(
            "the plugin `{shown}` was built with the old C++ ABI, and libtorch {LIBTORCH_VERSION} with the \
             new one: it wants `{symbol}`"
        );
    }
    Ok(())
}

/// A symbol that the library wants of a libtorch with the old ABI, where it wants none of the new.
fn old_abi<'data>(library: &File<'data>) -> Option<&'data str> {
    let wanted = library
        .dynamic_symbols()
        .filter(|symbol| symbol.is_undefined())
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| {
            let inner = name
                .strip_prefix("_ZN")
                .map(|rest| rest.trim_start_matches('K'));
            inner.is_some_and(|inner| {
                NAMESPACES
                    .iter()
                    .any(|namespace| inner.starts_with(namespace))
            })
        });
    let mut old = None;
    for name in wanted {
        if name.contains(NEW_ABI) {
            return None;
        }
        if name.contains(OLD_ABI) {
            old.get_or_insert(name);
        }
    }
    old
}

/// The plugin was built for the torch of this process; patches of one release have the same interface.
fn check_version(plugin: &Plugin) -> Result<()> {
    let built_for = match &plugin.torch {
        Some(version) => Some(version.clone()),
        None => version_around(&plugin.file)?,
    };
    // A library outside of a Python environment carries no version; its symbols were looked at.
    let Some(built_for) = built_for else {
        return Ok(());
    };
    ensure!(
        release(&built_for) == release(LIBTORCH_VERSION),
        "the plugin `{}` was built for torch {built_for}, and this process has libtorch {LIBTORCH_VERSION}",
        plugin.file.display()
    );
    Ok(())
}

/// The version in the Python environment around `plugin`, if there is one.
fn version_around(plugin: &Path) -> Result<Option<String>> {
    let file = files::parent(plugin).join(TORCH_VERSION_FILE);
    match file.is_file() {
        true => Ok(version_in(&files::read_text(&file)?)),
        false => Ok(None),
    }
}

/// The version that `torch/version.py` assigns.
fn version_in(text: &str) -> Option<String> {
    let assigned = text
        .lines()
        .find_map(|line| line.strip_prefix("__version__"))?;
    let quoted = assigned.split(['\'', '"']).nth(1)?;
    Some(quoted.to_owned())
}

/// Major and minor version.
fn release(version: &str) -> Vec<&str> {
    version.split(['.', '+']).take(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_as_torch_writes_it() {
        let text = "from typing import Optional\n\n__all__ = ['__version__']\n__version__ = '2.9.1+cpu'\ndebug = False\n";
        assert_eq!(version_in(text).as_deref(), Some("2.9.1+cpu"));
        assert_eq!(version_in("debug = False\n"), None);
        assert_eq!(release("2.9.1+cpu"), release(LIBTORCH_VERSION));
        assert_ne!(release("2.10.0"), release("2.1.0"));
    }
}
