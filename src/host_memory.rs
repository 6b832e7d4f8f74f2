//! The memory of the host, and the part of it that control groups leave to this process.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::files;

/// A limit of a control group above this value is the kernel's way to say that there is no limit.
const LIMIT_MAX: u64 = 1 << 60;

/// Memory in bytes; `None` where the kernel does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct HostMemory {
    pub total: Option<u64>,
    pub available: Option<u64>,
    /// The lowest limit among the control groups of this process.
    pub limit: Option<u64>,
    /// The bytes left below that limit.
    pub left_in_limit: Option<u64>,
}

impl HostMemory {
    /// Reads the memory of the machine whose `/proc` and `/sys` lie below `root`.
    pub fn read(root: &Path) -> Self {
        let meminfo = fact(&root.join("proc/meminfo")).unwrap_or_default();
        let bytes = |name| kib(&meminfo, name);
        let limits = fact(&root.join("proc/self/cgroup"))
            .map(|groups| limits(root, &groups))
            .unwrap_or_default();
        Self {
            total: bytes("MemTotal"),
            available: bytes("MemAvailable"),
            limit: limits.iter().map(|(limit, _)| *limit).min(),
            left_in_limit: limits
                .iter()
                .map(|(limit, used)| limit.saturating_sub(*used))
                .min(),
        }
    }

    /// Largest amount that this process may have.
    pub fn most(&self) -> Option<u64> {
        self.total.into_iter().chain(self.limit).min()
    }

    /// Amount that this process may still take.
    pub fn usable(&self) -> Option<u64> {
        self.available.into_iter().chain(self.left_in_limit).min()
    }
}

/// The text of a file of the kernel; `None` where it does not exist.
fn fact(path: &Path) -> Option<String> {
    let text = files::read_text(path).ok()?;
    Some(text.trim().to_owned())
}

/// The value of a line like `MemTotal:  8 kB`, in bytes.
fn kib(meminfo: &str, name: &str) -> Option<u64> {
    let mut lines = meminfo.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(known, _)| *known == name)?;
    let count: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    count.checked_mul(1024)
}

/// Limit and use of each control group that this process is in, with those above it; `groups` are the
/// lines of `/proc/self/cgroup`.
fn limits(root: &Path, groups: &str) -> Vec<(u64, u64)> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (mount, limit, used) = if controllers.is_empty() {
            ("sys/fs/cgroup", "memory.max", "memory.current")
        } else if controllers.split(',').any(|name| name == "memory") {
            (
                "sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            )
        } else {
            continue;
        };
        for folder in folders(&root.join(mount), path) {
            let number = |name| fact(&folder.join(name))?.parse::<u64>().ok();
            if let Some(max) = number(limit).filter(|max| *max < LIMIT_MAX) {
                limits.push((max, number(used).unwrap_or(0)));
            }
        }
    }
    limits
}

/// The folder of a control group and those above it. In a container, the path may be that of the host,
/// of which only the top is mounted.
fn folders(mount: &Path, path: &str) -> Vec<PathBuf> {
    let group = mount.join(path.trim_start_matches('/'));
    let within = group.ancestors().take_while(|a| a.starts_with(mount));
    within.map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_above_a_process_counts() {
        let root = files::folder_of(&[
            ("proc/meminfo", "MemTotal: 8 kB\nMemAvailable:   6 kB\n"),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.max", "5000\n"),
            ("sys/fs/cgroup/a/memory.current", "1000\n"),
        ]);
        let memory = HostMemory::read(root.path());
        assert_eq!(memory.total, Some(8192));
        assert_eq!(memory.limit, Some(5000));
        assert_eq!((memory.most(), memory.usable()), (Some(5000), Some(4000)));
    }

    #[test]
    fn the_first_version_of_control_groups_is_read_too() {
        let root = files::folder_of(&[
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n0::/\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "7000"),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712",
            ),
        ]);
        let memory = HostMemory::read(root.path());
        assert_eq!((memory.limit, memory.usable()), (Some(7000), Some(7000)));
    }

    #[test]
    fn this_machine_says_what_it_has_and_no_other_is_made_up() {
        assert!(HostMemory::read(Path::new("/")).usable().is_some());
        let nothing = HostMemory::read(Path::new("/no/such/root"));
        assert_eq!((nothing.most(), nothing.usable()), (None, None));
    }
}
