//! Executors: the child processes that hold a framework.
//!
//! All speak one protocol. For a job: [`job::TraceJob`] as JSON on stdin, [`events::Event`]s as JSON
//! lines on stdout, and stderr as the log. As a worker: [`wire`] frames over a Unix socket that is
//! the child's stdin. `docs/executors.md` describes the formats.

pub mod describe;
pub mod events;
pub mod interpreter;
pub mod job;
pub mod probe;
pub mod wire;
