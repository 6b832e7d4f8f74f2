//! A line of `neuron-monitor`: a JSON object with what the devices did in one period.
//!
//! The fields are those of AWS's user guide (tools/neuron-sys-tools/neuron-monitor-user-guide). Every
//! group may be missing. Not confirmed on a device: whether the numbers of `neuroncores_in_use` are those
//! of the machine or of the process, so cores are found by the process that has them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Use of the devices of a machine, from one line of `neuron-monitor`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NeuronUse {
    /// The tool's name for the type, such as `inferentia2`.
    pub device_type: Option<String>,
    pub device_count: Option<u32>,
    /// Processes that hold NeuronCores, by process id.
    pub processes: BTreeMap<u32, RuntimeUse>,
    /// Number of uncorrected memory errors of all devices.
    pub memory_errors: u64,
    /// Each group of numbers that the tool could not get, with its reason.
    pub problems: Vec<String>,
}

/// Use of the NeuronCores of one process.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RuntimeUse {
    pub tag: String,
    /// Utilization in percent, by core.
    pub utilization: BTreeMap<String, f64>,
    pub device_bytes: Option<u64>,
    pub host_bytes: Option<u64>,
    /// Seconds that the runs of the last period took on the device.
    pub device_p50: Option<f64>,
    pub device_p99: Option<f64>,
    /// Number of runs of the last period that failed, for any reason.
    pub errors: u64,
}

impl NeuronUse {
    /// No numbers, for the reason `why`.
    pub fn unavailable(why: String) -> Self {
        Self {
            problems: vec![why],
            ..Self::default()
        }
    }
}

impl RuntimeUse {
    /// Mean utilization of its cores in percent; `None` without cores.
    pub fn mean_utilization(&self) -> Option<f64> {
        let count = self.utilization.len();
        (count > 0).then(|| self.utilization.values().sum::<f64>() / count as f64)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MonitorLine {
    neuron_runtime_data: Vec<RuntimeData>,
    system_data: SystemData,
    neuron_hardware_info: HardwareInfo,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeData {
    pid: u32,
    neuron_runtime_tag: String,
    error: String,
    report: RuntimeReport,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeReport {
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
    // The guide's text and its example spell one of the keys differently; only the sum is needed.
    error_summary: BTreeMap<String, u64>,
    latency_stats: Option<LatencyStats>,
    error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LatencyStats {
    // Absent or null while nothing runs.
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
struct HardwareInfo {
    neuron_device_type: Option<String>,
    neuron_device_count: Option<u32>,
    error: String,
}

/// Parses one line of the tool. Numbers that it lacks are zero or absent; its own error texts become
/// `problems`.
pub fn parse(line: &str) -> Result<NeuronUse> {
    let line: MonitorLine =
        serde_json::from_str(line).context("reading a line of neuron-monitor")?;
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
