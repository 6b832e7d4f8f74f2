//! Groups of options, most of which several subcommands have in common.

pub(in crate::cli) mod access;
pub(in crate::cli) mod addresses;
pub(in crate::cli) mod compiler;
pub(in crate::cli) mod duration;
pub(in crate::cli) mod placement;
pub(in crate::cli) mod plan;
pub(in crate::cli) mod runtime;
pub(in crate::cli) mod simulation;
