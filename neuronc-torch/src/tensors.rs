//! Between tensors on the host and those of libtorch.

use anyhow::{Context as _, Result};
use neuronc::tensor::{Dtype, HostTensor, Layout};
use tch::{Kind, Tensor};

/// The element type of libtorch that is `dtype`.
pub fn kind_of(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::U8 => Kind::Uint8,
    }
}

/// The element type that is `kind`; fails for those that bundles do not hold.
pub fn dtype_of(kind: Kind) -> Result<Dtype> {
    const ALL: [Dtype; 6] = [
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::I64,
        Dtype::I32,
        Dtype::U8,
    ];
    let found = ALL.into_iter().find(|dtype| kind_of(*dtype) == kind);
    found.with_context(|| format!("bundles hold no {kind:?}"))
}

/// Dimensions as libtorch counts them.
pub fn dimensions(shape: &[usize]) -> Result<Vec<i64>> {
    let sizes: Result<Vec<i64>, _> = shape.iter().map(|size| i64::try_from(*size)).collect();
    sizes.context("a tensor has more elements than libtorch can count")
}

/// A copy in libtorch's memory.
pub fn to_torch(tensor: &HostTensor) -> Result<Tensor> {
    let Layout { dtype, shape } = tensor.layout();
    Ok(Tensor::f_from_data_size(
        tensor.bytes(),
        &dimensions(shape)?,
        kind_of(*dtype),
    )?)
}

/// A copy on the host, in fp32.
pub fn to_host(tensor: &Tensor) -> Result<HostTensor> {
    let shape: Result<Vec<usize>, _> = tensor
        .size()
        .iter()
        .map(|size| usize::try_from(*size))
        .collect();
    let layout = Layout {
        dtype: Dtype::F32,
        shape: shape.context("a tensor has a negative size")?,
    };
    HostTensor::new(layout, bytes_as(tensor, Kind::Float)?)
}

/// The elements as `kind`, row-major.
pub fn bytes_as(tensor: &Tensor, kind: Kind) -> Result<Vec<u8>> {
    let tensor = tensor.f_to_kind(kind)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}
