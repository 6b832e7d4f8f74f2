//! Starts `neuronc serve` on a free port to measure it: in a process of its own, so that its processor time
//! is told from that of the load generator.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use wait_timeout::ChildExt as _;

use crate::bench::target::BenchTarget;
use crate::cleanup::{self, Registration};
use crate::command::{self, Program};
use crate::failure::{Class, Failure};

/// Limit for the server to become ready; its workers load their bundles meanwhile.
const READY_DEADLINE: Duration = Duration::from_secs(300);

/// Pause between two questions whether it is ready.
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// Limit for the server to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(40);

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct ChildServer {
    child: Child,
    _registration: Registration,
    // Kept open while the server runs, since its writes would fail otherwise.
    _stdout: BufReader<ChildStdout>,
    /// The URL of the model's route.
    pub url: String,
}

impl ChildServer {
    /// Starts `program`, whose first line on stdout must be that of `neuronc serve`; stderr goes to `log`.
    pub fn start(program: &Program, log: &Path) -> Result<Self> {
        let file = File::create(log).context("creating the server's log")?;
        let mut child = program.start_with_stdout(file)?;
        let registration = cleanup::process(child.id());
        let stdout = child.stdout.take().context("a server without stdout")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let read = stdout
            .read_line(&mut line)
            .context("reading from the server");
        let words: Vec<&str> = line.split(' ').collect();
        let url = match words[..] {
            ["serving", model, "on", url, ..] => {
                // Of several models the first is measured.
                let model = model.split(',').next().unwrap_or(model);
                format!("{url}/predict/{model}")
            }
            _ => {
                cleanup::kill_group(child.id());
                let status = child.wait().context("waiting for the server")?;
                read?;
                // The log ends with its own error and remedy.
                let said = command::tail(log, 20).join("\n");
                let class = match status.code() {
                    Some(2) => Class::Usage,
                    Some(4) => Class::Executor,
                    _ => Class::Negative,
                };
                return Err(Failure::new(class, "the server does not start")
                    .why(said)
                    .into());
            }
        };
        Ok(Self {
            child,
            _registration: registration,
            _stdout: stdout,
            url,
        })
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server says that it is ready.
    pub async fn wait_ready(&mut self, target: &BenchTarget) -> Result<()> {
        let ends = Instant::now() + READY_DEADLINE;
        while Instant::now() < ends {
            if target.is_ready().await? {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().context("looking after the server")? {
                bail!("the server ended before it was ready: {status}");
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
        bail!("the server was not ready within {READY_DEADLINE:?}")
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // The signal fails where the server has ended already; then it is only waited for.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        if let Ok(None) = self.child.wait_timeout(STOP_DEADLINE) {
            cleanup::kill_group(self.child.id());
        }
        let _ = self.child.wait();
    }
}
