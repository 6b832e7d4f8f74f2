//! Runs AWS's `neuron-ls`, which lists devices, their cores, and the processes that hold them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::command::{ChildLog, Program};
use crate::doctor::scratch::Scratch;
use crate::executor::probe::Places;
use crate::files;

/// Path below the root where the SDK's packages install the tool.
const INSTALLED: &str = "opt/aws/neuron/bin/neuron-ls";

/// Limit for the tool, since it hangs where the driver does.
const DEADLINE: Duration = Duration::from_secs(10);

/// A longer answer is refused; sixteen devices take some kilobytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The environment variables in which a process asks the runtime for cores.
const CORE_VARIABLES: [&str; 2] = ["NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"];

/// The tool and its answer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NeuronLs {
    pub program: Option<PathBuf>,
    pub devices: Vec<ListedDevice>,
    /// The reason why it did not answer.
    pub problem: Option<String>,
}

/// A device as `neuron-ls -j` prints it. Optional fields are those that older versions lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedDevice {
    pub neuron_device: u32,
    /// Number of cores: of logical ones, where the chip groups cores.
    pub nc_count: u32,
    /// Memory of the device in bytes.
    #[serde(default)]
    pub memory_size: Option<u64>,
    #[serde(default)]
    pub logical_neuroncore_config: Option<u32>,
    #[serde(default)]
    pub neuroncore_ids: Option<Vec<u32>>,
    #[serde(default)]
    pub instance_type: Option<String>,
    #[serde(default, deserialize_with = "none_is_empty")]
    pub neuron_processes: Vec<CoreHolder>,
}

/// A process that holds cores of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreHolder {
    pub pid: u32,
    #[serde(default)]
    pub command: String,
    #[serde(default)]
    pub neuron_runtime_version: Option<String>,
    /// Its variables about cores, by name; empty where its environment cannot be read.
    #[serde(default, skip_deserializing)]
    pub asked_for: BTreeMap<String, String>,
}

fn none_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<CoreHolder>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

pub fn examine(places: &Places) -> NeuronLs {
    let Some(program) = find(places) else {
        return NeuronLs::default();
    };
    let (devices, problem) = match ask(&program, &places.temporary) {
        Ok(devices) => (devices, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    let mut devices = devices;
    for process in devices.iter_mut().flat_map(|d| &mut d.neuron_processes) {
        process.asked_for = asked_for(&places.root, process.pid);
    }
    NeuronLs {
        program: Some(program),
        devices,
        problem,
    }
}

/// Path of the tool: the installed one, else the first on `PATH`.
fn find(places: &Places) -> Option<PathBuf> {
    let path = places.path.as_deref().unwrap_or_default().as_bytes();
    let folders = path.split(|byte| *byte == b':');
    let on_path = folders.map(|folder| Path::new(OsStr::from_bytes(folder)).join("neuron-ls"));
    std::iter::once(places.root.join(INSTALLED))
        .chain(on_path)
        .find(|path| path.is_file())
}

fn ask(program: &Path, temporary: &Path) -> Result<Vec<ListedDevice>> {
    let scratch = Scratch::new(temporary)?;
    let program = Program {
        path: program.to_owned(),
        args: vec!["-j".into()],
        environment: BTreeMap::from([("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())]),
    };
    let log = scratch.log();
    let mut answer = String::new();
    program.run(Vec::new(), &ChildLog::file(&log), DEADLINE, &mut |line| {
        if answer.len() + line.len() > ANSWER_BYTES_MAX {
            bail!("it prints more than {ANSWER_BYTES_MAX} bytes");
        }
        answer.push_str(line);
        answer.push('\n');
        Ok(())
    })?;
    parse(&answer)
}

fn parse(answer: &str) -> Result<Vec<ListedDevice>> {
    serde_json::from_str(answer)
        .context("its answer to `-j` is not the list of devices that it should be")
}

/// The variables about cores in the environment of a process; the others, which may hold secrets, are
/// dropped.
fn asked_for(root: &Path, pid: u32) -> BTreeMap<String, String> {
    let path = root.join("proc").join(pid.to_string()).join("environ");
    // It cannot be read for a process of another user.
    let bytes = files::read(&path).unwrap_or_default();
    let variables = bytes.split(|byte| *byte == 0);
    let pairs = variables.filter_map(|text| std::str::from_utf8(text).ok()?.split_once('='));
    pairs
        .filter(|(name, _)| CORE_VARIABLES.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_versions_leave_out_is_optional() {
        // The example of AWS's page on neuron-ls, once as it stands and once as inf1 had it.
        let documented = r#"[{"neuron_device":0,"bdf":"cc:00.0","cpu_affinity":"48-95,144-191",
            "numa_node":"1","connected_to":[12,3,4,1],"nc_count":4,"logical_neuroncore_config":2,
            "memory_size":103079215104,"neuroncore_ids":[0,1,2,3],"neuron_processes":[{"pid":113985,
            "command":"neuron-bench exec","neuron_runtime_version":"2.0.0"}]}]"#;
        let listed = &parse(documented).unwrap()[0];
        assert_eq!(listed.neuroncore_ids.as_deref(), Some(&[0, 1, 2, 3][..]));
        assert_eq!(listed.neuron_processes[0].pid, 113_985);
        let old =
            r#"[{"neuron_device":3,"nc_count":4,"connected_to":null,"neuron_processes":null}]"#;
        let listed = &parse(old).unwrap()[0];
        assert_eq!((listed.neuron_device, listed.nc_count), (3, 4));
        assert!(listed.neuron_processes.is_empty() && listed.memory_size.is_none());
    }

    #[test]
    fn an_answer_must_be_a_list_of_devices() {
        for wrong in ["", "neuron-ls: command failed", "{}", "[{}]", "[1]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_cores_are_taken_from_a_process() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/7");
        files::create_folder(&folder).unwrap();
        let environ = b"SECRET=1\0NEURON_RT_VISIBLE_CORES=0-1\0PATH=/bin\0";
        files::write(&folder.join("environ"), environ).unwrap();
        let found = asked_for(root.path(), 7);
        let expected = ("NEURON_RT_VISIBLE_CORES".to_owned(), "0-1".to_owned());
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [expected]);
        assert!(asked_for(root.path(), 8).is_empty());
    }
}
