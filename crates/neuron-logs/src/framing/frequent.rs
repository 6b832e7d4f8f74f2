//! The two prefixes that stand before nearly all lines of long logs, ahead of the general case in
//! `prefixes`, with the same result.

use super::record::{LogLevel, LogRecord, Logger, PrefixLayout};
use crate::text::scan::Scan;

/// A time as the wrapper writes it; each 0 stands for a digit.
const TIME: &[u8; 28] = b"0000-00-00 00:00:00.000000: ";

impl LogRecord<'_> {
    pub(super) fn strip_frequent(&mut self) {
        match self.body.first() {
            Some(b'I') => self.strip_neuron(),
            Some(b'0'..=b'9') => drop(self.strip_wrapper()),
            _ => {}
        }
    }

    /// `INFO:Neuron:`.
    fn strip_neuron(&mut self) {
        if let Some(rest) = self.body.strip_prefix(b"INFO:Neuron:") {
            self.level = LogLevel::Info;
            self.layout = PrefixLayout::Basic;
            self.logger = Logger::Neuron;
            self.body = rest;
        }
    }

    /// `2024-04-30 17:28:46.000430:  2913  INFO ||NEURON_CACHE||: `. Its time is not kept: only that
    /// of a compiler is asked for.
    fn strip_wrapper(&mut self) -> Option<()> {
        let (head, rest) = self.body.split_first_chunk()?;
        if !is_time(head) {
            return None;
        }
        let mut scan = Scan::new(rest);
        scan.blanks();
        scan.take_while(|byte| byte.is_ascii_digit());
        scan.blanks();
        scan.lit("INFO ||")?;
        let end = memchr::memchr(b'|', scan.rest)?;
        let (component, rest) = scan.rest.split_at(end);
        let body = rest.strip_prefix(b"||: ")?;
        // What the general case would strip behind a time as well is left to it.
        if matches!(body.first(), Some(b':' | b'-' | b' ' | b'\t')) {
            return None;
        }
        self.level = LogLevel::Info;
        self.layout = PrefixLayout::Timed;
        self.logger = Logger::Wrapper;
        self.component = component;
        self.body = body;
        Some(())
    }
}

/// Compares without a branch for each byte, which the compiler turns into a few vector operations.
fn is_time(head: &[u8; 28]) -> bool {
    let mut wrong = false;
    for (byte, form) in head.iter().zip(TIME) {
        let is_digit = byte.wrapping_sub(b'0') < 10;
        wrong |= (*form == b'0' && !is_digit) | (*form != b'0' && byte != form);
    }
    !wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_prefixes_are_taken() {
        let line =
            b"2024-04-30 17:28:46.000430:  2913  INFO ||NEURON_CACHE||: Compile cache path: /c";
        let mut record = LogRecord {
            body: line,
            ..LogRecord::default()
        };
        record.strip_frequent();
        assert_eq!(record.body, b"Compile cache path: /c");
        assert_eq!(record.component, b"NEURON_CACHE");
        assert_eq!(record.logger, Logger::Wrapper);
        for cut in 0..line.len() - b"Compile cache path: /c".len() {
            let mut record = LogRecord {
                body: &line[..cut],
                ..LogRecord::default()
            };
            record.strip_frequent();
            assert_eq!(record.body, &line[..cut]);
        }
    }
}
