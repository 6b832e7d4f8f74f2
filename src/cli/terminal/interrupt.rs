//! Ctrl-C and SIGTERM during a command that makes something.

use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

use crate::cleanup;
use crate::cli::terminal::print;
use crate::failure::{Class, Failure};

/// From now on a signal ends the process with everything half-made removed. The first Ctrl-C does not
/// where something listens to what is returned: it turns true.
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
