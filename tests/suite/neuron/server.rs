//! A running `neuronc serve` of the bundle `b`, started as a user starts it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Bench, wait_until};

/// A server, which is killed when this is dropped.
pub(super) struct ChipServer {
    process: Child,
    address: String,
    model: String,
    /// What it printed when it started.
    pub(super) first_lines: String,
    log: PathBuf,
}

impl ChipServer {
    /// Serves the bundle `b`; its log goes to the file `log`.
    pub(super) fn start(bench: &Bench, log: &str, more: &[&str]) -> Self {
        let log = bench.place.path(log);
        let words = [&["serve", "b", "--port", "0"], more].concat();
        let mut command = bench.place.command(&words);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut first_lines = String::new();
        while !first_lines.contains("try: ") {
            let read = stdout.read_line(&mut first_lines).unwrap();
            let said = || fs::read_to_string(&log).unwrap();
            assert!(read > 0, "not started: {first_lines}{}", said());
        }
        let words: Vec<&str> = first_lines.split_whitespace().collect();
        let ["serving", model, "on", url, ..] = words[..] else {
            panic!("not started: {first_lines}");
        };
        Self {
            process,
            address: url.strip_prefix("http://").unwrap().to_owned(),
            model: model.to_owned(),
            first_lines,
            log,
        }
    }

    /// Status and body of the answer to a request.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n");
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// The answer to `inputs`, which has to be one.
    #[track_caller]
    pub(super) fn answer(&self, inputs: &Value) -> Value {
        let body = json!({"inputs": inputs}).to_string();
        let (status, answer) = self.ask("POST", &format!("/predict/{}", self.model), &body);
        assert_eq!(status, 200, "{answer}\n{}", self.log());
        answer
    }

    /// What it says of each core.
    pub(super) fn cores(&self) -> Vec<Value> {
        let (_, health) = self.ask("GET", "/health/ready", "");
        health["cores"].as_array().unwrap().clone()
    }

    /// The process of the worker of a core, while there is one that is ready.
    pub(super) fn worker(&self, core: usize) -> Option<i32> {
        let process = self.cores()[core]["pid"].as_i64();
        process.map(|process| process.try_into().unwrap())
    }

    /// Waits for a worker of `core` other than `before`, and gives its process.
    pub(super) fn wait_worker(&self, core: usize, before: Option<i32>) -> i32 {
        let other = || self.worker(core).filter(|now| Some(*now) != before);
        wait_until("the core has another worker", || other().is_some());
        other().unwrap()
    }

    /// Waits until a core is down because of `part`.
    pub(super) fn wait_down(&self, core: usize, part: &str) {
        wait_until(part, || {
            let core = &self.cores()[core];
            core["cause"]
                .as_str()
                .is_some_and(|cause| cause.contains(part))
        });
    }

    /// What it wrote to stderr so far, with what its workers wrote.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Tells it to stop, and waits for its end.
    pub(super) fn terminate(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        self.process.wait().unwrap()
    }
}

impl Drop for ChipServer {
    fn drop(&mut self) {
        // Workers end with it: their socket closes.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ends a worker in the hardest way.
pub(super) fn kill(process: i32) {
    kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
}
