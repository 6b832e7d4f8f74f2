//! A terminal that is drawn over and over: what was on it comes back when the screen is dropped.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context as _, Result};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::top::text::{Colours, Line};

/// The other screen of the terminal, and no cursor on it.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Where the terminal does not say how large it is.
const SIZE: (usize, usize) = (80, 24);

/// Says when to stop: on Ctrl-C, SIGTERM, and where keys are read, `q`.
pub(super) fn stops(with_keys: bool) -> Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("watching for signals")?;
    let (told, stop) = mpsc::channel();
    let key = told.clone();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            // A command that has ended need not be told.
            let _ = told.send(());
        }
    });
    if with_keys {
        thread::spawn(move || {
            let is_quit = |byte: &io::Result<u8>| matches!(byte, Ok(b'q' | b'Q'));
            if io::stdin().lock().bytes().any(|byte| is_quit(&byte)) {
                let _ = key.send(());
            }
        });
    }
    Ok(stop)
}

/// The terminal of stdout.
#[derive(Debug)]
pub(super) struct Screen {
    /// How its keys were read before; absent where stdin is no terminal.
    before: Option<Termios>,
}

impl Screen {
    pub(super) fn open() -> Result<Self> {
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

    /// Draws as many lines as there is room for, in place of what was there.
    pub(super) fn show(&self, lines: &[Line]) -> Result<()> {
        let (width, height) = size();
        let mut text = "\x1b[H".to_owned();
        for (index, line) in lines.iter().take(height).enumerate() {
            if index > 0 {
                text.push_str("\r\n");
            }
            text.push_str(&line.show(width, Colours::Yes));
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        write(&text)
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
