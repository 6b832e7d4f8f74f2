//! All integration tests of neuronc, as one program: linking it once is most of what they cost.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests prepare files, start the program and say why they skip"
)]

mod arguments;
mod bench;
mod doctor;
mod errors;
mod estimate;
mod explain;
mod full_disk;
mod neuron;
mod place;
mod placement;
mod plugin;
mod report;
mod sealed;
mod serve;
mod support;
mod tasks;
mod tidy;
mod trace;
mod transcripts;
mod verify;

#[path = "../hub_server/mod.rs"]
mod hub_server;

mod hub;
