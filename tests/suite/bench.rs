//! `neuronc bench`, and the simulated device on which it is tried.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

const TIMINGS: &str = "inf2/bert-base-uncased";

/// A place with a bundle named `bundle`.
fn workplace() -> (Workplace, PathBuf) {
    let place = Workplace::new();
    let shapes = ["--batch-size", "1,2", "--sequence-length", "12,32"];
    let bundle = place.traced(&fixture("feature-extraction"), "bundle", &shapes);
    (place, bundle)
}

/// A server that answers every request on every connection after `pause`, with `answer`.
fn server(answer: &'static str, pause: Duration) -> SocketAddr {
    counting_server(answer, pause).0
}

/// The same, with the number of its answers.
fn counting_server(answer: &'static str, pause: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answered);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || serve(stream.unwrap(), answer, pause, &counted));
        }
    });
    (address, answered)
}

fn serve(mut stream: TcpStream, answer: &str, pause: Duration, answered: &AtomicUsize) {
    let mut buffer = [0; 4096];
    // Requests are small: each comes in one read.
    while let Ok(1..) = stream.read(&mut buffer) {
        thread::sleep(pause);
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]";
const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 24\r\n\r\n{\"error\": \"come later\"}\n";

fn bench(address: SocketAddr, more: &[&str]) -> crate::support::Run {
    let url = format!("http://{address}/any");
    let args = ["bench", &url, "--format", "json", "--warm-up", "1ms"];
    Workplace::new().run(&[&args, more].concat())
}

#[test]
fn a_bundle_is_served_and_measured_core_by_core() {
    let (place, _) = workplace();
    let long = "the cat the river the bridge the museum the train the city";
    fs::write(place.path("texts"), format!("the cat\n\n{long}\n")).unwrap();
    let run = place.run(&[
        "bench",
        "bundle",
        "--runtime",
        "simulated",
        "--timings",
        TIMINGS,
        "--concurrency",
        "1,8",
        "--requests",
        "60",
        "--warm-up",
        "10ms",
        "--texts",
        "texts",
        "--format",
        "json",
    ]);
    let report = run.succeeds().json();
    assert_eq!(report["runtime"], "simulated");
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert_eq!(run["requests"], run["statuses"]["200"]);
        assert!(run["requests"].as_u64().unwrap() >= 60);
        let of = |parts: &str| -> u64 {
            let parts = run[parts].as_object().unwrap().values();
            parts.map(|part| part["requests"].as_u64().unwrap()).sum()
        };
        assert_eq!(
            (of("cores"), of("buckets")),
            (of("buckets"), run["requests"].as_u64().unwrap())
        );
    }
    let cores: Vec<&String> = runs[1]["cores"].as_object().unwrap().keys().collect();
    assert_eq!(cores, ["0", "1"]);
}

#[test]
fn a_slow_server_cannot_hide_what_waited_for_it() {
    // 50 requests a second, one at a time: each takes 40 ms, so the queue grows by 20 ms a request.
    let address = server(OK, Duration::from_millis(40));
    let load = ["--rate", "50", "--connections", "1", "--requests", "30"];
    let report = bench(address, &load).succeeds().json();
    let latency = &report["runs"][0]["latency_ms"];
    let longest = latency["max"].as_f64().unwrap();
    assert!(longest > 200.0, "{latency}");
    // A client that waits for its answer sees the pause alone.
    let report = bench(address, &["--concurrency", "1", "--requests", "10"])
        .succeeds()
        .json();
    let median = report["runs"][0]["latency_ms"]["p50"].as_f64().unwrap();
    assert!((40.0..200.0).contains(&median), "{median}");
}

#[test]
fn refusals_and_silence_fail() {
    let busy = server(BUSY, Duration::ZERO);
    let run = bench(busy, &["--concurrency", "2", "--requests", "10"]);
    let report = run
        .fails(1, &["requests failed", "x status 503", "503: come later"])
        .json();
    assert_eq!(report["runs"][0]["requests"], 0);
    assert!(report["runs"][0]["statuses"]["503"].as_u64().unwrap() >= 10);

    let closes = server("", Duration::ZERO);
    let limits = [
        "--concurrency",
        "1",
        "--requests",
        "2",
        "--timeout",
        "100ms",
    ];
    let report = bench(closes, &limits)
        .fails(1, &["2 requests failed", "no answer in time"])
        .json();
    assert_eq!(report["runs"][0]["errors"]["no answer in time"], 2);
}

#[test]
fn a_server_that_was_started_ends_with_it_however_it_ends() {
    let (place, _) = workplace();
    for signal in [Signal::INT, Signal::KILL] {
        let mut command = place.command(&["bench", "bundle", "--duration", "60s"]);
        let mut bench = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", bench.id());
        let server = wait_until("a server is started", || {
            let children = fs::read_to_string(&children).unwrap();
            let server = children.split_whitespace().next()?.parse::<i32>().unwrap();
            // It has become `neuronc serve`, and has a worker of its own.
            let program = fs::read_to_string(format!("/proc/{server}/cmdline")).ok()?;
            program.contains("serve").then_some(server)
        });
        kill_process(Pid::from_child(&bench), signal).unwrap();
        bench.wait().unwrap();
        wait_until("the server ends", || {
            (!Path::new(&format!("/proc/{server}/cwd/.")).exists()).then_some(())
        });
    }
}

#[test]
fn ctrl_c_ends_a_run_and_shows_what_was_measured() {
    let place = Workplace::new();
    let interrupted = |warm_up: &str| {
        let (address, answered) = counting_server(OK, Duration::from_millis(1));
        let url = format!("http://{address}/any");
        let args = ["bench", &url, "--duration", "600s", "--warm-up", warm_up];
        let mut command = place.command(&[&args[..], &["--format", "json"]].concat());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_until("requests are answered", || {
            (answered.load(Ordering::Relaxed) > 50).then_some(())
        });
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        (output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let (report, said) = interrupted("1ms");
    assert!(said.contains("until then is shown"), "{said}");
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["interrupted"], true);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    assert!(runs[0]["requests"].as_u64().unwrap() > 20, "{runs:?}");
    assert!(runs[0]["seconds"].as_f64().unwrap() < 600.0, "{runs:?}");
    assert_eq!(runs[0]["errors"].as_object().unwrap().len(), 0, "{runs:?}");

    let (report, said) = interrupted("600s");
    assert!(said.contains("before anything was measured"), "{said}");
    assert_eq!(report, b"");
}

#[test]
fn the_highest_rate_that_keeps_a_promise_is_found() {
    // One connection, 10 ms a request: beyond 100 a second the queue grows without end.
    let address = server(OK, Duration::from_millis(10));
    let search = [
        "--slo",
        "p90=80ms",
        "--rate",
        "20",
        "--connections",
        "1",
        "--duration",
        "700ms",
    ];
    let report = bench(address, &search).succeeds().json();
    let found = report["promise"]["highest_rate"].as_f64().unwrap();
    assert!((10.0..115.0).contains(&found), "{found}");
    let runs = report["runs"].as_array().unwrap();
    assert!(runs.iter().any(|run| run["held"] == false));
    bench(
        address,
        &["--slo", "p50=1ms", "--rate", "20", "--duration", "50ms"],
    )
    .fails(1, &["held at no rate"]);
}

#[test]
fn every_format_has_the_numbers() {
    let address = server(OK, Duration::ZERO);
    let run = |format: &str| {
        let url = format!("http://{address}/any");
        let args = [
            "bench",
            &url,
            "--requests",
            "20",
            "--warm-up",
            "1ms",
            "--concurrency",
            "1,2",
        ];
        let place = Workplace::new();
        place
            .run(&[&args[..], &["--format", format, "-o", "out"]].concat())
            .succeeds();
        fs::read_to_string(place.path("out")).unwrap()
    };
    let csv = run("csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines.iter().all(|line| line.split(',').count() == 15),
        "{csv}"
    );
    let html = run("html");
    assert_eq!(html.matches("<svg").count(), 2);
    assert_eq!(html.matches("<polyline").count(), 2);
    assert!(!html.contains("http://www") && !html.contains("<script"));
    assert!(run("text").contains("concurrency 2"));
    let json: Value = serde_json::from_str(&run("json")).unwrap();
    assert_eq!(json["schema_version"], 1);
}

#[test]
fn a_simulated_core_takes_the_time_that_its_file_says() {
    let (place, _) = workplace();
    // One row takes 30 ms, on one core.
    let times = "format: 1\nchip: inf2\nmodels:\n  slow: {family: bert, layers: 2, hidden: 32, \
                 instance: inf2.xlarge, cores: 1, measured: [{batch: 1, sequence: 12, per_second: \
                 33.333}, {batch: 2, sequence: 12, per_second: 66.667}]}\n";
    fs::write(place.path("times.yaml"), times).unwrap();
    let rate = |clients: &str, cores: &str| {
        let start = Instant::now();
        let report = place.run(&[
            "bench",
            "bundle",
            "--runtime",
            "simulated",
            "--timings",
            "times.yaml",
            "--cores",
            cores,
            "--concurrency",
            clients,
            "--requests",
            "30",
            "--warm-up",
            "1ms",
            "--words",
            "1",
            "--format",
            "json",
        ]);
        let report = report.succeeds().json();
        assert!(start.elapsed() > Duration::from_millis(100));
        let run = &report["runs"][0];
        // What it cost can be said of a run that is not too short.
        let cost = &run["processors"]["server_micros_per_request"];
        assert!(
            cost.is_number() || run["seconds"].as_f64().unwrap() < 0.6,
            "{run}"
        );
        run["per_second"].as_f64().unwrap()
    };
    // No load can make a core faster than its times.
    assert!(rate("1", "1") <= 33.4);
    assert!(rate("8", "1") <= 66.7 * 1.1);
    let two = rate("8", "2");
    assert!((66.7..66.7 * 2.2).contains(&two), "{two}");
}

#[test]
fn place_says_what_to_expect() {
    let (place, _) = workplace();
    let args = ["place", "bundle", "--instance", "inf2.xlarge", "--simulate"];
    let named = [&args[..], &["--timings", TIMINGS, "--format", "json"]].concat();
    let report = place.run(&named).succeeds().json();
    let lengths = report["capacity"][0]["lengths"].as_array().unwrap();
    assert_eq!(lengths.len(), 2);
    let per_core = lengths[0]["per_core"].as_f64().unwrap();
    let total = lengths[0]["total"].as_f64().unwrap();
    assert!((total / per_core - 2.0).abs() < 1e-9, "{total}");
    assert_eq!(lengths[0]["assumed"], true);
    // Without an instance, that of the times: a processor has none.
    let anywhere = ["place", "bundle", "--simulate", "--timings", TIMINGS];
    let text = place.run(&anywhere).succeeds().stdout();
    assert!(
        text.starts_with("`feature-extraction` fits inf2.xlarge"),
        "{text}"
    );
}
