//! Graphs on the host whose linear layers run on weights in oneDNN's own layout.
//!
//! A graph of a bundle has `aten::linear` over weights as a file holds them: libtorch then gives fp32
//! to MKL, which uses half of what a processor that is not Intel's can do, and lays bf16 weights out
//! anew in every run. A worker lays them out once, and its graphs take them so. tch can neither change
//! a graph nor reach these operators; `packed.cpp` can.

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use anyhow::{Context as _, Result, ensure};
use tch::{Kind, TchError, Tensor};
use torch_sys::C_tensor;

/// A graph that was loaded; the number of its inputs is not checked ahead of a run.
pub struct Graph {
    loaded: *mut c_void,
}

/// The weights that layers take packed.
pub struct Packed {
    flags: Vec<bool>,
    kinds: Vec<i8>,
}

#[expect(unsafe_code, reason = "functions of packed.cpp")]
unsafe extern "C" {
    fn packed_is_faster() -> bool;
    fn packed_load(path: *const c_char, loaded: *mut *mut c_void) -> *mut c_char;
    fn packed_free(loaded: *mut c_void);
    fn packed_find(loaded: *const c_void, flags: *mut bool, count: usize) -> *mut c_char;
    fn packed_rewrite(
        loaded: *mut c_void,
        flags: *const bool,
        kinds: *const i8,
        count: usize,
    ) -> *mut c_char;
    fn packed_weight(weight: *const C_tensor, packed: *mut *mut C_tensor) -> *mut c_char;
    fn packed_run(
        loaded: *mut c_void,
        inputs: *const *const C_tensor,
        count: usize,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn free(pointer: *mut c_void);
}

impl Graph {
    pub fn load(path: &Path) -> Result<Self> {
        let name = CString::new(path.as_os_str().as_bytes())?;
        let mut loaded = ptr::null_mut();
        // SAFETY: the name ends with a zero, and `loaded` takes one pointer.
        #[expect(unsafe_code, reason = "a function of packed.cpp")]
        let message = unsafe { packed_load(name.as_ptr(), &raw mut loaded) };
        check(message).with_context(|| format!("loading `{}`", path.display()))?;
        Ok(Self { loaded })
    }

    /// Runs on the weights and what stands behind them.
    pub fn run(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let pointers: Vec<*const C_tensor> = inputs.iter().map(|input| input.as_ptr()).collect();
        let mut output = ptr::null_mut();
        // SAFETY: the pointers are those of tensors that live until the call is over.
        #[expect(unsafe_code, reason = "a function of packed.cpp")]
        let message = unsafe {
            packed_run(
                self.loaded,
                pointers.as_ptr(),
                pointers.len(),
                &raw mut output,
            )
        };
        check(message)?;
        taken(output)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: `load` made it, and nothing uses it after this.
        #[expect(unsafe_code, reason = "a function of packed.cpp")]
        unsafe {
            packed_free(self.loaded);
        }
    }
}

impl Packed {
    /// Packs what layers of all `graphs` take from `weights`, the first inputs of each, and nothing
    /// else does. Returns which these were. Nothing where this processor gains nothing by it.
    pub fn pack(graphs: &[&Graph], weights: &mut [Tensor]) -> Result<Self> {
        // SAFETY: it takes nothing.
        #[expect(unsafe_code, reason = "a function of packed.cpp")]
        let is_faster = unsafe { packed_is_faster() };
        let fits = |weight: &Tensor| {
            is_faster && weight.dim() == 2 && matches!(weight.kind(), Kind::Float | Kind::BFloat16)
        };
        let mut packed = Self {
            flags: weights.iter().map(fits).collect(),
            kinds: weights.iter().map(number_of).collect(),
        };
        for graph in graphs {
            let flags = &mut packed.flags;
            // SAFETY: there are as many flags as it is told.
            #[expect(unsafe_code, reason = "a function of packed.cpp")]
            let message = unsafe { packed_find(graph.loaded, flags.as_mut_ptr(), flags.len()) };
            check(message)?;
        }
        for graph in graphs {
            packed.rewrite(graph)?;
        }
        for (weight, _) in weights
            .iter_mut()
            .zip(&packed.flags)
            .filter(|(_, flag)| **flag)
        {
            let mut result = ptr::null_mut();
            // SAFETY: the weight lives until the call is over.
            #[expect(unsafe_code, reason = "a function of packed.cpp")]
            let message = unsafe { packed_weight(weight.as_ptr(), &raw mut result) };
            check(message).context("laying out a weight")?;
            *weight = taken(result)?;
        }
        Ok(packed)
    }

    /// Which weights are packed.
    pub fn flags(&self) -> &[bool] {
        &self.flags
    }

    fn rewrite(&self, graph: &Graph) -> Result<()> {
        // SAFETY: there are as many of both as it is told.
        #[expect(unsafe_code, reason = "a function of packed.cpp")]
        let message = unsafe {
            packed_rewrite(
                graph.loaded,
                self.flags.as_ptr(),
                self.kinds.as_ptr(),
                self.flags.len(),
            )
        };
        check(message)
    }
}

/// The type of a weight as libtorch numbers it; only those that are packed are looked at.
fn number_of(weight: &Tensor) -> i8 {
    match weight.kind() {
        Kind::BFloat16 => 15,
        _ => 6,
    }
}

/// Takes a tensor that packed.cpp made.
fn taken(tensor: *mut C_tensor) -> Result<Tensor> {
    ensure!(!tensor.is_null(), "libtorch gave no tensor");
    // SAFETY: it is a tensor of libtorch that nobody else has.
    #[expect(unsafe_code, reason = "tch takes tensors by their pointer only")]
    Ok(unsafe { Tensor::from_ptr(tensor) })
}

/// Turns the message of a function of packed.cpp into an error.
fn check(message: *mut c_char) -> Result<()> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: it is a text of strdup, which is ours and freed once.
    #[expect(unsafe_code, reason = "a text of packed.cpp")]
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        free(message.cast());
        text
    };
    Err(TchError::Torch(text).into())
}
