//! Turns options into the things that they name: models, plans, bundles, machines, programs.

pub(in crate::cli) mod bundles;
pub(in crate::cli) mod checkpoint_files;
pub(in crate::cli) mod machine;
pub(in crate::cli) mod model;
pub(in crate::cli) mod planner;
pub(in crate::cli) mod programs;
pub(in crate::cli) mod simulation;
mod tracer;
