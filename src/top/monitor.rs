//! Runs `neuron-monitor` of the SDK, which prints one JSON object per period.

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

use crate::cleanup::{self, Registration};
use crate::command::Program;
use crate::executor::probe::Places;
use crate::top::monitor_line::{NeuronUse, parse};

/// Path below the root where the SDK's packages install the tool.
const INSTALLED: &str = "opt/aws/neuron/bin/neuron-monitor";

/// Longer lines are cut, and then fail to parse. A machine of 64 cores needs some hundred kilobytes.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// A running `neuron-monitor`; dropping the value kills it.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    output: Arc<MonitorOutput>,
    // The tool reads this file while it starts, so it must outlive the start.
    _config: tempfile::NamedTempFile,
    _registration: Registration,
}

/// What the tool printed last, shared with the thread that reads its output.
#[derive(Debug, Default)]
struct MonitorOutput {
    state: Mutex<MonitorState>,
    changed: Condvar,
}

#[derive(Debug, Clone, Default)]
struct MonitorState {
    /// The last line.
    last: Option<NeuronUse>,
    /// Why there will be no further line.
    ended: Option<String>,
}

impl Monitor {
    /// Path of the tool: the installed one, else the first on `PATH`.
    pub fn find(places: &Places) -> Option<PathBuf> {
        let path = places.path.as_deref().unwrap_or_default().as_bytes();
        let folders = path.split(|byte| *byte == b':');
        let on_path =
            folders.map(|folder| Path::new(OsStr::from_bytes(folder)).join("neuron-monitor"));
        std::iter::once(places.root.join(INSTALLED))
            .chain(on_path)
            .find(|path| path.is_file())
    }

    /// Starts the tool, which then prints one line per `period`.
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
        let output = Arc::new(MonitorOutput::default());
        let (pipe, reader) = (child.stdout.take(), Arc::clone(&output));
        // The thread ends by itself: killing the child closes the pipe.
        thread::spawn(move || {
            if let Some(pipe) = pipe {
                reader.read(BufReader::new(pipe));
            }
        });
        Ok(Self {
            child,
            output,
            _config: config,
            _registration: registration,
        })
    }

    /// The last line; waits up to `patience` for the first one.
    pub fn last(&self, patience: Duration) -> NeuronUse {
        let is_silent = |state: &mut MonitorState| state.last.is_none() && state.ended.is_none();
        let waited =
            self.output
                .changed
                .wait_timeout_while(self.output.lock(), patience, is_silent);
        let MonitorState { last, ended } = waited.unwrap_or_else(PoisonError::into_inner).0.clone();
        // Numbers of a tool that has ended are not shown: they would look like those of now.
        match ended {
            Some(why) => NeuronUse::unavailable(why),
            None => last.unwrap_or_else(|| {
                NeuronUse::unavailable("it has not printed anything yet".to_owned())
            }),
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // With its group, so that nothing it may have started stays behind.
        cleanup::kill_group(self.child.id());
        // Fails only when the child was waited for already.
        let _ = self.child.wait();
    }
}

impl MonitorOutput {
    /// Keeps the last line until the pipe is closed.
    fn read(&self, mut lines: impl std::io::BufRead) {
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
            let used = used.unwrap_or_else(|error| NeuronUse::unavailable(format!("{error:#}")));
            self.lock().last = Some(used);
            self.changed.notify_all();
        }
        self.lock().ended = Some("it has ended".to_owned());
        self.changed.notify_all();
    }

    /// A poisoned lock does no harm, since the value is only ever replaced whole.
    fn lock(&self) -> MutexGuard<'_, MonitorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The configuration file of the tool: the metrics that it prints, and how often.
fn settings(period: Duration) -> serde_json::Value {
    // The tool takes whole seconds.
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
