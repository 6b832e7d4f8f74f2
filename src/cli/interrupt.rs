//! Ctrl-C and SIGTERM during a command that makes something.

use std::thread;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cleanup;
use crate::cli::output;
use crate::failure::{Class, Failure};

/// From now on a signal ends the process with everything half-made removed.
pub(super) fn clean_up_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("watching for signals")?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            cleanup::run_and_stop_others();
            let interrupted = Failure::new(
                Class::Interrupted,
                "interrupted; nothing half-made was left",
            );
            output::failure(&interrupted.into());
            std::process::exit(i32::from(Class::Interrupted.exit_code()));
        }
    });
    Ok(())
}
