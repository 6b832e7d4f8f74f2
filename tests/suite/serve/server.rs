//! A running `neuronc serve`, its workers, and what can be seen of them from outside.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::serve::client::{Client, Response};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

/// Buckets for each fixture: one below the 16 tokens to which a stored tokenizer would pad or cut,
/// and the longest that the model takes.
pub(super) fn shapes(fixture: &str) -> [&'static str; 4] {
    let lengths = match fixture {
        "feature-extraction" | "feature-extraction-cls" => "12,32,48",
        _ => "12,32,64",
    };
    ["--batch-size", "1,2", "--sequence-length", lengths]
}

/// A running server; it and its workers are killed when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
    pub(super) address: SocketAddr,
    /// What it serves.
    pub(super) model: String,
}

/// A server of a fixture and the folder it needs.
pub(super) struct Running {
    pub(super) server: Server,
    pub(super) place: Workplace,
}

impl std::ops::Deref for Running {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// A server of a fixture that this test has for itself, ready.
pub(super) fn serve(name: &str, cores: usize) -> Running {
    let running = start(name, cores);
    running.wait_ready(cores);
    running
}

/// The same, not yet ready.
pub(super) fn start(name: &str, cores: usize) -> Running {
    let place = Workplace::new();
    let bundle = place.traced(&fixture(name), "bundle", &shapes(name));
    Running {
        server: Server::start(&place, &bundle, cores),
        place,
    }
}

/// A server of a fixture for all tests that only ask it something; it ends with the last of them.
pub(super) fn shared(name: &'static str) -> Arc<Running> {
    shared_as(name, || serve(name, 1))
}

/// The same of what `start` starts.
pub(super) fn shared_as(key: &'static str, start: impl FnOnce() -> Running) -> Arc<Running> {
    static RUNNING: Mutex<BTreeMap<&str, Weak<Running>>> = Mutex::new(BTreeMap::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = running.get(key).and_then(Weak::upgrade) {
        return server;
    }
    let server = Arc::new(start());
    running.insert(key, Arc::downgrade(&server));
    server
}

impl Server {
    /// Starts the program and reads the address from its first line.
    pub(super) fn start(place: &Workplace, bundle: &Path, cores: usize) -> Self {
        let (bundle, cores) = (bundle.display().to_string(), cores.to_string());
        Self::start_with(place, &[&bundle, "--cores", &cores])
    }

    /// The same with these arguments, on a free port.
    pub(super) fn start_with(place: &Workplace, args: &[&str]) -> Self {
        let command = place.command(&[&["serve", "--port", "0"], args].concat());
        Self::start_command(place, command)
    }

    /// The same of a command, which has to be `serve` on a free port.
    pub(super) fn start_command(place: &Workplace, mut command: Command) -> Self {
        let log = place.path("serve.log");
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let ["serving", model, "on", url, ..] = words[..] else {
            panic!("not started: {line}{}", fs::read_to_string(&log).unwrap());
        };
        Self {
            process,
            stdout,
            log,
            address: url.split_once("://").unwrap().1.parse().unwrap(),
            model: model.to_owned(),
        }
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    pub(super) fn get(&self, path: &str) -> Response {
        self.client().get(path).unwrap()
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Response {
        self.client().post(path, body).unwrap()
    }

    /// The path of the served model.
    pub(super) fn path(&self) -> String {
        format!("/predict/{}", self.model)
    }

    pub(super) fn predict(&self, body: &Value) -> Response {
        self.post(&self.path(), body)
    }

    /// The answer to `inputs`, which has to be one.
    #[track_caller]
    pub(super) fn answer(&self, inputs: &Value) -> Value {
        let response = self.predict(&json!({"inputs": inputs}));
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// The process ids of the ready workers, by core; `None` for one that is not.
    pub(super) fn workers(&self) -> Vec<Option<u32>> {
        let health = self.get("/health/ready").json();
        let cores = health["cores"].as_array().unwrap().iter();
        let pid = |core: &Value| Some(u32::try_from(core["pid"].as_u64()?).unwrap());
        cores.map(pid).collect()
    }

    /// Waits until `cores` workers are ready and gives their process ids, by core.
    #[track_caller]
    pub(super) fn wait_ready(&self, cores: usize) -> Vec<u32> {
        wait_until("every core is ready", || {
            let workers: Option<Vec<u32>> = self.workers().into_iter().collect();
            workers.filter(|workers| workers.len() == cores)
        })
    }

    pub(super) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to the server itself.
    pub(super) fn signal(&self, signal: Signal) {
        send(self.process_id(), signal);
    }

    /// Waits for its end.
    pub(super) fn wait_exit(&mut self) -> ExitStatus {
        let process = &mut self.process;
        wait_until("the server ends", || process.try_wait().unwrap())
    }

    /// What it wrote to stderr so far, with what its workers wrote.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The address for management, which is one of the lines after the first.
    pub(super) fn management(&mut self) -> SocketAddr {
        loop {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "no such line");
            if let Some(url) = line.trim().strip_prefix("management: ") {
                return url.split_once("://").unwrap().1.parse().unwrap();
            }
        }
    }

    /// What it wrote to stdout after the first line; waits for its end.
    pub(super) fn rest_of_stdout(&mut self) -> String {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        rest
    }

    /// The processes that it started and that still run.
    pub(super) fn children(&self) -> Vec<u32> {
        let children = self.threads().into_iter().flat_map(|thread| {
            let list = fs::read_to_string(thread.join("children")).unwrap_or_default();
            let pids = list.split_whitespace().map(|pid| pid.parse().unwrap());
            pids.collect::<Vec<u32>>()
        });
        children.collect()
    }

    /// The cores that have given their worker something and wait for the answer.
    pub(super) fn waiting_cores(&self) -> Vec<usize> {
        let waiting = self.threads().into_iter().filter_map(|thread| {
            let name = fs::read_to_string(thread.join("comm")).ok()?;
            let core = name.trim().strip_prefix("core-")?.parse().unwrap();
            // Where in the kernel the thread sleeps.
            let place = fs::read_to_string(thread.join("wchan")).ok()?;
            let waits = ["unix_stream_", "do_poll", "do_sys_poll", "poll_"];
            waits
                .iter()
                .any(|wait| place.starts_with(wait))
                .then_some(core)
        });
        waiting.collect()
    }

    /// Waits until a core waits for its worker, which a test has stopped, and says which.
    #[track_caller]
    pub(super) fn wait_handed_over(&self) -> usize {
        wait_until("a worker is given something", || {
            self.waiting_cores().first().copied()
        })
    }

    /// Waits until as many rows of a model wait for a worker.
    pub(super) fn wait_queued(&self, model: &str, rows: usize) {
        let expected = format!("neuronc_queue_rows{{model=\"{model}\"}} {rows}");
        wait_until(&expected, || {
            let metrics = String::from_utf8(self.get("/metrics").body).unwrap();
            metrics.lines().any(|line| line == expected).then_some(())
        });
    }

    fn threads(&self) -> Vec<PathBuf> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process_id()));
        let tasks = tasks.into_iter().flatten();
        tasks.map(|task| task.unwrap().path()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A worker that a test has stopped would never see that the server is gone.
        let workers = self.children();
        let _ = self.process.kill();
        let _ = self.process.wait();
        for worker in workers {
            let _ = kill_process(pid(worker), Signal::KILL);
        }
    }
}

/// Sends a signal to a process that runs.
#[track_caller]
pub(super) fn send(process: u32, signal: Signal) {
    kill_process(pid(process), signal).unwrap();
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(process.try_into().unwrap()).unwrap()
}

/// True when a process has ended, even if nobody has asked for its exit status.
pub(super) fn is_gone(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    state.is_empty() || state.starts_with(['Z', 'X'])
}
