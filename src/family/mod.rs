//! Model families: from a model's `config.json` to the specification of its forward.
//!
//! Nothing here computes: `neuronc-torch`'s `model/` builds the forward of any family from its
//! [`ModelSpec`]. Start with [`resolve`], which alone maps a config to a family.

mod bert;
mod head;
mod names;
mod resolve;
mod spec;
mod weight_list;
pub mod weights;

pub use crate::family::head::{Head, Pooling, Scores};
pub use crate::family::names::{EncoderNames, EncoderPart};
pub use crate::family::resolve::{is_native, resolve};
pub use crate::family::spec::{
    Activation, AttentionSpec, EncoderSpec, FeedForwardKind, FeedForwardSpec, HeadStep, ModelSpec,
    NormKind, NormPlace, NormSpec, PositionSpec,
};
