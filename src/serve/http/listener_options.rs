//! What stands between a socket and the routes, and how it follows its files.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::serve::http::access::keys::Keys;
use crate::serve::http::tls::Tls;
use crate::serve::http::traces::Traces;

/// How often files are looked at.
const FILES_EVERY: Duration = Duration::from_secs(1);

/// What stands between a socket and the routes.
#[derive(Debug, Default)]
pub struct ListenerOptions {
    /// Connections are plain without.
    pub tls: Option<Tls>,
    /// Everybody may ask for everything that is not for admins without.
    pub keys: Option<Keys>,
    /// Every request gets a line in the log.
    pub log_requests: bool,
    /// BoundedTasks are not traced without.
    pub traces: Option<Arc<Traces>>,
}

impl ListenerOptions {
    /// Follows the files of certificates and keys until what is given back is dropped.
    pub(super) fn follow_files(self: Arc<Self>) -> Result<Option<Sender<()>>> {
        if self.tls.is_none() && self.keys.is_none() {
            return Ok(None);
        }
        let (stop, stopped) = mpsc::channel();
        let follow = move || {
            while stopped.recv_timeout(FILES_EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Some(tls) = &self.tls {
                    tls.refresh();
                }
                if let Some(keys) = &self.keys {
                    keys.refresh();
                }
            }
        };
        // A thread of its own: a file system that hangs must not keep requests.
        let thread = thread::Builder::new().name("files".to_owned());
        thread.spawn(follow).context("following files")?;
        Ok(Some(stop))
    }
}
