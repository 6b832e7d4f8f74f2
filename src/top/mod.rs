//! What a server, its host and its devices are doing: two looks at what they have counted, and the
//! difference as rates.
//!
//! `source` asks the server, `host` the kernel where the server is on this machine, `monitor` the
//! `neuron-monitor` of the SDK where there is one; `view` computes with its `warnings`, and
//! `text` writes for people, in the `line`s and `table`s that there is room for.

pub mod host;
pub mod line;
pub mod monitor;
pub mod source;
mod table;
pub mod text;
pub mod view;
mod warnings;

use std::path::Path;

use crate::serve::status::ServerStatus;
use crate::top::host::Host;
use crate::top::monitor::NeuronUse;

/// What was counted so far.
#[derive(Debug, Clone)]
pub struct Look {
    pub server: ServerStatus,
    /// Where the server is on this machine.
    pub host: Option<Host>,
    /// The last that `neuron-monitor` said.
    pub neuron: Option<NeuronUse>,
}

impl Look {
    /// Of a server that has just said this of itself; `is_near` when its address is of this machine,
    /// whose files lie below `root`.
    pub fn at(server: ServerStatus, is_near: bool, root: &Path, neuron: Option<NeuronUse>) -> Self {
        let workers: Vec<u32> = server.cores.iter().filter_map(|core| core.pid).collect();
        let host = is_near.then(|| Host::read(root, server.front.pid, &workers));
        Self {
            host: host.flatten(),
            server,
            neuron,
        }
    }
}
