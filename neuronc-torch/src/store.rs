//! Writes safetensors files tensor by tensor, so that no more than one is in memory.
//!
//! The crate that reads them writes them too, but makes the file readable by its owner only, takes
//! no tensor that can fail to be computed, and starts tensors anywhere.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use neuronc::tensor::{Dtype, Layout};
use serde_json::{Map, Value, json};

/// A cache line. Tensors whose size is a multiple of it come first, and so start at one.
const ALIGNMENT: usize = 64;

/// Name and layout of a tensor to write.
pub struct Entry {
    pub name: String,
    pub layout: Layout,
}

/// Writes `entries` with the bytes that `data` gives for each of their indices; returns the size of
/// the file. Fails when a tensor has another size than its layout.
pub fn write(
    path: &Path,
    entries: &[Entry],
    data: &mut dyn FnMut(usize) -> Result<Vec<u8>>,
) -> Result<u64> {
    let context = || format!("writing `{}`", path.display());
    let order = order(entries)?;
    let header = header(entries, &order)?;
    let mut file = BufWriter::new(File::create(path).with_context(context)?);
    let mut written = 8 + header.len() as u64;
    file.write_all(&(header.len() as u64).to_le_bytes())
        .with_context(context)?;
    file.write_all(&header).with_context(context)?;
    for (index, bytes) in order {
        let content = data(index)?;
        ensure!(
            content.len() == bytes,
            "`{}` has {} bytes, its layout {bytes}",
            entries[index].name,
            content.len()
        );
        file.write_all(&content).with_context(context)?;
        written += bytes as u64;
    }
    file.flush().with_context(context)?;
    Ok(written)
}

/// Indices and sizes of `entries` in the order of the file, which leaves each aligned for its type.
fn order(entries: &[Entry]) -> Result<Vec<(usize, usize)>> {
    let mut order = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let bytes = entry.layout.bytes();
        order.push((
            index,
            bytes.with_context(|| format!("`{}` is too large", entry.name))?,
        ));
    }
    order.sort_by_key(|(index, bytes)| {
        let element = entries[*index].layout.dtype.bytes();
        (
            !bytes.is_multiple_of(ALIGNMENT),
            std::cmp::Reverse(element),
            *index,
        )
    });
    Ok(order)
}

fn header(entries: &[Entry], order: &[(usize, usize)]) -> Result<Vec<u8>> {
    let mut tensors = Map::new();
    tensors.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut start = 0;
    for (index, bytes) in order {
        let Entry { name, layout } = &entries[*index];
        let value = json!({
            "dtype": dtype_name(layout.dtype),
            "shape": layout.shape,
            "data_offsets": [start, start + bytes],
        });
        tensors.insert(name.clone(), value);
        start += bytes;
    }
    let mut header = serde_json::to_vec(&Value::Object(tensors))?;
    let aligned = (8 + header.len()).next_multiple_of(ALIGNMENT) - 8;
    header.resize(aligned, b' ');
    Ok(header)
}

fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::BF16 => "BF16",
        Dtype::I64 => "I64",
        Dtype::I32 => "I32",
        Dtype::U8 => "U8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn entry(name: &str, dtype: Dtype, size: usize) -> Entry {
        let layout = Layout {
            dtype,
            shape: vec![size],
        };
        Entry {
            name: name.to_owned(),
            layout,
        }
    }

    #[test]
    fn every_tensor_is_aligned_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let entries = [
            entry("odd", Dtype::BF16, 3),
            entry("small", Dtype::F32, 5),
            entry("large", Dtype::BF16, 64),
            entry("larger", Dtype::F32, 32),
        ];
        let bytes = |index: usize| vec![index as u8; entries[index].layout.bytes().unwrap()];
        let size = write(&path, &entries, &mut |index| Ok(bytes(index))).unwrap();
        let content = neuronc::files::read(&path).unwrap();
        assert_eq!(size, content.len() as u64);
        let file = SafeTensors::deserialize(&content).unwrap();
        for (index, Entry { name, layout }) in entries.iter().enumerate() {
            let view = file.tensor(name).unwrap();
            assert_eq!(view.data(), bytes(index));
            let start = view.data().as_ptr().addr() - content.as_ptr().addr();
            let alignment = if index < 2 {
                layout.dtype.bytes()
            } else {
                ALIGNMENT
            };
            assert!(start.is_multiple_of(alignment), "{name} starts at {start}");
        }
    }

    #[test]
    fn a_tensor_of_another_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let error =
            write(&path, &[entry("a", Dtype::F32, 2)], &mut |_| Ok(vec![0; 4])).unwrap_err();
        assert!(error.to_string().contains("`a` has 4 bytes"), "{error}");
    }
}
