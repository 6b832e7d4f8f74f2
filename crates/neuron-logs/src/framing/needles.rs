//! Texts that are searched in a whole block of a log at once, which is faster than line by line.

use std::cell::Cell;

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memchr;
use memchr::memmem::Finder;

/// A text whose presence in a line decides what is looked at there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Needle {
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

/// The number of needles that most lines of any log do not hold; they come first.
const RARE: usize = Needle::Traceback as usize + 1;

/// The text of each needle, in the order of [`Needle`].
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

/// The next occurrence of each needle in a block: one more than its index, which leaves 0 for
/// "not searched yet" and makes that smaller than any line's end.
pub(super) type NeedlePositions = [Cell<usize>; NEEDLES.len()];

const NOT_SEARCHED: usize = 0;

pub(super) fn not_searched() -> NeedlePositions {
    std::array::from_fn(|_| Cell::new(NOT_SEARCHED))
}

/// The search in one block after another.
pub(super) struct NeedleSearch {
    finders: Vec<Finder<'static>>,
    /// All rare needles in one pass.
    rare: AhoCorasick,
    next: NeedlePositions,
    /// The next occurrence of any rare needle.
    next_rare: usize,
}

impl NeedleSearch {
    pub(super) fn new() -> Self {
        let finders = NEEDLES.iter().map(|text| Finder::new(*text));
        let rare = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(&NEEDLES[..RARE])
            .expect("a few short texts make a small automaton");
        Self {
            finders: finders.collect(),
            rare,
            next: not_searched(),
            next_rare: NOT_SEARCHED,
        }
    }

    /// Forgets the positions: they are those of a block that is gone.
    pub(super) fn begin_block(&mut self) {
        self.next = not_searched();
        self.next_rare = NOT_SEARCHED;
    }

    /// The needles of the line `block[start..end]`; lines are asked for in their order.
    #[inline]
    pub(super) fn of_line<'a>(
        &'a mut self,
        block: &'a [u8],
        start: usize,
        end: usize,
    ) -> Needles<'a> {
        if self.next_rare <= start {
            let found = self.rare.find(&block[start..]);
            self.next_rare = found.map_or(usize::MAX, |found| start + found.start() + 1);
        }
        Needles {
            finders: &self.finders,
            block,
            start,
            end,
            next: &self.next,
            has_no_rare: self.next_rare > end,
        }
    }

    /// The needles of a text that is not part of the block; `next` is fresh.
    pub(super) fn of_text<'a>(&'a self, text: &'a [u8], next: &'a NeedlePositions) -> Needles<'a> {
        Needles {
            finders: &self.finders,
            block: text,
            start: 0,
            end: text.len(),
            next,
            has_no_rare: false,
        }
    }
}

/// The needles of one line. A needle is only searched when it is asked for, and then up to the end
/// of the block: for the lines up to the next occurrence the answer costs nothing.
#[derive(Clone, Copy)]
pub(crate) struct Needles<'a> {
    finders: &'a [Finder<'static>],
    block: &'a [u8],
    /// The line in the block.
    start: usize,
    end: usize,
    next: &'a NeedlePositions,
    has_no_rare: bool,
}

impl Needles<'_> {
    #[inline]
    pub(crate) fn has(self, needle: Needle) -> bool {
        let index = needle as usize;
        if index < RARE {
            !self.has_no_rare && self.is_in_line(index)
        } else {
            self.next_occurrence(index) <= self.end
        }
    }

    fn is_in_line(self, index: usize) -> bool {
        let line = &self.block[self.start..self.end];
        self.finders[index].find(line).is_some()
    }

    /// One more than the index of the next occurrence; `usize::MAX` when there is none.
    fn next_occurrence(self, index: usize) -> usize {
        let next = &self.next[index];
        // True before the first search, and when the last occurrence lies in an earlier line.
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
