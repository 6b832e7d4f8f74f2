//! The parts of a TorchScript file that describe its graph.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::Path;

use anyhow::Result;
use zip::ZipArchive;

use crate::coverage::graph::pickle;
use crate::coverage::graph::traced_graph::StoredTensor;
use crate::failure::Failure;
use crate::family::weights;

/// The most bytes of one part when unpacked.
const PART_BYTES_MAX: u64 = 64 << 20;

/// The texts and tables of one TorchScript file.
#[derive(Debug, Default)]
pub(super) struct Archive {
    /// By the dotted name of what they define, such as `__torch__.torch.nn.modules.linear`.
    pub(super) code: BTreeMap<String, String>,
    pub(super) module: pickle::PickledModule,
    /// The constants, `CONSTANTS.c0` and so on.
    pub(super) constants: Vec<StoredTensor>,
    /// The shapes of the inputs that the graph was traced with, where the file has them.
    pub(super) traced_shapes: Vec<Vec<usize>>,
}

/// Reads the archive without its weights, so that their size does not matter. Only code must be
/// there; what else is missing or not understood stays unknown.
pub(super) fn read(path: &Path) -> Result<Archive> {
    let unreadable = |why: String| {
        Failure::usage(format!("`{}` is not a TorchScript file", path.display())).why(why)
    };
    let map = weights::map_file(path)?;
    let mut parts = ArchiveParts {
        zip: ZipArchive::new(Cursor::new(&map[..]))
            .map_err(|error| unreadable(error.to_string()))?,
    };
    let mut archive = Archive::default();
    for name in parts.names() {
        let Some((_, inside)) = name.split_once('/') else {
            continue;
        };
        if let Some(module) = inside
            .strip_prefix("code/")
            .and_then(|inside| inside.strip_suffix(".py"))
        {
            let bytes = parts
                .read(&name)
                .map_err(|error| unreadable(format!("`{name}`: {error}")))?;
            let code = String::from_utf8(bytes)
                .map_err(|error| unreadable(format!("`{name}`: {error}")))?;
            archive.code.insert(module.replace('/', "."), code);
        }
        match inside {
            "data.pkl" => {
                let bytes = parts.read(&name).unwrap_or_default();
                archive.module = pickle::module(&bytes).unwrap_or_default();
            }
            "constants.pkl" => archive.constants = parts.constants(&name),
            "traced_inputs.pkl" => {
                let tensors = parts.tensors(&name).into_iter();
                archive.traced_shapes = tensors.map(|(_, shape)| shape).collect();
            }
            _ => {}
        }
    }
    if archive.code.is_empty() {
        return Err(unreadable("the archive has no `code/`".to_owned()).into());
    }
    Ok(archive)
}

/// The parts of the zip archive.
struct ArchiveParts<'map> {
    zip: ZipArchive<Cursor<&'map [u8]>>,
}

impl ArchiveParts<'_> {
    fn names(&self) -> Vec<String> {
        self.zip
            .file_names()
            .filter_map(|name| name.ok().map(Cow::into_owned))
            .collect()
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let part = self.zip.by_name(name)?;
        part.take(PART_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn tensors(&mut self, name: &str) -> Vec<(String, Vec<usize>)> {
        let bytes = self.read(name).unwrap_or_default();
        pickle::load(&bytes).map_or(Vec::new(), |value| pickle::tensors(&value))
    }

    /// The constants with their shapes, and the values of whole numbers: sizes are computed from
    /// them.
    fn constants(&mut self, name: &str) -> Vec<StoredTensor> {
        let folder = name.trim_end_matches(".pkl").to_owned();
        let tensors = self.tensors(name);
        let constant = |(index, (storage, shape)): (usize, (String, Vec<usize>))| StoredTensor {
            path: format!("CONSTANTS.c{index}"),
            number: shape
                .is_empty()
                .then(|| self.number(&folder, &storage))
                .flatten(),
            shape: Some(shape),
        };
        tensors.into_iter().enumerate().map(constant).collect()
    }

    fn number(&mut self, folder: &str, storage: &str) -> Option<i64> {
        let key = storage.strip_prefix("torch.LongStorage/")?;
        let bytes = self.read(&format!("{folder}/{key}")).ok()?;
        Some(i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?))
    }
}
