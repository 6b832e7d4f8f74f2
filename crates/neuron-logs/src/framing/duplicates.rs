//! Records that a second log handler repeats in a layout of its own.

use super::record::{LogRecord, Logger, PrefixLayout};

/// The number of [`PrefixLayout`]s.
const LAYOUTS: usize = PrefixLayout::Timed as usize + 1;

/// The last record, and the layouts that are known to repeat others.
#[derive(Default)]
pub(crate) struct DuplicateRecords {
    body: Vec<u8>,
    layout: PrefixLayout,
    /// The layouts of handlers that were seen to repeat another one.
    secondary: [bool; LAYOUTS],
}

impl DuplicateRecords {
    /// Whether `record` is one that was read before.
    pub(crate) fn is_one(&mut self, record: &LogRecord<'_>) -> bool {
        if record.logger != Logger::Neuron {
            return false;
        }
        let same = self.body == record.body;
        let index = record.layout as usize;
        // Once a handler was seen to repeat another one it repeats all of it, also where other lines
        // stand between the two records.
        if same && self.layout != record.layout {
            self.secondary[index] = true;
        }
        if self.secondary[index] || (same && self.layout == record.layout) {
            return true;
        }
        self.body.clear();
        self.body.extend_from_slice(record.body);
        self.layout = record.layout;
        false
    }
}
