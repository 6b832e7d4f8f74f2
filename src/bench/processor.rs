//! Measures the processor time of the server, the load generator and everything else, where the server is on
//! this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::files;
use crate::processes::{ProcessStat, Processors};

/// Shorter runs have no processor time, since the kernel counts in hundredths of a second.
const WALL_SECONDS_MIN: f64 = 0.5;

/// Processor time so far, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorSnapshot {
    at: Instant,
    server: f64,
    client: f64,
    machine: f64,
}

/// Processor time of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ProcessorUsage {
    /// Microseconds of the server and its workers for each answered request.
    pub server_micros_per_request: f64,
    pub client_micros_per_request: f64,
    /// Number of processors, of all `processors`, that the server, the client and everything else kept busy.
    pub server: f64,
    pub client: f64,
    pub others: f64,
    pub processors: usize,
}

impl ProcessorSnapshot {
    /// The processor time until now; `server` is the process id of the server.
    pub fn take(server: u32) -> Option<Self> {
        let root = Path::new("/");
        Some(Self {
            at: Instant::now(),
            server: family_seconds(server)?,
            client: ProcessStat::read(root, std::process::id())?.cpu_seconds,
            machine: Processors::read(root)?.busy_seconds,
        })
    }

    /// Processor time from `self` to `later`, while `requests` were answered; `None` where the time is too
    /// short to be seen.
    pub fn usage(&self, later: &Self, requests: u64, processors: usize) -> Option<ProcessorUsage> {
        let wall = (later.at - self.at).as_secs_f64();
        if wall < WALL_SECONDS_MIN {
            return None;
        }
        let server = later.server - self.server;
        let client = later.client - self.client;
        let others = (later.machine - self.machine - server - client).max(0.0);
        let each = |seconds: f64| seconds / requests.max(1) as f64 * 1e6;
        Some(ProcessorUsage {
            server_micros_per_request: each(server),
            client_micros_per_request: each(client),
            server: server / wall,
            client: client / wall,
            others: others / wall,
            processors,
        })
    }
}

/// Processor seconds of a process and all its descendants.
fn family_seconds(root: u32) -> Option<f64> {
    let processes: BTreeMap<u32, ProcessStat> = process_ids()
        .filter_map(|id| Some((id, ProcessStat::read(Path::new("/"), id)?)))
        .collect();
    let mut seconds = processes.get(&root)?.cpu_seconds;
    let mut family = BTreeSet::from([root]);
    loop {
        let known = family.len();
        for (id, process) in &processes {
            if family.contains(&process.parent) && family.insert(*id) {
                seconds += process.cpu_seconds;
            }
        }
        if family.len() == known {
            return Some(seconds);
        }
    }
}

fn process_ids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Id of the process that listens on `address`, where it is on this machine and this user may examine it.
pub(super) fn listener(address: SocketAddr) -> Option<u32> {
    let is_here = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if !is_here {
        return None;
    }
    let table = match address {
        SocketAddr::V4(_) => "/proc/net/tcp",
        SocketAddr::V6(_) => "/proc/net/tcp6",
    };
    let port = format!(":{:04X}", address.port());
    let table = files::read_text(Path::new(table)).ok()?;
    let inode = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // State 0A is LISTEN.
        let is_it = fields.get(1)?.ends_with(&port) && *fields.get(3)? == "0A";
        is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })?;
    let socket = format!("socket:[{inode}]");
    process_ids().find(|id| {
        let files = std::fs::read_dir(format!("/proc/{id}/fd"));
        let mut files = files.into_iter().flatten().flatten();
        files.any(|file| {
            std::fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket.as_str())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(listener(address), Some(std::process::id()));
        drop(socket);
        assert_eq!(listener(address), None);
    }

    #[test]
    fn work_shows_in_the_time_of_its_process_when_there_was_time_to_see_it() {
        let before = ProcessorSnapshot::take(std::process::id()).unwrap();
        let ends = Instant::now() + std::time::Duration::from_secs(10);
        let mut spun = 0u64;
        let usage = loop {
            spun = spun.wrapping_mul(31).wrapping_add(1);
            let now = ProcessorSnapshot::take(std::process::id()).unwrap();
            let is_seen = (now.at - before.at).as_secs_f64() >= WALL_SECONDS_MIN;
            let usage = before.usage(&now, 1, 1);
            assert_eq!(usage.is_some(), is_seen);
            match usage {
                Some(usage) if usage.client > 0.0 => break usage,
                _ => assert!(Instant::now() < ends, "no time passed: {spun}"),
            }
        };
        assert!(usage.client_micros_per_request >= 10_000.0, "{usage:?}");
        assert!(usage.server > 0.0, "{usage:?}");
    }
}
