//! Tensors on the host: plain bytes with a shape, for files and for messages between processes. Nothing here
//! computes.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::failure::{Class, Failure};

/// The element types that bundles and workers exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    F32,
    F16,
    BF16,
    I64,
    I32,
    U8,
}

impl Dtype {
    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::I64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            Dtype::U8 => 1,
        }
    }
}

/// Element type and dimensions of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

impl Layout {
    /// Bytes of a tensor of this layout; `None` where they exceed the address space.
    pub fn bytes(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(self.dtype.bytes(), |bytes, size| bytes.checked_mul(*size))
    }
}

/// A dense row-major tensor in native byte order.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    layout: Layout,
    bytes: Vec<u8>,
}

impl HostTensor {
    /// A tensor of `bytes`; fails where their number does not match the layout.
    pub fn new(layout: Layout, bytes: Vec<u8>) -> Result<Self> {
        if layout.bytes() != Some(bytes.len()) {
            return Err(Failure::new(
                Class::Bug,
                format!("a tensor of {layout:?} cannot hold {} bytes", bytes.len()),
            )
            .into());
        }
        Ok(Self { layout, bytes })
    }

    /// A 64-bit integer tensor; `values` must fill `shape`.
    pub fn from_i64(shape: &[usize], values: &[i64]) -> Result<Self> {
        let layout = Layout {
            dtype: Dtype::I64,
            shape: shape.to_vec(),
        };
        Self::new(
            layout,
            values.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        )
    }

    /// A 32-bit float tensor; `values` must fill `shape`.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Result<Self> {
        let layout = Layout {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
        };
        Self::new(
            layout,
            values.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        )
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements of a 32-bit float tensor; fails for every other element type.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        if self.layout.dtype != Dtype::F32 {
            return Err(Failure::new(
                Class::Bug,
                format!("expected f32 elements, found {:?}", self.layout.dtype),
            )
            .into());
        }
        let (values, _) = self.bytes.as_chunks::<4>();
        Ok(values.iter().map(|v| f32::from_ne_bytes(*v)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went_in() {
        let tensor = HostTensor::from_f32(&[2, 2], &[1.0, -2.5, 0.0, 4.0]).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [1.0, -2.5, 0.0, 4.0]);
        assert_eq!(tensor.shape(), [2, 2]);
    }

    #[test]
    fn a_shape_that_the_bytes_do_not_fill_is_refused() {
        assert!(HostTensor::from_i64(&[2, 3], &[1, 2]).is_err());
        let overflow = Layout {
            dtype: Dtype::I64,
            shape: vec![usize::MAX, 2],
        };
        assert_eq!(overflow.bytes(), None);
    }
}
