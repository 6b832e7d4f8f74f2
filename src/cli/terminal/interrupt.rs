//! Ctrl-C and SIGTERM during a command that writes files or starts processes.

use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

use crate::cleanup;
use crate::cli::terminal::print;
use crate::failure::{Class, Failure};

/// From this call on, a signal removes everything half-made and ends the process. Where a receiver of the
/// returned sender exists, the first Ctrl-C only sets its value to true.
pub(in crate::cli) fn clean_up_on_signals() -> Result<Arc<watch::Sender<bool>>> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("watching for signals")?;
    let said = Arc::new(watch::Sender::new(false));
    let saying = Arc::clone(&said);
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGINT && saying.receiver_count() > 0 && !saying.send_replace(true) {
                continue;
            }
            cleanup::run_and_stop_others();
            let interrupted = Failure::new(
                Class::Interrupted,
                "interrupted; nothing half-made was left",
            );
            print::failure(&interrupted.into());
            std::process::exit(i32::from(Class::Interrupted.exit_code()));
        }
    });
    Ok(said)
}
