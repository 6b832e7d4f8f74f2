//! From the names and shapes that a family expects to the tensors that the files hold.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use memmap2::Mmap;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// How the forward uses a weight; decides what a cast mode does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Looked up by index.
    Embedding,
    /// Operand of a matrix product, or the bias added to it.
    Matmul,
    /// Everything else, such as the scale of a layer norm.
    Other,
}

/// A weight that a forward takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSpec {
    /// The name in bundles.
    pub name: String,
    pub shape: Vec<usize>,
    pub used_as: Use,
    /// The names under which checkpoints hold it, in order of preference.
    aliases: Vec<String>,
}

impl WeightSpec {
    pub fn new(name: &str, shape: &[usize], used_as: Use) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            used_as,
            aliases: vec![name.to_owned()],
        }
    }

    /// Also found as `alias`.
    #[must_use]
    pub fn or_named(mut self, alias: &str) -> Self {
        self.aliases.push(alias.to_owned());
        self
    }

    /// Also found under each of its names behind `prefix`.
    #[must_use]
    pub fn or_prefixed(mut self, prefix: &str) -> Self {
        let prefixed: Vec<String> = self
            .aliases
            .iter()
            .map(|alias| format!("{prefix}{alias}"))
            .collect();
        self.aliases.extend(prefixed);
        self
    }
}

/// Where a weight is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightSource {
    /// The name in bundles.
    pub name: String,
    pub used_as: Use,
    pub file: PathBuf,
    /// The name in that file.
    pub tensor: String,
}

/// One tensor as a file's header describes it.
struct Found {
    file: PathBuf,
    shape: Vec<usize>,
    is_float: bool,
}

/// Finds every weight of `specs` in the safetensors `files`; reads their headers only. Fails with
/// the list of all weights that are missing or have another shape.
pub fn find(specs: &[WeightSpec], files: &[PathBuf]) -> Result<Vec<WeightSource>> {
    let found = headers(files)?;
    let mut problems = Vec::new();
    let mut sources = Vec::new();
    for spec in specs {
        let hit = spec
            .aliases
            .iter()
            .find_map(|alias| Some((alias, found.get(alias)?)));
        match hit {
            None => problems.push(format!("`{}` is missing", spec.name)),
            Some((alias, tensor)) if tensor.shape != spec.shape => problems.push(format!(
                "`{alias}` is {:?}, config.json implies {:?}",
                tensor.shape, spec.shape
            )),
            Some((alias, tensor)) if !tensor.is_float => {
                problems.push(format!("`{alias}` is not f32, f16 or bf16"));
            }
            Some((alias, tensor)) => sources.push(WeightSource {
                name: spec.name.clone(),
                used_as: spec.used_as,
                file: tensor.file.clone(),
                tensor: alias.clone(),
            }),
        }
    }
    if problems.is_empty() {
        return Ok(sources);
    }
    Err(mismatch(files, problems))
}

/// Problems listed in full are noise when the model as a whole is another one.
const PROBLEMS_SHOWN: usize = 5;

fn mismatch(files: &[PathBuf], mut problems: Vec<String>) -> anyhow::Error {
    let hidden = problems.len().saturating_sub(PROBLEMS_SHOWN);
    problems.truncate(PROBLEMS_SHOWN);
    if hidden > 0 {
        problems.push(format!("and {hidden} more"));
    }
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    Failure::usage("the weights do not match config.json")
        .why(format!("{}\nin {}", problems.join("\n"), names.join(", ")))
        .help("check that config.json and the weights belong to the same model, and `--task`")
        .into()
}

fn headers(files: &[PathBuf]) -> Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    for path in files {
        let map = map_file(path)?;
        for (name, view) in parse(path, &map)?.iter() {
            use safetensors::Dtype::{BF16, F16, F32};
            let tensor = Found {
                file: path.clone(),
                shape: view.shape().to_vec(),
                is_float: matches!(view.dtype(), F32 | F16 | BF16),
            };
            found.insert(name.to_owned(), tensor);
        }
    }
    Ok(found)
}

/// The tensors `names` of the safetensors file at `path` with their shapes, in that order.
pub fn shapes(path: &Path, names: &[String]) -> Result<Vec<(String, Vec<usize>)>> {
    let found = headers(&[path.to_owned()])?;
    let shape = |name: &String| match found.get(name) {
        Some(tensor) => Ok((name.clone(), tensor.shape.clone())),
        None => Err(Failure::usage(format!("`{}` has no `{name}`", path.display())).into()),
    };
    names.iter().map(shape).collect()
}

/// Maps a file into memory; its pages are shared between processes.
pub fn map_file(path: &Path) -> Result<Mmap> {
    let context = || format!("opening `{}`", path.display());
    let file = File::open(path).with_context(context)?;
    // SAFETY: bundles and Hub blobs are never written after they were moved into place; a file that
    // someone truncates regardless ends the process with SIGBUS, which costs one executor.
    #[expect(unsafe_code, reason = "mapping a file has no safe form")]
    let map = unsafe { Mmap::map(&file) };
    map.with_context(context)
}

/// The tensors of a mapped safetensors file.
pub fn parse<'map>(path: &Path, map: &'map Mmap) -> Result<SafeTensors<'map>> {
    SafeTensors::deserialize(map).map_err(|error| {
        Failure::usage(format!(
            "`{}` is not a valid safetensors file",
            path.display()
        ))
        .why(format!("{error}; the file has {} bytes", map.len()))
        .help("it is damaged or cut off: download it again")
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    fn file_with(folder: &Path, name: &str, shape: &[usize]) -> PathBuf {
        let bytes = vec![0u8; shape.iter().product::<usize>() * 4];
        let view = TensorView::new(safetensors::Dtype::F32, shape.to_vec(), &bytes).unwrap();
        let path = folder.join("model.safetensors");
        safetensors::serialize_to_file([(name, view)], None, &path).unwrap();
        path
    }

    #[test]
    fn finds_a_weight_under_its_prefixed_alias() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_with(folder.path(), "bert.norm.gamma", &[4]);
        let spec = WeightSpec::new("norm.weight", &[4], Use::Other)
            .or_named("norm.gamma")
            .or_prefixed("bert.");
        let sources = find(&[spec], &[file]).unwrap();
        assert_eq!(sources[0].tensor, "bert.norm.gamma");
    }

    #[test]
    fn lists_what_is_missing_and_what_has_another_shape() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_with(folder.path(), "a", &[4]);
        let specs = [
            WeightSpec::new("a", &[5], Use::Other),
            WeightSpec::new("b", &[5], Use::Other),
        ];
        let error = find(&specs, &[file]).unwrap_err().to_string();
        assert!(
            error.contains("`a` is [4]") && error.contains("`b` is missing"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_cut_off_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        crate::files::write(&path, b"not a header").unwrap();
        let error = find(&[], &[path]).unwrap_err().to_string();
        assert!(
            error.contains("model.safetensors") && error.contains("12 bytes"),
            "{error}"
        );
    }
}
