//! The forward of a model of any family, with every weight as an argument.
//!
//! `neuronc::family` says what a model consists of, as data; here each kind of operator is
//! implemented once: `encoder` up to the last hidden state, `heads` from there to the output,
//! `pooling` what sentence-transformers adds, `layers` what all of them are made of. Sizes are
//! read from the example inputs and become constants of the graph. Start with [`Forward::output`].

mod encoder;
mod forward;
mod heads;
mod inputs;
mod layers;
mod pooling;
mod weights;

pub use crate::model::forward::Forward;
pub use crate::model::inputs::Inputs;
pub use crate::model::weights::Weights;
