//! Starts processes, which no other file does: each gets an environment that was built for it, its output
//! is kept, and the ways in which it can fail are told apart.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use wait_timeout::ChildExt as _;

use crate::cleanup::{self, Registration};

/// Longer lines of a child's stdout are passed on in pieces.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Number of lines that may wait to be handled; beyond, the child is slowed down.
const LINES_WAITING_MAX: usize = 1024;

/// Bytes at the end of a child's log from which an error shows lines.
const TAIL_BYTES: u64 = 64 << 10;

/// Bytes that a log keeps from its beginning; of the output after that it keeps the last [`TAIL_BYTES`].
const LOG_BYTES_MAX: u64 = 64 << 20;

/// A program with its arguments and its whole environment; no variable is inherited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<OsString>,
    pub environment: BTreeMap<OsString, OsString>,
}

/// Receives the bytes that a child writes to its log.
pub type OutputWatch<'a> = dyn Fn(&[u8]) + Sync + 'a;

/// The log of a child, which is its stderr.
pub struct ChildLog<'a> {
    pub path: &'a Path,
    /// Receives the output as it is written.
    pub watch: Option<&'a OutputWatch<'a>>,
}

impl<'a> ChildLog<'a> {
    pub fn file(path: &'a Path) -> Self {
        Self { path, watch: None }
    }
}

/// The reason why a process did not do its work.
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
    /// Runs the program to its end: `input` goes to stdin, each line of stdout to `on_line`, stderr to `log`.
    /// The child and the processes that it started are killed when `deadline` passes or `on_line` fails.
    pub fn run(
        &self,
        input: Vec<u8>,
        log: &ChildLog,
        deadline: Duration,
        on_line: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let file =
            File::create(log.path).with_context(|| format!("creating `{}`", log.path.display()))?;
        let child = self.spawn(Stdio::piped(), Stdio::piped(), Stdio::piped())?;
        let mut running = RunningChild {
            _registration: cleanup::process(child.id()),
            child,
        };
        let stderr = running.child.stderr.take();
        thread::scope(|scope| {
            let kept = scope.spawn(move || keep_log(stderr, file, log.watch));
            let outcome = self.follow(&mut running, input, deadline, on_line);
            // A process that the child left behind, such as a compiler, may hold the pipe of the log open; then
            // the thread that reads it would never end.
            cleanup::kill_group(running.child.id());
            let kept = kept.join().unwrap_or(Ok(()));
            let status = outcome?;
            kept.with_context(|| format!("writing `{}`", log.path.display()))?;
            self.check(status, log.path)
        })
    }

    /// Passes the lines of a child on until it closes its stdout, then waits for its end.
    fn follow(
        &self,
        running: &mut RunningChild,
        input: Vec<u8>,
        deadline: Duration,
        on_line: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<ExitStatus> {
        let ends = Instant::now() + deadline;
        // On a thread, since a child that writes before it has read all would wait for us as we wait for it. A
        // child that dies without reading shows in its exit status.
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
        // A closed stdout is not the end of the process.
        let left = ends.saturating_duration_since(Instant::now());
        let ended = running.child.wait_timeout(left);
        match ended.context("waiting for a child process")? {
            Some(status) => Ok(status),
            None => {
                let program = self.path.clone();
                Err(CommandError::DeadlineExceeded { program, deadline }.into())
            }
        }
    }

    /// Starts a process whose stdin is one end of a socket; stdout and stderr go to `log`.
    pub fn start_with_socket(&self, log: File) -> Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair().context("creating a socket")?;
        let copy = log.try_clone().context("sharing the log of a worker")?;
        let child = self.spawn(OwnedFd::from(theirs).into(), copy.into(), log.into())?;
        Ok((child, ours))
    }

    /// Starts a process whose stdout the caller reads; stderr goes to `log`. When the calling thread ends,
    /// in whatever way, the kernel sends the process SIGTERM.
    pub fn start_with_stdout(&self, log: File) -> Result<Child, CommandError> {
        let mut command = self.command(Stdio::null(), Stdio::piped(), log.into());
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; this is one system call.
        #[expect(unsafe_code, reason = "runs in the child, between fork and exec")]
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        self.start(command)
    }

    fn spawn(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Child, CommandError> {
        self.start(self.command(stdin, stdout, stderr))
    }

    fn command(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Command {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .env_clear()
            .envs(&self.environment)
            // With a process group of its own, Ctrl-C on the terminal does not reach the child: we decide when it
            // ends. The group also lets us kill the processes that it starts.
            .process_group(0)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr);
        command
    }

    fn start(&self, mut command: Command) -> Result<Child, CommandError> {
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

/// A running child; dropping the value kills it and its group.
struct RunningChild {
    child: Child,
    _registration: Registration,
}

impl Drop for RunningChild {
    fn drop(&mut self) {
        cleanup::kill_group(self.child.id());
        // Fails only when the child was waited for already.
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread, so that the caller can stop waiting for one at a deadline.
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
            // Nobody listens after a deadline or a failure of `on_line`.
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Copies the stderr of a child to its log. Of output beyond [`LOG_BYTES_MAX`] the end is kept, and the log
/// says how many bytes are missing in between.
fn keep_log(
    stderr: Option<impl Read>,
    mut file: File,
    watch: Option<&OutputWatch<'_>>,
) -> io::Result<()> {
    let Some(mut stderr) = stderr else {
        return Ok(());
    };
    let (mut room, mut beyond, mut last) = (LOG_BYTES_MAX, 0, Vec::new());
    let mut buffer = vec![0; 64 << 10];
    let mut written = Ok(());
    loop {
        let count = match stderr.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = &buffer[..count];
        if let Some(watch) = watch {
            watch(bytes);
        }
        let (fits, rest) = bytes.split_at(usize::try_from(room).map_or(count, |r| r.min(count)));
        room -= fits.len() as u64;
        beyond += rest.len() as u64;
        // After an error the pipe is still read: a full pipe would stop the child.
        written = written.and_then(|()| file.write_all(fits));
        keep_end(&mut last, rest);
    }
    written?;
    if beyond > last.len() as u64 {
        let lost = beyond - last.len() as u64;
        write!(file, "\n[neuronc: {lost} bytes were not kept here]\n")?;
    }
    file.write_all(&last)
}

/// Appends to `last` and cuts its beginning, so that it holds [`TAIL_BYTES`] at most.
fn keep_end(last: &mut Vec<u8>, bytes: &[u8]) {
    last.extend_from_slice(bytes);
    let max = usize::try_from(TAIL_BYTES).unwrap_or(usize::MAX);
    last.drain(..last.len().saturating_sub(max));
}

/// The last `count` lines of a log; empty where the log cannot be read.
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
            &ChildLog::file(&folder.path().join("log")),
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
    fn what_a_child_left_behind_ends_with_it() {
        let start = Instant::now();
        let (result, _) = run(&shell("sleep 60 >/dev/null & exit 0"), LONG);
        result.unwrap();
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn a_log_keeps_its_beginning_and_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let long = io::repeat(b'x').take(LOG_BYTES_MAX + (1 << 20));
        let whole = io::Cursor::new(b"first\n")
            .chain(long)
            .chain(&b"\nlast\n"[..]);
        keep_log(Some(whole), File::create(&path).unwrap(), None).unwrap();
        let kept = path.metadata().unwrap().len();
        assert!((LOG_BYTES_MAX..LOG_BYTES_MAX + 2 * TAIL_BYTES).contains(&kept));
        assert_eq!(tail(&path, 1), ["last"]);
        let mut text = Vec::new();
        File::open(&path).unwrap().read_to_end(&mut text).unwrap();
        let note = b"bytes were not kept";
        assert!(text.windows(note.len()).any(|window| window == note));
    }

    #[test]
    fn a_child_is_killed_when_its_output_is_not_understood() {
        let folder = tempfile::tempdir().unwrap();
        let program = shell("echo nonsense; exec sleep 60");
        let start = Instant::now();
        let log = folder.path().join("log");
        let result = program.run(Vec::new(), &ChildLog::file(&log), LONG, &mut |line| {
            anyhow::bail!("not an event: {line}")
        });
        assert!(result.is_err() && start.elapsed() < LONG);
    }
}
