//! The only place that starts a process: its environment is built, its output is kept, and the ways
//! in which it can fail are told apart.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cleanup::{self, Registration};

/// A line on a child's stdout may not be longer than this many bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Lines of a child that may wait to be handled; a faster child is slowed down.
const LINES_WAITING_MAX: usize = 1024;

/// Bytes of a child's log that an error looks back on.
const TAIL_BYTES: u64 = 64 << 10;

/// A program with its arguments and its whole environment: nothing is inherited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<OsString>,
    pub environment: BTreeMap<OsString, OsString>,
}

/// Why a process did not do its work.
#[derive(Debug)]
pub enum CommandError {
    NotFound {
        program: PathBuf,
    },
    CouldNotStart {
        program: PathBuf,
        cause: io::Error,
    },
    Exited {
        program: PathBuf,
        code: i32,
        log_tail: Vec<String>,
    },
    Killed {
        program: PathBuf,
        signal: i32,
        log_tail: Vec<String>,
    },
    DeadlineExceeded {
        program: PathBuf,
        deadline: Duration,
    },
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { program } => write!(f, "`{}` does not exist", program.display()),
            Self::CouldNotStart { program, cause } => {
                write!(f, "`{}` could not be started: {cause}", program.display())
            }
            Self::Exited {
                program,
                code,
                log_tail,
            } => {
                write!(f, "`{}` exited with status {code}", program.display())?;
                write_tail(f, log_tail)
            }
            Self::Killed {
                program,
                signal,
                log_tail,
            } => {
                write!(f, "`{}` was killed by signal {signal}", program.display())?;
                if *signal == 9 {
                    f.write_str(", which usually means that the machine ran out of memory")?;
                }
                write_tail(f, log_tail)
            }
            Self::DeadlineExceeded { program, deadline } => {
                write!(
                    f,
                    "`{}` did not finish within {deadline:?}",
                    program.display()
                )
            }
        }
    }
}

fn write_tail(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    lines
        .iter()
        .try_for_each(|line| write!(f, "\n    | {line}"))
}

impl std::error::Error for CommandError {}

impl Program {
    /// Runs to the end: `input` goes to stdin, each line of stdout to `on_line`, stderr to the file
    /// `log`. The child is killed when `deadline` passes or `on_line` fails.
    pub fn run(
        &self,
        input: Vec<u8>,
        log: &Path,
        deadline: Duration,
        on_line: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let log_file =
            File::create(log).with_context(|| format!("creating `{}`", log.display()))?;
        let child = self.spawn(Stdio::piped(), Stdio::piped(), log_file.into())?;
        let mut running = Running {
            _registration: cleanup::process(child.id()),
            child,
        };
        let ends = Instant::now() + deadline;
        // A child that dies without reading its input shows in its exit status, not here.
        if let Some(mut stdin) = running.child.stdin.take() {
            thread::spawn(move || stdin.write_all(&input));
        }
        let lines = read_lines(running.child.stdout.take());
        loop {
            match lines.recv_timeout(ends.saturating_duration_since(Instant::now())) {
                Ok(line) => on_line(&line?)?,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let program = self.path.clone();
                    return Err(CommandError::DeadlineExceeded { program, deadline }.into());
                }
            }
        }
        let status = running
            .child
            .wait()
            .context("waiting for a child process")?;
        self.check(status, log)
    }

    /// Starts a process whose stdin is one end of a socket; stdout and stderr go to `log`.
    pub fn start_with_socket(&self, log: File) -> Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair().context("creating a socket")?;
        let copy = log.try_clone().context("sharing the log of a worker")?;
        let child = self.spawn(OwnedFd::from(theirs).into(), copy.into(), log.into())?;
        Ok((child, ours))
    }

    fn spawn(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Child, CommandError> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let mut command = std::process::Command::new(&self.path);
        command
            .args(&self.args)
            .env_clear()
            .envs(&self.environment)
            // Ctrl-C on a terminal reaches us only: we decide what becomes of our children.
            .process_group(0)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr);
        command.spawn().map_err(|cause| {
            let program = self.path.clone();
            match cause.kind() {
                io::ErrorKind::NotFound => CommandError::NotFound { program },
                _ => CommandError::CouldNotStart { program, cause },
            }
        })
    }

    fn check(&self, status: ExitStatus, log: &Path) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let program = self.path.clone();
        let log_tail = tail(log, 20);
        let error = match (status.code(), status.signal()) {
            (Some(code), _) => CommandError::Exited {
                program,
                code,
                log_tail,
            },
            (None, signal) => CommandError::Killed {
                program,
                signal: signal.unwrap_or(0),
                log_tail,
            },
        };
        Err(error.into())
    }
}

/// A child that does not outlive the value.
struct Running {
    child: Child,
    _registration: Registration,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread of its own, so that waiting for one can end at a deadline.
fn read_lines(stdout: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Result<String>> {
    let (sender, receiver) = mpsc::sync_channel(LINES_WAITING_MAX);
    thread::spawn(move || {
        let Some(stdout) = stdout else { return };
        let mut reader = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            let line = match reader
                .by_ref()
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
            {
                Ok(0) => return,
                Ok(_) => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
                Err(error) => Err(error).context("reading the output of a child process"),
            };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The last `count` lines of a log; empty when it cannot be read.
pub fn tail(log: &Path, count: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(count);
    lines[first..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program {
            path: PathBuf::from("/bin/sh"),
            args: vec!["-c".into(), script.into()],
            environment: BTreeMap::new(),
        }
    }

    fn run(program: &Program, deadline: Duration) -> (Result<()>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = Vec::new();
        let result = program.run(
            b"in\n".to_vec(),
            &folder.path().join("log"),
            deadline,
            &mut |line| {
                lines.push(line.to_owned());
                Ok(())
            },
        );
        (result, lines)
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn passes_input_and_hands_out_lines() {
        let (result, lines) = run(&shell("cat; echo out"), LONG);
        result.unwrap();
        assert_eq!(lines, ["in", "out"]);
    }

    #[test]
    fn a_child_sees_only_the_environment_it_was_given() {
        let (result, lines) = run(&shell("echo ${HOME-unset}"), LONG);
        result.unwrap();
        assert_eq!(lines, ["unset"]);
    }

    #[test]
    fn the_ways_to_fail_are_told_apart() {
        let message =
            |program: &Program, deadline| run(program, deadline).0.unwrap_err().to_string();
        let failed = message(&shell("echo reason >&2; exit 3"), LONG);
        assert!(
            failed.contains("status 3") && failed.contains("| reason"),
            "{failed}"
        );
        assert!(message(&shell("kill -9 $$"), LONG).contains("signal 9"));
        assert!(
            message(&shell("exec sleep 60"), Duration::from_millis(50)).contains("within 50ms")
        );
        let missing = Program {
            path: "/no/such".into(),
            ..shell("")
        };
        assert!(message(&missing, LONG).contains("does not exist"));
    }

    #[test]
    fn a_child_is_killed_when_its_output_is_not_understood() {
        let folder = tempfile::tempdir().unwrap();
        let program = shell("echo nonsense; exec sleep 60");
        let start = Instant::now();
        let result = program.run(Vec::new(), &folder.path().join("log"), LONG, &mut |line| {
            anyhow::bail!("not an event: {line}")
        });
        assert!(result.is_err() && start.elapsed() < LONG);
    }
}
