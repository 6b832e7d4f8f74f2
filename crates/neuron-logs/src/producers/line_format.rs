//! The trait of all formats of lines.

use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::LogRecord;

/// A state machine that reads the lines of one producer. Each record passes `observe` of all
/// formats, then `claim`, `read` and `read_rest` until one of them returns true.
pub(crate) trait LineFormat: Default {
    /// Reads a record; false when it is not of this format, and the next one is asked.
    fn read(
        &mut self,
        record: &LogRecord<'_>,
        needles: Needles<'_>,
        findings: &mut Findings,
    ) -> bool;

    /// Sees every record before any format reads it.
    fn observe(&mut self, _: &LogRecord<'_>, _: Needles<'_>, _: &mut Findings) {}

    /// Reads a record that can be of no other format: the others are not asked.
    fn claim(&mut self, _: &LogRecord<'_>, _: &mut Findings) -> bool {
        false
    }

    /// Reads a record that is of no format.
    fn read_rest(&mut self, _: &LogRecord<'_>, _: &mut Findings) -> bool {
        false
    }

    /// Whether the entries of a list are being read.
    fn is_listing(&self) -> bool {
        false
    }

    /// Adds what is known once the log is over.
    fn finish(self, _: &mut Findings) {}
}
