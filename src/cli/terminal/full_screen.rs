//! A full-screen view that is redrawn; the terminal's former contents come back when it is dropped.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context as _, Result};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::top::line::{self, Colours, StyledLine};

/// Switches to the alternate screen and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Columns and rows where the terminal does not tell its size.
const SIZE: (usize, usize) = (80, 24);

/// A key or a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum ScreenEvent {
    End,
    Move(Step),
    /// The window has another size.
    Redraw,
}

/// A move through lines of which not all fit on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Step {
    Lines(isize),
    Pages(isize),
    Top,
    Bottom,
}

/// Starts to send events: Ctrl-C, SIGTERM, a new window size, and with `with_keys` the keys of stdin.
pub(in crate::cli) fn events(with_keys: bool) -> Result<Receiver<ScreenEvent>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGWINCH]).context("watching for signals")?;
    let (sender, events) = mpsc::channel();
    let key_sender = sender.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            let event = match signal {
                SIGWINCH => ScreenEvent::Redraw,
                _ => ScreenEvent::End,
            };
            // It fails when the command has ended.
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    if with_keys {
        thread::spawn(move || {
            let mut bytes = io::stdin().lock().bytes().map_while(Result::ok);
            while let Some(byte) = bytes.next() {
                let event = event(byte, &mut bytes);
                if event.is_some_and(|event| key_sender.send(event).is_err()) {
                    return;
                }
            }
        });
    }
    Ok(events)
}

/// The event of the key whose first byte is `byte`; further bytes of the key are taken from `more`.
fn event(byte: u8, more: &mut impl Iterator<Item = u8>) -> Option<ScreenEvent> {
    let step = match byte {
        b'q' | b'Q' => return Some(ScreenEvent::End),
        b'j' | b'\n' | b'\r' => Step::Lines(1),
        b'k' => Step::Lines(-1),
        b' ' | b'f' => Step::Pages(1),
        b'b' => Step::Pages(-1),
        b'g' => Step::Top,
        b'G' => Step::Bottom,
        0x1b => match more.next()? {
            b'[' | b'O' => {
                let is_last = |byte: &u8| (0x40..=0x7e).contains(byte);
                let mut number = None;
                let last = more.find(|byte| {
                    number = number.or(Some(*byte));
                    is_last(byte)
                })?;
                match (last, number) {
                    (b'A', _) => Step::Lines(-1),
                    (b'B', _) => Step::Lines(1),
                    (b'H', _) | (b'~', Some(b'1' | b'7')) => Step::Top,
                    (b'F', _) | (b'~', Some(b'4' | b'8')) => Step::Bottom,
                    (b'~', Some(b'5')) => Step::Pages(-1),
                    (b'~', Some(b'6')) => Step::Pages(1),
                    _ => return None,
                }
            }
            // The escape key, and then another one.
            other => return event(other, &mut std::iter::empty()),
        },
        _ => return None,
    };
    Some(ScreenEvent::Move(step))
}

/// Columns of the terminal of stdout, or 80.
pub(in crate::cli) fn width() -> usize {
    size().0
}

/// The terminal of stdout.
#[derive(Debug)]
pub(in crate::cli) struct Screen {
    /// Settings of stdin to restore; absent where stdin is not a terminal.
    before: Option<Termios>,
}

impl Screen {
    pub(in crate::cli) fn open() -> Result<Self> {
        let before = termios::tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            // A key counts at once and is not shown; Ctrl-C stays a signal.
            let mut modes = before.clone();
            modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            termios::tcsetattr(io::stdin(), OptionalActions::Now, &modes)
                .context("preparing the terminal")?;
        }
        let screen = Self { before };
        write(ENTER)?;
        Ok(screen)
    }

    /// Draws the lines from `from` on, as many as fit; the last line of the screen tells how many do
    /// not.
    pub(in crate::cli) fn show(&self, lines: &[StyledLine], from: usize) -> Result<()> {
        let (width, height) = size();
        let visible = VisibleLines::of(lines.len(), height, from);
        let mut shown: Vec<String> = { lines.iter().skip(visible.from).take(visible.count) }
            .map(|line| line.show(width, Colours::Yes))
            .collect();
        if let Some(text) = visible.rest() {
            let more = line::aside(&text, usize::MAX);
            shown.extend(more.iter().map(|line| line.show(width, Colours::Yes)));
        }
        write(&format!("\x1b[H{}\x1b[K\x1b[J", shown.join("\x1b[K\r\n")))
    }

    /// First visible line after a step from `from`.
    pub(in crate::cli) fn moved(&self, lines: usize, from: usize, step: Step) -> usize {
        let visible = VisibleLines::of(lines, size().1, from);
        let by = |count: isize| visible.from.saturating_add_signed(count);
        let page = isize::try_from(visible.count).unwrap_or(1);
        let to = match step {
            Step::Lines(count) => by(count),
            Step::Pages(count) => by(count * page),
            Step::Top => 0,
            Step::Bottom => lines,
        };
        VisibleLines::of(lines, size().1, to).from
    }
}

/// The range of lines that the screen shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct VisibleLines {
    from: usize,
    count: usize,
    all: usize,
}

impl VisibleLines {
    /// The lines from `from` on that fit; where not all do, one row is kept for the line that says so.
    fn of(all: usize, height: usize, from: usize) -> Self {
        let count = if all <= height {
            all
        } else {
            height.saturating_sub(1).max(1)
        };
        Self {
            from: from.min(all - count),
            count,
            all,
        }
    }

    /// The line that counts the hidden lines; `None` where there is none.
    fn rest(self) -> Option<String> {
        let hidden = self.all - self.count;
        (hidden > 0).then(|| {
            let (first, last) = (self.from + 1, self.from + self.count);
            format!(
                "{hidden} lines are not shown: this is {first}-{last} of {}; arrows and PgUp, PgDn move",
                self.all
            )
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It fails when the terminal is gone, and then there is nothing to restore.
        let _ = write(LEAVE);
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn size() -> (usize, usize) {
    match termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => SIZE,
    }
}

fn write(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    written
        .and_then(|()| stdout.flush())
        .context("writing to the terminal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_several_bytes_is_one_event() {
        let keys = |bytes: &[u8]| {
            let mut bytes = bytes.iter().copied();
            let mut found = Vec::new();
            while let Some(byte) = bytes.next() {
                found.extend(event(byte, &mut bytes));
            }
            found
        };
        assert_eq!(keys(b"xq"), [ScreenEvent::End]);
        let moves = |steps: &[Step]| {
            steps
                .iter()
                .map(|s| ScreenEvent::Move(*s))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            keys(b"\x1b[B\x1bOA\x1b[6~\x1b[5~\x1b[1;5B"),
            moves(&[
                Step::Lines(1),
                Step::Lines(-1),
                Step::Pages(1),
                Step::Pages(-1),
                Step::Lines(1),
            ])
        );
        assert_eq!(
            keys(b"g\x1b[F\x1b[1~"),
            moves(&[Step::Top, Step::Bottom, Step::Top])
        );
        assert_eq!(keys(b"\x1b[2~\x1bq"), [ScreenEvent::End]);
    }

    #[test]
    fn hidden_lines_are_counted() {
        assert_eq!(VisibleLines::of(24, 24, 3).rest(), None);
        let visible = VisibleLines::of(40, 24, 0);
        assert_eq!((visible.from, visible.count), (0, 23));
        assert!(
            visible
                .rest()
                .unwrap()
                .starts_with("17 lines are not shown: this is 1-23 of 40")
        );
        assert!(visible.rest().unwrap().len() <= 80);
        assert_eq!(VisibleLines::of(40, 24, 99).from, 17);
        assert_eq!(VisibleLines::of(5, 1, 9).from, 4);
    }
}
