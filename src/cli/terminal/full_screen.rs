//! A terminal that is drawn over and over: what was on it comes back when the screen is dropped.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context as _, Result};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::top::line::{self, Colours, Line};

/// The other screen of the terminal, and no cursor on it.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Where the terminal does not say how large it is.
const SIZE: (usize, usize) = (80, 24);

/// What somebody wants of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Wish {
    End,
    Move(Step),
    /// The window has another size.
    Redraw,
}

/// Where to go in what does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Step {
    Lines(isize),
    Pages(isize),
    Top,
    Bottom,
}

/// Says what is wanted: an end on Ctrl-C, SIGTERM, and where keys are read, `q`.
pub(in crate::cli) fn wishes(with_keys: bool) -> Result<Receiver<Wish>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGWINCH]).context("watching for signals")?;
    let (told, wishes) = mpsc::channel();
    let key = told.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            let wish = match signal {
                SIGWINCH => Wish::Redraw,
                _ => Wish::End,
            };
            // A command that has ended need not be told.
            if told.send(wish).is_err() {
                return;
            }
        }
    });
    if with_keys {
        thread::spawn(move || {
            let mut bytes = io::stdin().lock().bytes().map_while(Result::ok);
            while let Some(byte) = bytes.next() {
                let wish = wish(byte, &mut bytes);
                if wish.is_some_and(|wish| key.send(wish).is_err()) {
                    return;
                }
            }
        });
    }
    Ok(wishes)
}

/// What the key means that begins with `byte`; the rest of it is taken from those that follow.
fn wish(byte: u8, more: &mut impl Iterator<Item = u8>) -> Option<Wish> {
    let step = match byte {
        b'q' | b'Q' => return Some(Wish::End),
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
            other => return wish(other, &mut std::iter::empty()),
        },
        _ => return None,
    };
    Some(Wish::Move(step))
}

/// How wide text is: as the terminal of stdout, or as one of old.
pub(in crate::cli) fn width() -> usize {
    size().0
}

/// The terminal of stdout.
#[derive(Debug)]
pub(in crate::cli) struct Screen {
    /// How its keys were read before; absent where stdin is no terminal.
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

    /// Draws the lines from `from` on in place of what was there, as many as there is room for, and says
    /// where there are more.
    pub(in crate::cli) fn show(&self, lines: &[Line], from: usize) -> Result<()> {
        let (width, height) = size();
        let part = Part::of(lines.len(), height, from);
        let mut shown: Vec<String> = { lines.iter().skip(part.from).take(part.count) }
            .map(|line| line.show(width, Colours::Yes))
            .collect();
        if let Some(text) = part.rest() {
            let more = line::aside(&text, usize::MAX);
            shown.extend(more.iter().map(|line| line.show(width, Colours::Yes)));
        }
        write(&format!("\x1b[H{}\x1b[K\x1b[J", shown.join("\x1b[K\r\n")))
    }

    /// Where one is after a step from `from`.
    pub(in crate::cli) fn moved(&self, lines: usize, from: usize, step: Step) -> usize {
        let part = Part::of(lines, size().1, from);
        let by = |count: isize| part.from.saturating_add_signed(count);
        let page = isize::try_from(part.count).unwrap_or(1);
        let to = match step {
            Step::Lines(count) => by(count),
            Step::Pages(count) => by(count * page),
            Step::Top => 0,
            Step::Bottom => lines,
        };
        Part::of(lines, size().1, to).from
    }
}

/// The lines that are on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: usize,
    count: usize,
    all: usize,
}

impl Part {
    /// As many from `from` on as fit, beside the line that says that there are more.
    fn of(all: usize, height: usize, from: usize) -> Self {
        let count = match all <= height {
            true => all,
            false => height.saturating_sub(1).max(1),
        };
        Self {
            from: from.min(all - count),
            count,
            all,
        }
    }

    /// What is said of those that are not.
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
        // There is nothing left to do for a terminal that is gone.
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
    fn keys_are_known_whole() {
        let keys = |bytes: &[u8]| {
            let mut bytes = bytes.iter().copied();
            let mut found = Vec::new();
            while let Some(byte) = bytes.next() {
                found.extend(wish(byte, &mut bytes));
            }
            found
        };
        assert_eq!(keys(b"xq"), [Wish::End]);
        let moves = |steps: &[Step]| steps.iter().map(|s| Wish::Move(*s)).collect::<Vec<_>>();
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
        assert_eq!(keys(b"\x1b[2~\x1bq"), [Wish::End]);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        assert_eq!(Part::of(24, 24, 3).rest(), None);
        let part = Part::of(40, 24, 0);
        assert_eq!((part.from, part.count), (0, 23));
        assert!(
            part.rest()
                .unwrap()
                .starts_with("17 lines are not shown: this is 1-23 of 40")
        );
        assert!(part.rest().unwrap().len() <= 80);
        assert_eq!(Part::of(40, 24, 99).from, 17);
        assert_eq!(Part::of(5, 1, 9).from, 4);
    }
}
