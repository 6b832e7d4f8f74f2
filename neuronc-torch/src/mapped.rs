//! Weights as tensors over the mapped pages of a safetensors file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use memmap2::{Mmap, UncheckedAdvice};
use neuronc::failure::Failure;
use neuronc::family::weights::{map_file, parse};
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use crate::tensors::dimensions;

/// A mapped safetensors file. All processes that map it share its physical pages.
pub struct MappedFile {
    path: PathBuf,
    map: &'static Mmap,
    content: SafeTensors<'static>,
}

impl MappedFile {
    /// Maps `path` and reads its header. The file stays mapped until the process ends.
    pub fn open(path: &Path) -> Result<Self> {
        // A tensor may be cloned to anywhere and libtorch knows nothing of the map, so that no
        // lifetime could say when the last one is gone. A process maps a handful of files.
        let map: &'static Mmap = Box::leak(Box::new(map_file(path)?));
        Ok(Self {
            path: path.to_owned(),
            map,
            content: parse(path, map)?,
        })
    }

    /// The tensor `name`, without a copy; fails when it is not there or of a type that bundles do not
    /// hold. The buffers of a model, such as positions, are integers.
    /// Writing to it, as in-place operators do, ends the process.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let Ok(view) = self.content.tensor(name) else {
            return Err(self.problem(name, "is missing"));
        };
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::I64 => Kind::Int64,
            Dtype::I32 => Kind::Int,
            Dtype::U8 => Kind::Uint8,
            _ => return Err(self.problem(name, "is of a type that bundles do not hold")),
        };
        let shape = dimensions(view.shape())?;
        // Elsewhere than in our own files a tensor may start anywhere.
        if !view
            .data()
            .as_ptr()
            .addr()
            .is_multiple_of(kind.elt_size_in_bytes())
        {
            return Ok(Tensor::f_from_data_size(view.data(), &shape, kind)?);
        }
        // SAFETY: `parse` checked that the data of the view is as long as shape and type imply; the
        // map is never unmapped, and the pointer is aligned for the type. Forward functions only
        // read their weights, and a write would hit a read-only page.
        #[expect(unsafe_code, reason = "only a pointer makes a tensor without a copy")]
        let tensor =
            unsafe { Tensor::f_from_blob(view.data().as_ptr(), &shape, &[], kind, Device::Cpu) };
        Ok(tensor?)
    }

    /// Lets go of the pages of the tensor `name`, which come back when it is read again.
    pub fn release(&self, name: &str) -> Result<()> {
        let Ok(view) = self.content.tensor(name) else {
            return Err(self.problem(name, "is missing"));
        };
        let data = view.data();
        let start = data.as_ptr().addr() - self.map.as_ptr().addr();
        // SAFETY: the map is of a file and only read, so that a page that comes back is the same.
        #[expect(unsafe_code, reason = "only maps of files keep their content")]
        unsafe {
            self.map
                .unchecked_advise_range(UncheckedAdvice::DontNeed, start, data.len())?;
        }
        Ok(())
    }

    fn problem(&self, name: &str, what: &str) -> anyhow::Error {
        Failure::usage(format!(
            "weight `{name}` {what} in `{}`",
            self.path.display()
        ))
        .help("the file is not the one the weights were looked up in: start again")
        .into()
    }
}
