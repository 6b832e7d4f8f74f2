//! The bounds of reading: memory does not grow with a log. What lies beyond them is counted in
//! [`SkippedInput`](crate::reading::SkippedInput).

/// The most bytes of a line that are looked at.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The most bytes of one JSON report or Python value.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// The most entries of any list of a reading.
pub const LIST_MAX: usize = 4096;

/// The most bytes of a kept text.
pub const TEXT_MAX: usize = 4096;

/// The most bytes that all lists of a reading hold together.
pub const KEPT_BYTES_MAX: usize = 32 << 20;
