//! Small parsers of text that know nothing of logs.

pub(crate) mod literal;
pub(crate) mod scan;
