//! Chip profiles: everything neuronc knows about a chip, as data.
//!
//! The profiles under `profiles/` are embedded by listing that folder at build time; a file given
//! with `--profile` adds one at run time. `profiles/cpu.yaml` documents each key.

mod argument;
mod chip;
mod load;
mod operator_lists;
mod problems;
mod spelling;
mod version;

pub use crate::profile::argument::{
    Argument, Decides, Keywords, Number, OFF, ON, PassedTo, RefusedFlags, Unfit,
};
pub use crate::profile::chip::{
    Absent, Attention, BucketGrid, ChipHardware, ChipProfile, CompileMemory, Compiler,
    CompilerKind, InstanceType, Operators, PartitionLimits, Sdk, Tolerance,
};
pub use crate::profile::load::{load, load_file, names};
pub use crate::profile::operator_lists::{operator_list, operator_list_names};
pub use crate::profile::spelling::{RefusalMatch, TypedFlag, flags};
pub use crate::profile::version::reaches;
