//! Bytes into physical lines, in constant memory, with the needles that each line holds.

use std::cell::Cell;
use std::io::{self, Read};

use aho_corasick::{AhoCorasick, MatchKind};
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
    Warn,
    PythonWarning,
    Status,
    Code,
    BackendExit,
    Unsupported,
    NotSupported,
    Traceback,
    // Those below are in nearly every line of some logs.
    Escape,
    NeuronLogger,
    Bars,
    CompilerPath,
    BracketedLevel,
}

/// The needles that most lines do not hold, of any log.
const RARE: usize = Needle::Traceback as usize + 1;

/// In the order of [`Needle`].
const NEEDLES: [&str; 13] = [
    "WARN",
    "Warning: ",
    "Compiler status ",
    "[NCC_",
    "exited with code",
    "nsupported ",
    " not supported",
    "Traceback (most recent call last)",
    "\x1b",
    ":Neuron:",
    "||: ",
    "cc-",
    "]: ",
];

/// Which needles a line holds. A needle is only looked for when somebody asks, and then up to the end
/// of the block: for the lines up to where it is found the answer costs nothing.
#[derive(Clone, Copy)]
pub(super) struct Needles<'a> {
    finders: &'a [Finder<'static>],
    block: &'a [u8],
    /// The line in the block.
    start: usize,
    end: usize,
    next: &'a Positions,
    /// The line holds none of the rare needles.
    quiet: bool,
}

/// Where each needle occurs next in a block; before the line where that is not known.
type Positions = [Cell<usize>; NEEDLES.len()];

/// A position that is not known.
const UNKNOWN: usize = 0;

impl Needles<'_> {
    #[inline]
    pub(super) fn has(self, needle: Needle) -> bool {
        let index = needle as usize;
        match index < RARE {
            true => !self.quiet && self.is_in_line(index),
            false => self.behind(index) <= self.end,
        }
    }

    fn is_in_line(self, index: usize) -> bool {
        let line = &self.block[self.start..self.end];
        self.finders[index].find(line).is_some()
    }

    /// The place behind the first byte of the next needle of a kind; beyond every line when there is
    /// none.
    fn behind(self, index: usize) -> usize {
        let next = &self.next[index];
        // `UNKNOWN` is before every line.
        if next.get() <= self.start {
            let finder = &self.finders[index];
            let rest = &self.block[self.start..];
            let found = match finder.needle() {
                [byte] => memchr(*byte, rest),
                _ => finder.find(rest),
            };
            next.set(found.map_or(usize::MAX, |offset| self.start + offset + 1));
        }
        next.get()
    }
}

/// A source of bytes, read line by line.
pub(super) struct Lines<R> {
    source: R,
    finders: Vec<Finder<'static>>,
    /// All rare needles in one pass.
    rare: AhoCorasick,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that are read and not handed out.
    start: usize,
    end: usize,
    next: Positions,
    /// Where the next rare needle is, of any kind.
    next_rare: usize,
    /// The rest of the current line is skipped.
    skipping: bool,
    /// The current line without terminal control sequences, if it has any.
    clean: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        let finders = NEEDLES.iter().map(|text| Finder::new(*text));
        let rare = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(&NEEDLES[..RARE])
            .expect("a few short texts are an automaton");
        Self {
            source,
            finders: finders.collect(),
            rare,
            buffer: vec![0; BLOCK_BYTES],
            start: 0,
            end: 0,
            next: unknown(),
            next_rare: UNKNOWN,
            skipping: false,
            clean: Vec::new(),
        }
    }

    /// Hands every line that is not empty to `line`, without its end and without colours.
    pub(super) fn for_each(
        &mut self,
        skipped: &mut Skipped,
        mut line: impl FnMut(&[u8], Needles<'_>),
    ) -> io::Result<()> {
        loop {
            let read = self.fill()?;
            skipped.bytes += read as u64;
            self.next = unknown();
            self.next_rare = UNKNOWN;
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
        line: &mut impl FnMut(&[u8], Needles<'_>),
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
        let block = &self.buffer[..self.end];
        if self.next_rare <= self.start {
            let found = self.rare.find(&block[self.start..]);
            self.next_rare = found.map_or(usize::MAX, |found| self.start + found.start() + 1);
        }
        let needles = Needles {
            finders: &self.finders,
            block,
            start: self.start,
            end,
            next: &self.next,
            quiet: self.next_rare > end,
        };
        let text = &self.buffer[self.start..self.start + kept];
        if !needles.has(Needle::Escape) {
            line(text, needles);
            return;
        }
        strip_escapes(text, &mut self.clean);
        let needles = Needles {
            block: &self.clean,
            start: 0,
            end: self.clean.len(),
            next: &unknown(),
            quiet: false,
            ..needles
        };
        line(&self.clean, needles);
    }
}

fn unknown() -> Positions {
    std::array::from_fn(|_| Cell::new(UNKNOWN))
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
