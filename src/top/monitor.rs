//! `neuron-monitor` of the SDK, which says what the devices do: one JSON object for each period.
//!
//! Its fields are those of AWS's user guide (tools/neuron-sys-tools/neuron-monitor-user-guide). Every
//! group may be missing. Not confirmed on a device: whether the numbers of `neuroncores_in_use` are those
//! of the machine or of the process, so cores are found by the process that has them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cleanup::{self, Registration};
use crate::command::Program;
use crate::executor::probe::Places;

/// Where the SDK's packages put it.
const INSTALLED: &str = "opt/aws/neuron/bin/neuron-monitor";

/// A longer line is none: 64 cores with their models take some hundred kilobytes.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// What the devices do, as far as `neuron-monitor` says it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NeuronUse {
    /// Such as `inferentia2`, as the tool names it.
    pub device_type: Option<String>,
    pub device_count: Option<u32>,
    /// By process id.
    pub processes: BTreeMap<u32, RuntimeUse>,
    /// Memory errors that could not be corrected, of all devices.
    pub memory_errors: u64,
    /// What the tool could not find out, and why.
    pub problems: Vec<String>,
}

/// What a process does with its cores.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RuntimeUse {
    pub tag: String,
    /// Percent, by core.
    pub utilization: BTreeMap<String, f64>,
    pub device_bytes: Option<u64>,
    pub host_bytes: Option<u64>,
    /// Seconds on the device, of the runs of the last period.
    pub device_p50: Option<f64>,
    pub device_p99: Option<f64>,
    /// Runs of the last period that failed, for whatever reason.
    pub errors: u64,
}

impl NeuronUse {
    /// Nothing, and why.
    pub fn silent(why: String) -> Self {
        Self {
            problems: vec![why],
            ..Self::default()
        }
    }
}

impl RuntimeUse {
    /// The mean of its cores, in percent.
    pub fn mean_utilization(&self) -> Option<f64> {
        let count = self.utilization.len();
        (count > 0).then(|| self.utilization.values().sum::<f64>() / count as f64)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    neuron_runtime_data: Vec<RuntimeData>,
    system_data: SystemData,
    neuron_hardware_info: Hardware,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeData {
    pid: u32,
    neuron_runtime_tag: String,
    error: String,
    report: Report,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    neuroncore_counters: CoreCounters,
    execution_stats: ExecutionStats,
    memory_used: MemoryUsed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CoreCounters {
    neuroncores_in_use: BTreeMap<String, CoreUse>,
    error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CoreUse {
    neuroncore_utilization: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ExecutionStats {
    /// Its prose and its example spell one of the keys differently: their values are enough.
    error_summary: BTreeMap<String, u64>,
    latency_stats: Option<LatencyStats>,
    error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LatencyStats {
    /// Absent or null while nothing runs.
    device_latency: Option<BTreeMap<String, f64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemoryUsed {
    neuron_runtime_used_bytes: Option<UsedBytes>,
    error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UsedBytes {
    host: u64,
    neuron_device: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SystemData {
    neuron_hw_counters: HardwareCounters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HardwareCounters {
    neuron_devices: Option<Vec<DeviceCounters>>,
    error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DeviceCounters {
    mem_ecc_uncorrected: u64,
    sram_ecc_uncorrected: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hardware {
    neuron_device_type: Option<String>,
    neuron_device_count: Option<u32>,
    error: String,
}

/// One line of the tool.
pub fn parse(line: &str) -> Result<NeuronUse> {
    let line: Line = serde_json::from_str(line).context("reading a line of neuron-monitor")?;
    let mut problems = Vec::new();
    let mut note = |group: &str, error: &str| {
        if !error.is_empty() {
            problems.push(format!("{group}: {error}"));
        }
    };
    note("neuron_hardware_info", &line.neuron_hardware_info.error);
    let counters = line.system_data.neuron_hw_counters;
    note("neuron_hw_counters", &counters.error);
    let mut processes = BTreeMap::new();
    for runtime in line.neuron_runtime_data {
        let report = &runtime.report;
        note("neuron_runtime_data", &runtime.error);
        note("neuroncore_counters", &report.neuroncore_counters.error);
        note("execution_stats", &report.execution_stats.error);
        note("memory_used", &report.memory_used.error);
        processes.insert(runtime.pid, use_of(runtime));
    }
    let devices = counters.neuron_devices.unwrap_or_default();
    let errors = |device: &DeviceCounters| device.mem_ecc_uncorrected + device.sram_ecc_uncorrected;
    Ok(NeuronUse {
        device_type: line.neuron_hardware_info.neuron_device_type,
        device_count: line.neuron_hardware_info.neuron_device_count,
        processes,
        memory_errors: devices.iter().map(errors).sum(),
        problems,
    })
}

fn use_of(runtime: RuntimeData) -> RuntimeUse {
    let report = runtime.report;
    let cores = report.neuroncore_counters.neuroncores_in_use.into_iter();
    let memory = report.memory_used.neuron_runtime_used_bytes;
    let latency = report.execution_stats.latency_stats;
    let latency = latency.and_then(|latency| latency.device_latency);
    let percentile = |name: &str| latency.as_ref()?.get(name).copied();
    RuntimeUse {
        tag: runtime.neuron_runtime_tag,
        utilization: cores
            .map(|(core, used)| (core, used.neuroncore_utilization))
            .collect(),
        device_bytes: memory.as_ref().map(|used| used.neuron_device),
        host_bytes: memory.as_ref().map(|used| used.host),
        device_p50: percentile("p50"),
        device_p99: percentile("p99"),
        errors: report.execution_stats.error_summary.values().sum(),
    }
}

/// A running `neuron-monitor`, which ends with the value.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    said: Arc<Said>,
    /// It reads it when it starts.
    _config: tempfile::NamedTempFile,
    _registration: Registration,
}

/// The last that it said.
#[derive(Debug, Default)]
struct Said {
    last: Mutex<Last>,
    changed: Condvar,
}

#[derive(Debug, Clone, Default)]
struct Last {
    used: Option<NeuronUse>,
    /// Why there will be no more.
    ended: Option<String>,
}

impl Monitor {
    /// The installed one, else that on the `PATH`, if there is one.
    pub fn find(places: &Places) -> Option<PathBuf> {
        let path = places.path.as_deref().unwrap_or_default().as_bytes();
        let folders = path.split(|byte| *byte == b':');
        let on_path =
            folders.map(|folder| Path::new(OsStr::from_bytes(folder)).join("neuron-monitor"));
        std::iter::once(places.root.join(INSTALLED))
            .chain(on_path)
            .find(|path| path.is_file())
    }

    /// Starts the tool, which then says something once in `period`.
    pub fn start(program: PathBuf, period: Duration, temporary: &Path) -> Result<Self> {
        let mut config = tempfile::Builder::new()
            .prefix("neuronc-monitor-")
            .suffix(".json")
            .tempfile_in(temporary)
            .context("creating the settings of neuron-monitor")?;
        let written = config.write_all(settings(period).to_string().as_bytes());
        written.context("writing the settings of neuron-monitor")?;
        let log = tempfile::tempfile_in(temporary).context("creating a log")?;
        let program = Program {
            path: program,
            args: vec!["-c".into(), config.path().into()],
            environment: BTreeMap::from([("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())]),
        };
        let mut child = program.start_with_stdout(log)?;
        let registration = cleanup::process(child.id());
        let said = Arc::new(Said::default());
        let (output, heard) = (child.stdout.take(), Arc::clone(&said));
        thread::spawn(move || {
            if let Some(output) = output {
                heard.listen(BufReader::new(output));
            }
        });
        Ok(Self {
            child,
            said,
            _config: config,
            _registration: registration,
        })
    }

    /// The last that it said, waiting for the first time up to `patience`.
    pub fn last(&self, patience: Duration) -> NeuronUse {
        let is_silent = |last: &mut Last| last.used.is_none() && last.ended.is_none();
        let waited = self
            .said
            .changed
            .wait_timeout_while(self.said.lock(), patience, is_silent);
        let Last { used, ended } = waited.unwrap_or_else(PoisonError::into_inner).0.clone();
        let nothing = || NeuronUse::silent("it has not said anything yet".to_owned());
        match ended {
            None => used.unwrap_or_else(nothing),
            Some(why) => NeuronUse::silent(why),
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        cleanup::kill_group(self.child.id());
        // Fails only when the child was waited for already.
        let _ = self.child.wait();
    }
}

impl Said {
    fn listen(&self, mut lines: impl std::io::BufRead) {
        loop {
            let mut line = Vec::new();
            let read = lines
                .by_ref()
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line);
            if !matches!(read, Ok(count) if count > 0) {
                break;
            }
            let used = parse(&String::from_utf8_lossy(&line));
            let used = used.unwrap_or_else(|error| NeuronUse::silent(format!("{error:#}")));
            self.lock().used = Some(used);
            self.changed.notify_all();
        }
        self.lock().ended = Some("it has ended".to_owned());
        self.changed.notify_all();
    }

    /// Values are replaced whole.
    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the tool is asked for.
fn settings(period: Duration) -> serde_json::Value {
    let period = format!("{}s", period.as_secs().max(1));
    serde_json::json!({
        "period": period,
        "neuron_runtimes": [{
            "tag_filter": ".*",
            "metrics": [
                {"type": "neuroncore_counters"},
                {"type": "memory_used"},
                {"type": "execution_stats"},
            ],
        }],
        "system_metrics": [{"type": "neuron_hw_counters"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_what_is_missing_is_not_made_up() {
        let line = r#"{
            "neuron_runtime_data": [{
                "pid": 7, "address": "", "neuron_runtime_tag": "7", "error": "",
                "report": {
                    "neuroncore_counters": {"period": 1.0, "error": "", "neuroncores_in_use": {
                        "2": {"neuroncore_utilization": 40.0, "flops": 5},
                        "3": {"neuroncore_utilization": 60.0, "flops": 5}}},
                    "execution_stats": {"period": 1.0, "error": "",
                        "error_summary": {"generic": 1, "numerical": 2},
                        "latency_stats": {"total_latency": null, "device_latency": {"p50": 0.001, "p99": 0.002}}},
                    "memory_used": {"period": 1.0, "error": "no such file",
                        "neuron_runtime_used_bytes": {"host": 10, "neuron_device": 20}}}
            }],
            "system_data": {"neuron_hw_counters": {"period": 1.0, "error": "", "neuron_devices": [
                {"neuron_device_index": 0, "mem_ecc_corrected": 9, "mem_ecc_uncorrected": 1,
                 "sram_ecc_uncorrected": 2, "sram_ecc_corrected": 9}]}},
            "neuron_hardware_info": {"neuron_device_type": "inferentia2", "neuron_device_count": 1, "error": ""}
        }"#;
        let used = parse(line).unwrap();
        let process = &used.processes[&7];
        assert_eq!(process.mean_utilization(), Some(50.0));
        assert_eq!(
            (process.device_bytes, process.host_bytes),
            (Some(20), Some(10))
        );
        assert_eq!(
            (process.device_p50, process.device_p99),
            (Some(0.001), Some(0.002))
        );
        assert_eq!((process.errors, used.memory_errors), (3, 3));
        assert_eq!(used.problems, ["memory_used: no such file"]);
        let idle = parse(
            r#"{"neuron_runtime_data": [{"pid": 1, "report": {"execution_stats": {"latency_stats": null}}}]}"#,
        );
        let idle = idle.unwrap();
        assert_eq!(idle.processes[&1], RuntimeUse::default());
        assert_eq!(
            (idle.processes[&1].mean_utilization(), idle.device_type),
            (None, None)
        );
        assert!(parse("neuron-monitor: no devices").is_err());
    }
}
