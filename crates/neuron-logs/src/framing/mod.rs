//! From bytes to records: physical lines, the records in them, and their prefixes.

pub(crate) mod duplicates;
mod frequent;
pub(crate) mod lines;
pub(crate) mod needles;
mod prefixes;
pub(crate) mod record;
pub(crate) mod split;
pub(crate) mod timestamp;
