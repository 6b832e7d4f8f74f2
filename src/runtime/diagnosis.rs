//! Why a worker could not load or run, by what it answered and what the runtime wrote into its log.
//!
//! What the words mean is in the table of `explain`; here is only which of several answers is the cause.

use crate::explain::{self, Explanation, Group, Severity};
use crate::failure::{Class, Failure};

/// The cause of a failure, where the table knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub entry: &'static Explanation,
    /// The line in which it was found.
    pub evidence: String,
    /// The process cannot use its core any more.
    pub ends_process: bool,
}

impl Diagnosis {
    /// Looks for the cause in the `message` of a failure and in the `log` that was written meanwhile.
    pub fn find(message: &str, log: &[String]) -> Option<Self> {
        let lines = message.lines().chain(log.iter().map(String::as_str));
        let found: Vec<(&'static Explanation, &str)> = lines
            .flat_map(|line| {
                explain::candidates(line)
                    .into_iter()
                    .map(move |entry| (entry, line))
            })
            .filter(|(entry, _)| is_cause(entry))
            .collect();
        let ends_process = found.iter().any(|(entry, _)| entry.ends_process());
        let (entry, line) = found.into_iter().min_by_key(|(entry, _)| rank(entry))?;
        Some(Self {
            entry,
            evidence: line.trim().to_owned(),
            ends_process,
        })
    }

    /// The failure `what`, explained.
    pub fn failure(&self, what: &str) -> Failure {
        let remedies = self.entry.remedy.iter().map(String::as_str);
        let more = format!("`neuronc explain {}` says more", self.argument());
        let help: Vec<&str> = remedies.chain([more.as_str()]).collect();
        Failure::new(Class::Executor, what)
            .why(self.why())
            .help(help.join("\n"))
    }

    /// The cause in a few words, with the line that shows it.
    pub fn why(&self) -> String {
        format!("{}\n{}", self.entry.title, self.evidence)
    }

    /// The name as an argument in a shell.
    fn argument(&self) -> String {
        match self.entry.name.contains(' ') {
            true => format!("'{}'", self.entry.name),
            false => self.entry.name.clone(),
        }
    }
}

/// Only what ends a load or a run: a note about tracing in the same log does not.
fn is_cause(entry: &Explanation) -> bool {
    match entry.group {
        Group::Messages => entry.severity == Severity::Error,
        Group::RuntimeStatuses => entry.severity != Severity::Note,
        _ => false,
    }
}

/// The smallest is the cause. A message names it, a status only its kind, and the table has what is
/// specific first.
fn rank(entry: &'static Explanation) -> (bool, bool, usize) {
    let place = explain::entries().iter().position(|other| other == entry);
    let is_status = entry.group != Group::Messages;
    (entry.is_vague(), is_status, place.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, log: &[&str], name: &str, ends_process: bool) {
        let log: Vec<String> = log.iter().map(|line| (*line).to_owned()).collect();
        let found = Diagnosis::find(message, &log);
        let found = found.unwrap_or_else(|| panic!("{message}: nothing is found"));
        assert_eq!(found.entry.name, name, "{message}");
        assert_eq!(found.ends_process, ends_process, "{message}");
    }

    const NOT_INITIALIZED: &str =
        "The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged";

    #[test]
    fn the_log_has_the_cause_where_the_exception_has_none() {
        let log = |line| format!("2023-Jan-09 20:27:41.0593 15042:15042 ERROR  {line}");
        for (line, name) in [
            (
                "NRT:nrt_allocate_neuron_cores NeuronCore(s) not available - Requested:nc1-nc1 Available:0",
                "cores-not-available",
            ),
            (
                "NRT:nrt_init Neuron cores are not contiguous",
                "cores-not-contiguous",
            ),
            (
                "TDRV:tdrv_get_dev_info No neuron device available",
                "no-device",
            ),
            (
                "NMGR:dlr_kelf_stage NEFF version mismatch supported: 1.1 received: 2.0",
                "neff-version",
            ),
        ] {
            let failure = log("NRT:nrt_infodump Failure: NRT_RESOURCE in nrt_init()");
            check(NOT_INITIALIZED, &[&log(line), &failure], name, true);
        }
        check(NOT_INITIALIZED, &["noise"], "runtime-not-initialized", true);
    }

    #[test]
    fn a_status_is_told_by_its_number() {
        let run = |status: i32| format!("Failed to execute the model status={status} message=x");
        for (status, name, ends_process) in [
            (2, "NRT_INVALID", false),
            (4, "NRT_RESOURCE", false),
            (5, "NRT_TIMEOUT", true),
            (10, "NRT_UNSUPPORTED_NEFF_VERSION", false),
            (101, "NRT_EXEC_UNIT_UNRECOVERABLE", true),
            (1002, "NRT_EXEC_BAD_INPUT", false),
            (1003, "NRT_EXEC_COMPLETED_WITH_NUM_ERR", false),
            (1006, "NRT_EXEC_OOB", false),
            (1201, "NRT_EXEC_HW_ERR_HBM_UE", true),
        ] {
            check(&run(status), &[], name, ends_process);
        }
        let hang = "TDRV:exec_consume_infer_status_notifications (FATAL-RT-UNDEFINED-STATE) inference \
                    timeout (600000 ms) on Neuron Device 0 NC 0, waiting for execution completion";
        check(&run(5), &[hang], "inference-timeout", true);
    }

    #[test]
    fn libraries_that_do_not_fit_are_named() {
        for (message, name) in [
            (
                "libnrt.so.1: cannot open shared object file: No such file or directory",
                "libnrt-missing",
            ),
            (
                "libfoo.so.2: cannot open shared object file: No such file or directory",
                "library-missing",
            ),
            (
                "x.so: undefined symbol: _ZN5torch6detail10class_baseC2ERKSsS3_SsRKSt9type_info",
                "abi-mismatch",
            ),
            (
                "Unknown builtin op: neuron::forward_v2_1.",
                "unknown-builtin-op",
            ),
        ] {
            check(message, &[], name, false);
        }
    }

    #[test]
    fn a_model_that_is_not_on_the_chip_is_caught_by_its_warning() {
        let warnings = [
            "[W neuron_op_v2.cpp:133] Warning: Neuron runtime could not be initialized. Model was not sent to NeuronCore (function load)",
            "[E neuron_op_impl.cpp:53] Warning: Tensor output are *** NOT CALCULATED *** during CPU execution",
        ];
        for warning in warnings {
            check("", &[warning], "not-on-the-chip", true);
        }
        let device = "TDRV:tdrv_get_dev_info No neuron device available";
        check("", &[device, warnings[0]], "no-device", true);
    }

    #[test]
    fn nothing_is_made_of_what_is_not_known() {
        for message in [
            "index out of range in self",
            "TracerWarning: x",
            "INFO:Neuron: => aten::embedding: 3 [not supported]",
            "/home/neuron/graph.pt: No such file",
        ] {
            assert_eq!(Diagnosis::find(message, &[]), None, "{message}");
        }
    }

    #[test]
    fn a_failure_has_the_evidence_and_the_remedies() {
        let message = "NeuronCore(s) not available - Requested:nc1-nc1 Available:0";
        let found = Diagnosis::find(message, &[]).unwrap();
        let failure = found.failure("a worker cannot load the bundle").to_string();
        for part in [
            "a worker cannot load the bundle\n  why:  Another process holds the cores\n",
            "Requested:nc1-nc1",
            "`neuron-ls`",
            "`neuronc explain cores-not-available`",
        ] {
            assert!(failure.contains(part), "{part}: {failure}");
        }
    }
}
