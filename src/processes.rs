//! Reads from `/proc` what processes and processors have used so far.

use std::path::Path;

use crate::files;

/// Ticks of `/proc` per second; Linux has had this value on every machine for twenty years.
const TICKS_PER_SECOND: f64 = 100.0;

/// The state of a process, from `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessStat {
    pub parent: u32,
    /// Processor seconds so far, with those of children that have ended.
    pub cpu_seconds: f64,
    /// Time of its start, in seconds since the machine was started.
    pub started_seconds: f64,
    /// Bytes in memory, with the pages that it shares with others.
    pub resident_bytes: u64,
}

impl ProcessStat {
    /// `None` where no process has that id.
    pub fn read(root: &Path, id: u32) -> Option<Self> {
        let stat = files::read_text(&root.join(format!("proc/{id}/stat"))).ok()?;
        // The name before the numbers is in parentheses and may itself hold parentheses and spaces.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let seconds = |index: usize| {
            let ticks = fields.get(index)?.parse::<f64>().ok()?;
            Some(ticks / TICKS_PER_SECOND)
        };
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            cpu_seconds: seconds(11)? + seconds(12)? + seconds(13)? + seconds(14)?,
            started_seconds: seconds(19)?,
            resident_bytes: kib(root, id, "status", "VmRSS:")?,
        })
    }
}

/// Bytes of a process in which a shared page counts in equal parts for every process that shares it. The kernel
/// walks all pages for that, so it should not be asked often. `None` for a process of another user.
pub fn proportional_bytes(root: &Path, id: u32) -> Option<u64> {
    kib(root, id, "smaps_rollup", "Pss:")
}

/// The value in bytes of a line such as `Pss:  8 kB` in a file of a process.
fn kib(root: &Path, id: u32, file: &str, name: &str) -> Option<u64> {
    let text = files::read_text(&root.join(format!("proc/{id}/{file}"))).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The first word of a process's command line, without its folder.
pub fn program(root: &Path, id: u32) -> Option<String> {
    let line = files::read_text(&root.join(format!("proc/{id}/cmdline"))).ok()?;
    let first = line.split('\0').next()?;
    Some(first.rsplit('/').next()?.to_owned())
}

/// Number of open files of a process.
pub fn open_files(root: &Path, id: u32) -> Option<u64> {
    let entries = std::fs::read_dir(root.join(format!("proc/{id}/fd"))).ok()?;
    Some(entries.count() as u64)
}

/// Time of the start of the machine, in seconds since 1970.
pub fn boot_seconds(root: &Path) -> Option<f64> {
    let stat = files::read_text(&root.join("proc/stat")).ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// The processors of a machine, and the time that they worked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Processors {
    pub count: usize,
    /// Busy seconds of all processors together, since the machine was started.
    pub busy_seconds: f64,
    /// Busy and idle seconds of all processors together.
    pub seconds: f64,
}

impl Processors {
    pub fn read(root: &Path) -> Option<Self> {
        let stat = files::read_text(&root.join("proc/stat")).ok()?;
        let is_one = |line: &&str| {
            let number = line.strip_prefix("cpu");
            number.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        let fields = stat.lines().next()?.split_whitespace().skip(1);
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user
        let ticks: Vec<f64> = fields
            .filter_map(|field| field.parse().ok())
            .take(8)
            .collect();
        let all: f64 = ticks.iter().sum();
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some(Self {
            count: stat.lines().filter(is_one).count(),
            busy_seconds: (all - idle) / TICKS_PER_SECOND,
            seconds: all / TICKS_PER_SECOND,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_and_takes_what_it_takes() {
        let (root, id) = (Path::new("/"), std::process::id());
        let process = ProcessStat::read(root, id).unwrap();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        let started = boot_seconds(root).unwrap() + process.started_seconds;
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - started;
        assert!((-2.0..3600.0).contains(&age), "{age} s old");
        let shared = proportional_bytes(root, id).unwrap();
        assert!(shared > 1 << 20 && shared <= process.resident_bytes * 2);
        assert!(open_files(root, id).unwrap() > 2);
        assert!(program(root, id).unwrap().starts_with("neuronc"));
        let processors = Processors::read(root).unwrap();
        assert!(processors.count > 0 && processors.busy_seconds < processors.seconds);
        assert_eq!(ProcessStat::read(Path::new("/no/such/root"), id), None);
    }
}
