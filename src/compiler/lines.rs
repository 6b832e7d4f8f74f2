//! Splits the output of a compiler into lines.

use std::sync::{Mutex, PoisonError};

use crate::bucket::Bucket;
use crate::compiler::compilation::LineWatch;

/// Longer lines are passed on in pieces.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Passes the lines of one bucket's compiler on; an unfinished last line when the value is dropped.
pub(super) struct LineSplitter<'a> {
    bucket: Bucket,
    watch: &'a LineWatch<'a>,
    begun: Mutex<Vec<u8>>,
}

impl<'a> LineSplitter<'a> {
    pub(super) fn new(bucket: Bucket, watch: &'a LineWatch<'a>) -> Self {
        Self {
            bucket,
            watch,
            begun: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn take(&self, bytes: &[u8]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(part);
            if part.ends_with(b"\n") || begun.len() >= LINE_BYTES_MAX {
                self.show(&mut begun);
            }
        }
    }

    fn show(&self, line: &mut Vec<u8>) {
        (self.watch)(self.bucket, String::from_utf8_lossy(line).trim_end());
        line.clear();
    }
}

impl Drop for LineSplitter<'_> {
    fn drop(&mut self) {
        let mut begun = std::mem::take(&mut self.begun);
        let begun = begun.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !begun.is_empty() {
            self.show(begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let bucket = Bucket {
            sequence: 16,
            batch: 1,
        };
        let seen = Mutex::new(Vec::new());
        let watch = |_: Bucket, line: &str| seen.lock().unwrap().push(line.to_owned());
        let lines = LineSplitter::new(bucket, &watch);
        for part in ["..", ".\nsta", "tus\r\n\n", "end"] {
            lines.take(part.as_bytes());
        }
        lines.take(&[b'x'; LINE_BYTES_MAX]);
        lines.take(b"last");
        drop(lines);
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen[..3], ["...", "status", ""]);
        assert_eq!(seen[3].len(), LINE_BYTES_MAX + 3);
        assert_eq!(seen[4..], ["last"]);
    }
}
