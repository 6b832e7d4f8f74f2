//! The host: its processors and their features, its memory and what a control group leaves of it.

use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;

use crate::doctor::fact;

/// The features that decide how fast libtorch computes, as `/proc/cpuinfo` names them.
const FEATURES: [&str; 14] = [
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_fp16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "bf16",
    "i8mm",
    "sve",
];

/// The features with which a processor multiplies bf16 without converting it first.
const BF16: [&str; 3] = ["avx512_bf16", "amx_bf16", "bf16"];

/// Larger limits of a control group are the kernel's way to say that there is none.
const LIMIT_MAX: u64 = 1 << 60;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    pub model: Option<String>,
    pub processors: Option<usize>,
    /// What affinity and control groups leave to this process.
    pub processors_usable: Option<usize>,
    /// Those of a known list that the processor has.
    pub features: Vec<&'static str>,
    pub memory: Memory,
}

/// In bytes; `None` where the kernel does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    pub total: Option<u64>,
    pub available: Option<u64>,
    /// The lowest limit of the control groups that this process is in.
    pub limit: Option<u64>,
    /// What is left below that limit.
    pub left_in_limit: Option<u64>,
}

impl Host {
    pub fn multiplies_bf16(&self) -> bool {
        BF16.iter().any(|name| self.features.contains(name))
    }
}

impl Memory {
    /// What this process may still take.
    pub fn usable(&self) -> Option<u64> {
        self.available.into_iter().chain(self.left_in_limit).min()
    }
}

pub fn look(root: &Path) -> Host {
    let cpuinfo = fact(&root.join("proc/cpuinfo")).unwrap_or_default();
    let values = |name| values(&cpuinfo, name);
    // x86 has `flags`, Arm has `Features`.
    let flags = values("flags").next().or(values("Features").next());
    let flags: Vec<&str> = flags.unwrap_or_default().split_whitespace().collect();
    Host {
        model: values("model name").next().map(str::to_owned),
        processors: Some(values("processor").count()).filter(|count| *count > 0),
        processors_usable: thread::available_parallelism().ok().map(Into::into),
        features: FEATURES
            .into_iter()
            .filter(|name| flags.contains(name))
            .collect(),
        memory: memory(root),
    }
}

/// The values of a key in lines like `key : value`.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .filter(move |(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

fn memory(root: &Path) -> Memory {
    let meminfo = fact(&root.join("proc/meminfo")).unwrap_or_default();
    let bytes = |name| kib(values(&meminfo, name).next()?);
    let limits = fact(&root.join("proc/self/cgroup"))
        .map(|groups| limits(root, &groups))
        .unwrap_or_default();
    Memory {
        total: bytes("MemTotal"),
        available: bytes("MemAvailable"),
        limit: limits.iter().map(|(limit, _)| *limit).min(),
        left_in_limit: limits
            .iter()
            .map(|(limit, used)| limit.saturating_sub(*used))
            .min(),
    }
}

fn kib(value: &str) -> Option<u64> {
    let count: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
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
    use crate::files;

    fn root(texts: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in texts {
            let path = root.path().join(path);
            files::create_folder(files::parent(&path)).unwrap();
            files::write(&path, text.as_bytes()).unwrap();
        }
        root
    }

    #[test]
    fn features_are_read_on_both_architectures() {
        let intel = root(&[(
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2 avx512f amx_bf16\n\nprocessor\t: 1\n",
        )]);
        let host = look(intel.path());
        assert_eq!(host.features, ["avx2", "avx512f", "amx_bf16"]);
        assert_eq!(host.processors, Some(2));
        assert!(host.multiplies_bf16());
        let arm = root(&[("proc/cpuinfo", "processor : 0\nFeatures : fp asimd sve\n")]);
        let host = look(arm.path());
        assert_eq!(host.features, ["asimd", "sve"]);
        assert!(!host.multiplies_bf16());
    }

    #[test]
    fn the_lowest_limit_above_a_process_counts() {
        let root = root(&[
            ("proc/meminfo", "MemTotal: 8 kB\nMemAvailable:   6 kB\n"),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.max", "5000\n"),
            ("sys/fs/cgroup/a/memory.current", "1000\n"),
        ]);
        let memory = look(root.path()).memory;
        assert_eq!(memory.total, Some(8192));
        assert_eq!(memory.limit, Some(5000));
        assert_eq!(memory.usable(), Some(4000));
    }

    #[test]
    fn the_first_version_of_control_groups_is_read_too() {
        let root = root(&[
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n0::/\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "7000"),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712",
            ),
        ]);
        let memory = look(root.path()).memory;
        assert_eq!((memory.limit, memory.usable()), (Some(7000), Some(7000)));
    }

    #[test]
    fn a_machine_that_says_nothing_is_not_made_up() {
        let host = look(Path::new("/no/such/root"));
        assert_eq!((host.processors, host.memory.usable()), (None, None));
        assert!(host.features.is_empty());
    }
}
