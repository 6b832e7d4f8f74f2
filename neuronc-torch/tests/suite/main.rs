//! The executor against real libtorch: models, cast modes, graphs, the tracer and the worker.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read recorded files, and one that cannot go on has failed"
)]

mod casts;
mod fixtures;
mod graph_digests;
mod graphs;
mod heads;
mod packed;
mod support;
mod tracer;
mod workers;
