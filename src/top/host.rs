//! The kernel's counters of the host and of a server's processes on it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host_memory::HostMemory;
use crate::processes::{self, ProcessStat, Processors};

/// The program whose process a server is.
const PROGRAM: &str = "neuronc";

/// Counters of the host and of the processes of a server on it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostCounters {
    pub processors: Processors,
    pub memory: HostMemory,
    pub front: ProcessCounters,
    /// By process id.
    pub workers: BTreeMap<u32, ProcessCounters>,
}

/// Counters of a process of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessCounters {
    pub process: ProcessStat,
    /// Memory in which a shared page counts in equal parts for every process that shares it; unknown
    /// for a process of another user.
    pub proportional_bytes: Option<u64>,
}

impl HostCounters {
    /// `None` where process `front` is not a neuronc: the server is then on another machine, behind a
    /// tunnel or in another container.
    pub fn read(root: &Path, front: u32, workers: &[u32]) -> Option<Self> {
        processes::program(root, front).filter(|name| name == PROGRAM)?;
        let workers = workers.iter();
        Some(Self {
            processors: Processors::read(root)?,
            memory: HostMemory::read(root),
            front: ProcessCounters::read(root, front)?,
            workers: workers
                .filter_map(|id| Some((*id, ProcessCounters::read(root, *id)?)))
                .collect(),
        })
    }
}

impl ProcessCounters {
    fn read(root: &Path, id: u32) -> Option<Self> {
        Some(Self {
            process: ProcessStat::read(root, id)?,
            proportional_bytes: processes::proportional_bytes(root, id),
        })
    }
}
