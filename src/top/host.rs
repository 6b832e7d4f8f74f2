//! What the kernel counts of a server on this machine: its processors, its memory and its processes.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host_memory::HostMemory;
use crate::processes::{self, Process, Processors};

/// The program whose process a server is.
const PROGRAM: &str = "neuronc";

/// The host and the processes of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    pub processors: Processors,
    pub memory: HostMemory,
    pub front: Memory,
    /// By process id.
    pub workers: BTreeMap<u32, Memory>,
}

/// A process of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    pub process: Process,
    /// Its part of what it shares with others; unknown for a process of somebody else.
    pub proportional_bytes: Option<u64>,
}

impl Host {
    /// `None` where there is no neuronc of that process id: the address leads to another machine.
    pub fn read(root: &Path, front: u32, workers: &[u32]) -> Option<Self> {
        processes::program(root, front).filter(|name| name == PROGRAM)?;
        let workers = workers.iter();
        Some(Self {
            processors: Processors::read(root)?,
            memory: HostMemory::read(root),
            front: Memory::read(root, front)?,
            workers: workers
                .filter_map(|id| Some((*id, Memory::read(root, *id)?)))
                .collect(),
        })
    }
}

impl Memory {
    fn read(root: &Path, id: u32) -> Option<Self> {
        Some(Self {
            process: Process::read(root, id)?,
            proportional_bytes: processes::proportional_bytes(root, id),
        })
    }
}
