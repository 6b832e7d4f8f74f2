//! From bytes to physical lines, in constant memory, without colours.

use std::io::{self, Read};

use memchr::{memchr, memchr2};

use super::needles::{Needle, NeedleSearch, Needles, not_searched};
use crate::limits::LINE_BYTES_MAX;
use crate::reading::SkippedInput;

/// The bytes read at once; the buffer grows to [`LINE_BYTES_MAX`] for a long line.
const BLOCK_BYTES: usize = 256 << 10;

/// A source of bytes, read line by line.
pub(crate) struct LineReader<R> {
    source: R,
    needles: NeedleSearch,
    buffer: Vec<u8>,
    /// The part of `buffer` that is read and not handed out.
    start: usize,
    end: usize,
    /// True in the rest of a line that is too long.
    is_skipping: bool,
    /// The current line without terminal control sequences, where it had any.
    clean: Vec<u8>,
}

impl<R: Read> LineReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            needles: NeedleSearch::new(),
            buffer: vec![0; BLOCK_BYTES],
            start: 0,
            end: 0,
            is_skipping: false,
            clean: Vec::new(),
        }
    }

    /// Hands every line that is not empty to `line`, without its end and without colours.
    pub(crate) fn for_each(
        &mut self,
        skipped: &mut SkippedInput,
        mut line: impl FnMut(&[u8], Needles<'_>),
    ) -> io::Result<()> {
        loop {
            let read = self.fill()?;
            skipped.bytes += read as u64;
            self.needles.begin_block();
            // A carriage return ends a line too: progress bars write over themselves with it.
            while let Some(length) = memchr2(b'\n', b'\r', &self.buffer[self.start..self.end]) {
                let at = self.start + length;
                skipped.lines += u64::from(self.buffer[at] == b'\n');
                self.hand_out(at, skipped, &mut line);
                self.start = at + 1;
                self.is_skipping = false;
            }
            if read == 0 {
                skipped.lines += u64::from(self.start < self.end || self.is_skipping);
                self.hand_out(self.end, skipped, &mut line);
                return Ok(());
            }
            if self.is_skipping || self.end - self.start >= LINE_BYTES_MAX {
                self.hand_out(self.end, skipped, &mut line);
                self.is_skipping = true;
                self.start = self.end;
            }
        }
    }

    /// Reads one block behind the bytes that are left; 0 at the end of the source.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands out the line from `start` to `end`, or counts it as skipped.
    fn hand_out(
        &mut self,
        end: usize,
        skipped: &mut SkippedInput,
        line: &mut impl FnMut(&[u8], Needles<'_>),
    ) {
        let length = end - self.start;
        if self.is_skipping {
            skipped.long_line_bytes += length as u64;
            return;
        }
        if length == 0 {
            return;
        }
        let kept = length.min(LINE_BYTES_MAX);
        // Exactly at the bound nobody knows yet whether the line goes on: it counts as long.
        let at_bound = self.end - self.start >= LINE_BYTES_MAX && end == self.end;
        skipped.long_lines += u64::from(length > kept || at_bound);
        skipped.long_line_bytes += (length - kept) as u64;
        let block = &self.buffer[..self.end];
        let needles = self.needles.of_line(block, self.start, end);
        let text = &block[self.start..self.start + kept];
        if !needles.has(Needle::Escape) {
            line(text, needles);
            return;
        }
        // Colours can stand inside of a needle, so that those of the block are not the line's.
        strip_escapes(text, &mut self.clean);
        let next = not_searched();
        line(&self.clean, self.needles.of_text(&self.clean, &next));
    }
}

/// Removes terminal control sequences from `line` into `clean`.
fn strip_escapes(line: &[u8], clean: &mut Vec<u8>) {
    clean.clear();
    let mut rest = line;
    while let Some(at) = memchr(b'\x1b', rest) {
        clean.extend_from_slice(&rest[..at]);
        rest = after_escape(&rest[at + 1..]);
    }
    clean.extend_from_slice(rest);
}

/// The text behind an escape sequence whose escape byte is already gone.
fn after_escape(rest: &[u8]) -> &[u8] {
    match rest.first() {
        // CSI: parameters up to a final byte, such as `[34m`.
        Some(b'[') => {
            let end = rest[1..]
                .iter()
                .position(|byte| (0x40..=0x7e).contains(byte));
            end.map_or(&[], |end| &rest[end + 2..])
        }
        // OSC: up to a bell, such as `]0;title\a`.
        Some(b']') => {
            let end = rest.iter().position(|byte| *byte == 0x07);
            end.map_or(&[], |end| &rest[end + 1..])
        }
        Some(_) => &rest[1..],
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> (Vec<String>, SkippedInput) {
        let mut found = Vec::new();
        let mut skipped = SkippedInput::default();
        LineReader::new(bytes)
            .for_each(&mut skipped, |line, _| {
                found.push(String::from_utf8_lossy(line).into_owned());
            })
            .unwrap();
        (found, skipped)
    }

    #[test]
    fn every_kind_of_line_end_counts() {
        let (found, skipped) = lines(b"a\r\nb\rc\n\nd");
        assert_eq!(found, ["a", "b", "c", "d"]);
        assert_eq!((skipped.lines, skipped.bytes), (4, 9));
    }

    #[test]
    fn the_rest_of_a_long_line_is_counted() {
        let mut bytes = vec![b'x'; 3 * LINE_BYTES_MAX];
        bytes.extend_from_slice(b"\nshort");
        let (found, skipped) = lines(&bytes);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].len(), LINE_BYTES_MAX);
        assert_eq!(found[1], "short");
        assert_eq!(skipped.long_lines, 1);
        assert_eq!(skipped.long_line_bytes, 2 * LINE_BYTES_MAX as u64);
    }

    #[test]
    fn colours_are_removed() {
        let bytes = b"\x1b[1;36mCompiler\x1b[0m status PASS\x1b[\nplain";
        let mut found = Vec::new();
        let mut skipped = SkippedInput::default();
        let mut lines = LineReader::new(&bytes[..]);
        lines
            .for_each(&mut skipped, |line, needles| {
                found.push((line.to_vec(), needles.has(Needle::Status)));
            })
            .unwrap();
        let plain = (b"plain".to_vec(), false);
        assert_eq!(found, [(b"Compiler status PASS".to_vec(), true), plain]);
    }
}
