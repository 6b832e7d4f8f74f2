//! The shapes of what goes through a model.
//!
//! [`output`] is the layout of what a graph returns.

pub mod output;
