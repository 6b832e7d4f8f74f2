//! The executor that holds libtorch: the only code that names `tch`.
//!
//! As a tracer it answers one job with events ([`trace`]); as a worker it runs graphs for the front
//! process ([`worker`]). [`model`] computes, with every weight as an argument; [`cast`] alone knows
//! which operators run in which type. `neuronc::executor` is the protocol of both.
//!
//! Only the fallible forms of tch are used: the others panic.

pub mod failure;
pub mod mapped;
pub mod plugin;
pub mod start_pages;
pub mod store;
pub mod tensors;

pub mod cast;
pub mod model;

pub mod graph;
pub mod packed;
pub mod trace;
pub mod worker;

/// The libtorch that was linked, such as `2.9.0+cpu`.
pub const LIBTORCH_VERSION: &str = env!("LIBTORCH_VERSION");
