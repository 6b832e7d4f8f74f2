//! Bytes into physical lines, in constant memory, with the needles that each line holds.

use std::io::{self, Read};

use memchr::memmem::Finder;
use memchr::{memchr, memchr2};

use super::reading::Skipped;

/// The most bytes of a line that are looked at; the rest of it is skipped and counted.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// How many bytes are read at once; the buffer grows to [`LINE_BYTES_MAX`] for a long line.
const BLOCK_BYTES: usize = 256 << 10;

/// Texts that are looked for in a whole block at once, which is faster than line by line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Needle {
    Escape,
    Warn,
    PythonWarning,
    NeuronLogger,
    Bars,
    Status,
    Code,
    BackendExit,
    CompilerPath,
    Unsupported,
    NotSupported,
    BracketedLevel,
    Traceback,
}

const NEEDLES: [(Needle, &str); 13] = [
    (Needle::Escape, "\x1b"),
    (Needle::Warn, "WARN"),
    (Needle::PythonWarning, "Warning: "),
    (Needle::NeuronLogger, ":Neuron:"),
    (Needle::Bars, "||: "),
    (Needle::Status, "Compiler status "),
    (Needle::Code, "[NCC_"),
    (Needle::BackendExit, "exited with code"),
    (Needle::CompilerPath, "cc-"),
    (Needle::Unsupported, "nsupported "),
    (Needle::NotSupported, " not supported"),
    (Needle::BracketedLevel, "]: "),
    (Needle::Traceback, "Traceback (most recent call last)"),
];

/// Which needles a line holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needles(u16);

impl Needles {
    pub(super) fn has(self, needle: Needle) -> bool {
        self.0 & (1 << needle as u16) != 0
    }
}

/// A source of bytes, read line by line.
pub(super) struct Lines<R> {
    source: R,
    finders: Vec<Finder<'static>>,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that are read and not handed out.
    start: usize,
    end: usize,
    /// Where each needle occurs next, if that is known.
    next: [Option<usize>; NEEDLES.len()],
    /// The rest of the current line is skipped.
    skipping: bool,
    /// The current line without terminal control sequences, if it has any.
    clean: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        let finders = NEEDLES.iter().map(|(_, text)| Finder::new(*text));
        Self {
            source,
            finders: finders.collect(),
            buffer: vec![0; BLOCK_BYTES],
            start: 0,
            end: 0,
            next: [None; NEEDLES.len()],
            skipping: false,
            clean: Vec::new(),
        }
    }

    /// Hands every line that is not empty to `line`, without its end and without colours.
    pub(super) fn for_each(
        &mut self,
        skipped: &mut Skipped,
        mut line: impl FnMut(&[u8], Needles),
    ) -> io::Result<()> {
        loop {
            let read = self.fill()?;
            skipped.bytes += read as u64;
            self.next = [None; NEEDLES.len()];
            while let Some(length) = memchr2(b'\n', b'\r', &self.buffer[self.start..self.end]) {
                let at = self.start + length;
                skipped.lines += u64::from(self.buffer[at] == b'\n');
                self.hand_out(at, skipped, &mut line);
                self.start = at + 1;
                self.skipping = false;
            }
            if read == 0 {
                skipped.lines += u64::from(self.start < self.end || self.skipping);
                self.hand_out(self.end, skipped, &mut line);
                return Ok(());
            }
            if self.skipping || self.end - self.start >= LINE_BYTES_MAX {
                self.hand_out(self.end, skipped, &mut line);
                self.skipping = true;
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

    fn hand_out(
        &mut self,
        end: usize,
        skipped: &mut Skipped,
        line: &mut impl FnMut(&[u8], Needles),
    ) {
        let length = end - self.start;
        if self.skipping {
            skipped.long_line_bytes += length as u64;
            return;
        }
        if length == 0 {
            return;
        }
        let kept = length.min(LINE_BYTES_MAX);
        let at_bound = self.end - self.start >= LINE_BYTES_MAX && end == self.end;
        skipped.long_lines += u64::from(length > kept || at_bound);
        skipped.long_line_bytes += (length - kept) as u64;
        let needles = self.needles(end);
        let text = &self.buffer[self.start..self.start + kept];
        if needles.has(Needle::Escape) {
            strip_escapes(text, &mut self.clean);
            let mut found = 0;
            for (index, finder) in self.finders.iter().enumerate() {
                found |= u16::from(finder.find(&self.clean).is_some()) << index;
            }
            line(&self.clean, Needles(found));
        } else {
            line(text, needles);
        }
    }

    /// The needles between `start` and `end`; remembers where the next one is.
    fn needles(&mut self, end: usize) -> Needles {
        let mut found = 0;
        for (index, finder) in self.finders.iter().enumerate() {
            let known = self.next[index].filter(|at| *at >= self.start);
            let at = known.unwrap_or_else(|| {
                let rest = &self.buffer[self.start..self.end];
                let offset = match finder.needle() {
                    [byte] => memchr(*byte, rest),
                    _ => finder.find(rest),
                };
                offset.map_or(usize::MAX, |offset| self.start + offset)
            });
            self.next[index] = Some(at);
            found |= u16::from(at < end) << index;
        }
        Needles(found)
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

/// What follows an escape sequence whose escape byte is already gone.
fn after_escape(rest: &[u8]) -> &[u8] {
    match rest.first() {
        Some(b'[') => {
            let end = rest[1..]
                .iter()
                .position(|byte| (0x40..=0x7e).contains(byte));
            end.map_or(&[], |end| &rest[end + 2..])
        }
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

    fn lines(bytes: &[u8]) -> (Vec<String>, Skipped) {
        let mut found = Vec::new();
        let mut skipped = Skipped::default();
        Lines::new(bytes)
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
        let mut skipped = Skipped::default();
        let mut lines = Lines::new(&bytes[..]);
        lines
            .for_each(&mut skipped, |line, needles| {
                found.push((line.to_vec(), needles.has(Needle::Status)));
            })
            .unwrap();
        let plain = (b"plain".to_vec(), false);
        assert_eq!(found, [(b"Compiler status PASS".to_vec(), true), plain]);
    }
}
