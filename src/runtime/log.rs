//! What a worker writes: passed on line by line, and the last of it kept, since the Neuron runtime tells
//! the cause of a failure there and not in its exceptions.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionread};

/// Lines that are kept.
const LINES_MAX: usize = 200;

/// A longer line is cut into pieces.
const LINE_BYTES_MAX: usize = 4 << 10;

/// The log of one worker.
#[derive(Debug)]
pub(super) struct Log {
    shared: Arc<Mutex<Shared>>,
}

/// Whoever holds the lock reads what is there; a reader never waits for more.
#[derive(Debug)]
struct Shared {
    pipe: PipeReader,
    sink: File,
    /// The line that has no end yet.
    unfinished: Vec<u8>,
    lines: VecDeque<String>,
    /// Lines that have been seen, kept or not.
    seen: u64,
}

impl Log {
    /// A log that is passed on to `sink`, and the file to which the worker has to write.
    pub(super) fn start(sink: File) -> Result<(Self, File)> {
        let (pipe, writer) = std::io::pipe().context("creating a pipe")?;
        let waiting = pipe.try_clone().context("sharing a pipe")?;
        let shared = Arc::new(Mutex::new(Shared {
            pipe,
            sink,
            unfinished: Vec::new(),
            lines: VecDeque::new(),
            seen: 0,
        }));
        let keeper = Arc::clone(&shared);
        thread::Builder::new()
            .name("worker-log".to_owned())
            .spawn(move || keep(&waiting, &keeper))
            .context("starting a thread")?;
        Ok((Self { shared }, OwnedFd::from(writer).into()))
    }

    /// The place in the log that is reached now; what was written before is before it.
    pub(super) fn position(&self) -> u64 {
        let mut shared = lock(&self.shared);
        shared.pump();
        shared.seen
    }

    /// The lines after `position`, as far as they are kept; everything written before this call is
    /// among them.
    pub(super) fn since(&self, position: u64) -> Vec<String> {
        let mut shared = lock(&self.shared);
        shared.pump();
        let new = usize::try_from(shared.seen - position).unwrap_or(LINES_MAX);
        let first = shared.lines.len().saturating_sub(new);
        let mut lines: Vec<String> = shared.lines.range(first..).cloned().collect();
        if !shared.unfinished.is_empty() {
            lines.push(text(&shared.unfinished));
        }
        lines
    }
}

/// Reads on until no process can write any more.
fn keep(waiting: &PipeReader, shared: &Mutex<Shared>) {
    loop {
        let mut ready = [PollFd::new(waiting, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) => (),
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        let is_closed = !ready[0].revents().contains(PollFlags::IN);
        let mut shared = lock(shared);
        shared.pump();
        if is_closed {
            shared.finish();
            return;
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Takes what is in the pipe now: a process that goes on writing must not keep its reader.
    fn pump(&mut self) {
        let mut waiting = ioctl_fionread(&self.pipe).unwrap_or(0);
        let mut bytes = vec![0; LINE_BYTES_MAX];
        while waiting > 0 {
            let Ok(count @ 1..) = self.pipe.read(&mut bytes) else {
                return;
            };
            waiting = waiting.saturating_sub(count as u64);
            for piece in bytes[..count].split_inclusive(|byte| *byte == b'\n') {
                self.unfinished.extend_from_slice(piece);
                if piece.ends_with(b"\n") || self.unfinished.len() >= LINE_BYTES_MAX {
                    self.finish();
                }
            }
        }
    }

    /// Whole lines only: several workers share a sink.
    fn finish(&mut self) {
        if self.unfinished.is_empty() {
            return;
        }
        // A sink that is closed or full must not end the worker.
        let _ = self.sink.write_all(&self.unfinished);
        self.seen += 1;
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(text(&self.unfinished));
        self.unfinished.clear();
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek as _;

    #[test]
    fn what_was_written_before_is_seen_at_once_and_passed_on_in_whole_lines() {
        let mut sink = tempfile::tempfile().unwrap();
        let (log, mut writer) = Log::start(sink.try_clone().unwrap()).unwrap();
        writer.write_all(b"one\ntwo\n").unwrap();
        let position = log.position();
        assert_eq!(log.since(0), ["one", "two"]);
        assert!(log.since(position).is_empty());
        writer.write_all(b"three\n\xff fo").unwrap();
        assert_eq!(log.since(position), ["three", "\u{fffd} fo"]);
        writer.write_all(b"ur\n").unwrap();
        assert_eq!(log.since(position), ["three", "\u{fffd} four"]);
        sink.rewind().unwrap();
        let mut passed = Vec::new();
        sink.read_to_end(&mut passed).unwrap();
        assert_eq!(passed, b"one\ntwo\nthree\n\xff four\n");
    }

    #[test]
    fn a_flood_neither_stops_the_worker_nor_fills_the_memory() {
        let (log, mut writer) = Log::start(tempfile::tempfile().unwrap()).unwrap();
        for number in 0..100_000 {
            writeln!(writer, "line {number}").unwrap();
        }
        writer.write_all(&vec![b'x'; 1 << 20]).unwrap();
        let lines = log.since(0);
        assert!(lines.len() <= LINES_MAX + 1, "{}", lines.len());
        assert!(lines.iter().all(|line| line.len() <= 2 * LINE_BYTES_MAX));
        let position = log.position();
        writeln!(writer, "\nlast").unwrap();
        assert_eq!(log.since(position).last().unwrap(), "last");
    }
}
