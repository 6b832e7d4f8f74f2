//! From the names and shapes that a forward takes to the tensors that safetensors files hold.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use memmap2::Mmap;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The use of a weight in the forward, which decides what a cast mode does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightUse {
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
    pub used_as: WeightUse,
    /// The names in checkpoints, in order of preference.
    pub in_checkpoints: Vec<String>,
}

/// Where a weight is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightSource {
    /// The name in bundles.
    pub name: String,
    pub used_as: WeightUse,
    pub file: PathBuf,
    /// The name in that file.
    pub tensor: String,
}

/// One tensor as a file's header describes it.
struct TensorHeader {
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
            .in_checkpoints
            .iter()
            .find_map(|name| Some((name, found.get(name)?)));
        match hit {
            None => problems.push(format!("`{}` is missing", spec.name)),
            Some((name, tensor)) if tensor.shape != spec.shape => problems.push(format!(
                "`{name}` is {:?}, config.json implies {:?}",
                tensor.shape, spec.shape
            )),
            Some((name, tensor)) if !tensor.is_float => {
                problems.push(format!("`{name}` is not f32, f16 or bf16"));
            }
            Some((name, tensor)) => sources.push(WeightSource {
                name: spec.name.clone(),
                used_as: spec.used_as,
                file: tensor.file.clone(),
                tensor: name.clone(),
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

fn headers(files: &[PathBuf]) -> Result<BTreeMap<String, TensorHeader>> {
    let mut found = BTreeMap::new();
    for path in files {
        let map = map_file(path)?;
        for (name, view) in parse(path, &map)?.iter() {
            use safetensors::Dtype::{BF16, F16, F32};
            let tensor = TensorHeader {
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

    fn spec(names: &[&str], size: usize) -> WeightSpec {
        WeightSpec {
            name: names[0].to_owned(),
            shape: vec![size],
            used_as: WeightUse::Other,
            in_checkpoints: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn finds_a_weight_under_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_with(folder.path(), "bert.norm.gamma", &[4]);
        let spec = spec(&["norm.weight", "norm.gamma", "bert.norm.gamma"], 4);
        let sources = find(&[spec], &[file]).unwrap();
        assert_eq!(sources[0].name, "norm.weight");
        assert_eq!(sources[0].tensor, "bert.norm.gamma");
    }

    #[test]
    fn lists_what_is_missing_and_what_has_another_shape() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_with(folder.path(), "a", &[4]);
        let specs = [spec(&["a"], 5), spec(&["b"], 5)];
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
