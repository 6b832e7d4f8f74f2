//! How the server stops: first it only says that it is not ready, then it accepts nothing more, and at last
//! it refuses what it could not answer in time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use crate::serve::core::state::ServedState;

/// How a server is told to stop. A later variant stops it sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    NotYet,
    /// The server says that it is not ready for a while before it accepts nothing more, so that those who
    /// send it requests can turn elsewhere.
    WithNotice,
    /// It accepts nothing more at once.
    WithoutNotice,
    /// It does not wait for the answers of accepted requests either.
    WithoutDrain,
}

/// How long the refusals at the end of the drain may take to be sent.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Stops the server when it is told to: sends to `stopping` when nothing more is to be accepted, and returns
/// when accepted requests have had their time.
pub(crate) async fn shut_down(
    served: &ServedState,
    mut shutdown: watch::Receiver<Shutdown>,
    stopping: watch::Sender<bool>,
) {
    let (notice, drain) = (served.limits.notice, served.limits.drain);
    told(&mut shutdown, Shutdown::WithNotice).await;
    served.stopping.store(true, Ordering::Relaxed);
    tracing::info!("stopping: accepted requests are answered first; another Ctrl-C refuses them");
    tokio::select! {
        () = tokio::time::sleep(notice) => {}
        () = told(&mut shutdown, Shutdown::WithoutNotice) => {}
    }
    // The servers may already have failed.
    let _ = stopping.send(true);
    tokio::select! {
        () = tokio::time::sleep(drain) => {
            tracing::warn!(?drain, "requests were still open when the drain ended");
        }
        () = told(&mut shutdown, Shutdown::WithoutDrain) => {
            tracing::warn!("requests were still open when the drain was cut short");
        }
    }
    served.given_up.send_replace(true);
    tokio::time::sleep(LAST_ANSWERS).await;
}

/// Returns when the server is told to stop in this way or a quicker one.
async fn told(shutdown: &mut watch::Receiver<Shutdown>, how: Shutdown) {
    if shutdown.wait_for(|now| *now >= how).await.is_err() {
        // The sender is gone: nobody can tell the server to stop any more.
        std::future::pending::<()>().await;
    }
}
