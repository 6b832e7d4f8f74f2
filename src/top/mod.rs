//! Shows what a server, its host and its devices are doing: two observations of what they have
//! counted, and the difference as rates.
//!
//! `management_port` asks the server, `host` reads the kernel's counters where the server is on this
//! machine, `monitor` runs the SDK's `neuron-monitor` where there is one; `comparison` turns two
//! observations into a `view` with `warnings`, and `text` writes it for people, in `line`s and in a
//! `table` that fits.

pub mod comparison;
pub mod host;
pub mod line;
pub mod management_port;
pub mod monitor;
pub mod monitor_line;
mod table;
pub mod text;
pub mod view;
mod warnings;

use std::path::Path;

use crate::serve::status::ServerStatus;
use crate::top::host::HostCounters;
use crate::top::monitor_line::NeuronUse;

/// What the server, its host and its devices have counted up to one moment.
#[derive(Debug, Clone)]
pub struct Observation {
    pub server: ServerStatus,
    /// Present where the server is on this machine.
    pub host: Option<HostCounters>,
    /// The last line of `neuron-monitor`; absent where it does not run.
    pub neuron: Option<NeuronUse>,
}

impl Observation {
    /// Adds the host's counters to the status that a server has just sent. `is_local` says that the
    /// server's address is one of this machine, whose `/proc` lies below `root`.
    pub fn new(
        server: ServerStatus,
        is_local: bool,
        root: &Path,
        neuron: Option<NeuronUse>,
    ) -> Self {
        let workers: Vec<u32> = server.cores.iter().filter_map(|core| core.pid).collect();
        let host = is_local.then(|| HostCounters::read(root, server.front.pid, &workers));
        Self {
            host: host.flatten(),
            server,
            neuron,
        }
    }
}
