//! Examines the processors and the memory of the host.

use std::path::Path;
use std::thread;

use serde::Serialize;

use crate::doctor::kernel_file::fact;
use crate::host_memory::HostMemory;

/// Processor features that decide how fast libtorch computes, as `/proc/cpuinfo` names them.
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

/// Features that let a processor multiply bf16 without converting it first.
const BF16: [&str; 3] = ["avx512_bf16", "amx_bf16", "bf16"];

/// Processors and memory of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// Model name of the processor.
    pub model: Option<String>,
    pub processors: Option<usize>,
    /// Number of processors that affinity and control groups leave to this process.
    pub processors_usable: Option<usize>,
    /// Those of `FEATURES` that the processor has.
    pub features: Vec<&'static str>,
    pub memory: HostMemory,
}

impl HostFacts {
    pub fn multiplies_bf16(&self) -> bool {
        BF16.iter().any(|name| self.features.contains(name))
    }
}

pub fn examine(root: &Path) -> HostFacts {
    let cpuinfo = fact(&root.join("proc/cpuinfo")).unwrap_or_default();
    let values = |name| values(&cpuinfo, name);
    // x86 has `flags`, Arm has `Features`.
    let flags = values("flags").next().or(values("Features").next());
    let flags: Vec<&str> = flags.unwrap_or_default().split_whitespace().collect();
    HostFacts {
        model: values("model name").next().map(str::to_owned),
        processors: Some(values("processor").count()).filter(|count| *count > 0),
        processors_usable: thread::available_parallelism().ok().map(Into::into),
        features: FEATURES
            .into_iter()
            .filter(|name| flags.contains(name))
            .collect(),
        memory: HostMemory::read(root),
    }
}

/// The values of `key` in lines of the form `key : value`.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .filter(move |(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn features_are_read_on_both_architectures() {
        let intel = files::folder_of(&[(
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2 avx512f amx_bf16\n\nprocessor\t: 1\n",
        )]);
        let host = examine(intel.path());
        assert_eq!(host.features, ["avx2", "avx512f", "amx_bf16"]);
        assert_eq!(host.processors, Some(2));
        assert!(host.multiplies_bf16());
        let arm = files::folder_of(&[("proc/cpuinfo", "processor : 0\nFeatures : fp asimd sve\n")]);
        let host = examine(arm.path());
        assert_eq!(host.features, ["asimd", "sve"]);
        assert!(!host.multiplies_bf16());
    }

    #[test]
    fn nothing_is_made_up_where_the_files_are_missing() {
        let host = examine(Path::new("/no/such/root"));
        assert_eq!((host.processors, host.memory.usable()), (None, None));
        assert!(host.features.is_empty());
    }
}
