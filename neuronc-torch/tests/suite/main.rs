//! The executor against real libtorch: models, cast modes, graphs, the tracer and the worker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod casts;
mod fixtures;
mod graphs;
mod heads;
mod packed;
mod support;
mod tracer;
mod workers;
