//! How many connections there is place for: each needs a file descriptor, and the server needs some
//! for itself.

use std::num::NonZeroUsize;

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::Failure;
use crate::serve::limits::Limits;

/// Connections that are being told that there is no place.
pub(super) const REFUSALS_MAX: usize = 64;

/// Connections to the ports for management, beside all others.
pub(super) const MANAGEMENT_MAX: usize = 64;

/// Descriptors that are neither connections nor of workers: listeners, files that are read.
const OWN: usize = 192;

/// Those of a worker: four of its process, which the next one may have already while the last one goes,
/// and a port of its own.
const OWN_OF_WORKER: usize = 9;

/// Raises the limit of open files as far as it goes, and gives the number of connections: those asked
/// for, else the standard ones or as many as there is place for beside so many workers.
pub fn places(asked: Option<NonZeroUsize>, workers: usize) -> Result<usize> {
    let files = raised();
    let own = OWN + OWN_OF_WORKER * workers + REFUSALS_MAX + MANAGEMENT_MAX;
    let room = files.saturating_sub(own).max(1);
    match asked {
        None => Ok(room.min(Limits::STANDARD.connections)),
        Some(asked) if asked.get() <= room => Ok(asked.get()),
        Some(asked) => Err(Failure::usage(format!("limit `connections` is {asked}"))
            .why(format!(
                "each needs a file, this process may open {files}, and needs {own} for itself"
            ))
            .help(format!("ask for at most {room}, or raise `ulimit -Hn`"))
            .into()),
    }
}

/// The limit of open files, which is the highest that this process may give itself.
fn raised() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
