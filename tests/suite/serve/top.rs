//! `neuronc top` against a server at work: what it prints, what it warns of, and how it behaves on a
//! terminal.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::serve::load::Load;
use crate::serve::server::{Running, Server, send, shapes};
use crate::serve::wait_until;
use crate::support::{Run, Workplace, fixture, repository, skip_outside_of_ci};

/// A server of `m` with a worker, and its management port.
fn server() -> (Running, SocketAddr) {
    server_of(&["m=bundle".to_owned()])
}

/// The same with more models.
fn server_of(models: &[String]) -> (Running, SocketAddr) {
    let place = Workplace::new();
    let fixed = "feature-extraction";
    place.traced(&fixture(fixed), "bundle", &shapes(fixed));
    let count = models.len().to_string();
    let mut args = vec!["--cores", "1", "--models-per-core", &count];
    args.extend(["--management-port", "0"]);
    for model in models {
        args.extend(["--model", model]);
    }
    let mut server = Server::start_with(&place, &args);
    let management = server.management();
    server.wait_ready(1);
    (Running { server, place }, management)
}

fn top(place: &Workplace, management: SocketAddr, more: &[&str]) -> Run {
    let url = format!("http://{management}");
    place.run(&[&["top", &url, "--once", "--interval", "500ms"], more].concat())
}

#[test]
fn what_the_server_did_is_shown_as_rates() {
    let (server, management) = server();
    let load = Load::start(&server, 2);
    load.wait_answers(1);
    let shown = top(&server.place, management, &["--format", "json"])
        .succeeds()
        .json();
    load.wait_answers(1);
    let core = &shown["cores"][0];
    assert!(core["rows_per_second"].as_f64().unwrap() > 0.0, "{shown}");
    assert_eq!(
        (&core["state"], &core["models"][0]),
        (&"ready".into(), &"m".into())
    );
    let busy = core["busy"].as_f64().unwrap();
    assert!(busy > 0.0 && busy <= 1.0, "{busy}");
    assert_eq!(core["pid"], server.wait_ready(1)[0]);
    let memory = |value: &Value| value.as_u64().unwrap();
    let proportional = memory(&core["proportional_bytes"]);
    assert!(proportional > 1 << 20 && proportional <= memory(&core["resident_bytes"]));
    let model = &shown["models"][0];
    assert_eq!(model["model"], "m");
    let buckets = model["buckets"].as_array().unwrap().iter();
    let of_buckets: f64 = buckets
        .map(|bucket| bucket["rows_per_second"].as_f64().unwrap())
        .sum();
    assert!(
        (of_buckets - model["rows_per_second"].as_f64().unwrap()).abs() < 1e-6,
        "{shown}"
    );
    let host = &shown["host"];
    let all = host["processors"].as_f64().unwrap();
    assert!(
        (0.0..=all).contains(&host["processors_busy"].as_f64().unwrap()),
        "{host}"
    );
    assert!(memory(&host["server_proportional_bytes"]) > proportional);

    let text = top(&server.place, management, &[]).succeeds().stdout();
    for part in [
        "CORE  STATE  BUSY",
        "MODEL  BUCKET",
        "host: ",
        "ready",
        "PSS",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no terminal, no colours");
}

#[test]
fn a_core_that_is_down_is_warned_of() {
    let (server, management) = server();
    let worker = server.wait_ready(1)[0];
    // It cannot come back without its bundle.
    fs::rename(server.place.path("bundle"), server.place.path("gone")).unwrap();
    send(worker, Signal::KILL);
    wait_until("top warns of the core", || {
        let shown = top(&server.place, management, &["--format", "json"])
            .succeeds()
            .json();
        let warnings = shown["warnings"].to_string();
        (warnings.contains("core 0 is") && warnings.contains("model `m` has no core")).then_some(())
    });
}

#[test]
fn neuron_monitor_is_asked_where_there_is_one() {
    let (mut server, management) = server();
    let worker = server.wait_ready(1)[0];
    let tools = server.place.path("tools");
    fs::create_dir(&tools).unwrap();
    let tool = tools.join("neuron-monitor");
    fs::copy(repository().join("tests/sdk/neuron-monitor"), &tool).unwrap();
    fs::write(tools.join("neuron-monitor.pid"), worker.to_string()).unwrap();
    server.place.set("PATH", &tools.display().to_string());

    let shown = top(&server.place, management, &["--format", "json"])
        .succeeds()
        .json();
    let core = &shown["cores"][0];
    assert_eq!(core["neuron_utilization"], 42.5, "{shown}");
    assert_eq!(core["device_bytes"], 524_288_000);
    assert_eq!(shown["neuron"]["device_type"], "inferentia2");
    assert_eq!(
        shown["neuron"]["processes"][worker.to_string()]["device_p99"],
        0.003
    );
    assert!(
        shown["warnings"].to_string().contains("1 memory errors"),
        "{shown}"
    );
    let asked = fs::read_to_string(tools.join("neuron-monitor.settings")).unwrap();
    assert!(asked.contains("\"tag_filter\":\".*\""), "{asked}");
    let text = top(&server.place, management, &[]).succeeds().stdout();
    assert!(
        text.contains("NEURON") && text.contains("devices: 1 of type inferentia2"),
        "{text}"
    );

    let without = ["--format", "json", "--no-neuron-monitor"];
    let shown = top(&server.place, management, &without).succeeds().json();
    assert_eq!(shown["neuron"], Value::Null);

    fs::write(&tool, "#!/bin/sh\necho 'no neuron device' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let shown = top(&server.place, management, &["--format", "json"])
        .succeeds()
        .json();
    assert!(
        shown["warnings"]
            .to_string()
            .contains("neuron-monitor: it has ended"),
        "{shown}"
    );
}

/// A terminal in tmux, which ends with the value.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs a command of the shell in a window of so many columns and rows; `None` where there is no tmux, which is printed.
    fn run(place: &Workplace, (columns, rows): (u16, u16), command: &str) -> Option<Self> {
        let terminal = Self {
            socket: place.path("tmux").display().to_string(),
        };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let size = ["-x", &columns, "-y", &rows];
        let started = terminal.command(&[&["new-session", "-d"], &size[..], &[command]].concat());
        if started.is_none() {
            skip_outside_of_ci("there is no tmux on PATH");
        }
        started.map(|_| terminal)
    }

    fn command(&self, args: &[&str]) -> Option<String> {
        let mut command = Command::new("tmux");
        command
            .args(["-f", "/dev/null", "-S", &self.socket])
            .args(args);
        let output = match command.env("LC_ALL", "C.UTF-8").output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            output => output.unwrap(),
        };
        assert!(output.status.success(), "{args:?}: {output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    }

    #[track_caller]
    fn wait(&self, part: &str) -> String {
        wait_until(part, || {
            let shown = self.command(&["capture-pane", "-p"]).unwrap();
            shown.contains(part).then_some(shown)
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-S", &self.socket, "kill-server"])
            .output();
    }
}

#[test]
fn a_terminal_is_drawn_over_and_given_back() {
    for end in ["q", "C-c"] {
        let (server, management) = server();
        let program = env!("CARGO_BIN_EXE_neuronc");
        // The shell gets Ctrl-C too, and must not end by it.
        let shell = "trap : INT; echo before; \"$0\" top \"$1\" --interval 200ms; echo left with $?; exec cat";
        let command = format!("sh -c '{shell}' {program} http://{management}");
        let Some(terminal) = Terminal::run(&server.place, (100, 30), &command) else {
            return;
        };
        let shown = terminal.wait("CORE  STATE");
        assert!(!shown.contains("before"), "{shown}");
        assert!(
            shown.lines().all(|line| line.chars().count() <= 100),
            "{shown}"
        );
        drop(server.server);
        let shown = terminal.wait("no server answers");
        assert!(
            shown.contains("CORE  STATE"),
            "what was known stays:\n{shown}"
        );
        terminal.command(&["send-keys", end]);
        let shown = terminal.wait("left with 0");
        assert!(
            shown.contains("before") && !shown.contains("CORE"),
            "{shown}"
        );
    }
}

#[test]
fn what_does_not_fit_is_shortened_counted_and_moved_to() {
    let models: Vec<String> = (10..34).map(|n| format!("model-{n}=bundle")).collect();
    let (server, management) = server_of(&models);
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max();
    let once = top(&server.place, management, &[]).succeeds().stdout();
    assert!(widest(&once) <= Some(80), "{once}");
    assert!(once.contains("no room for"), "{once}");
    let wide = top(&server.place, management, &["--width", "600"]);
    let wide = wide.succeeds().stdout();
    for part in [
        "PID",
        "PADDING",
        "RESTARTS",
        "model-10,model-11",
        "model-32,model-33",
    ] {
        assert!(wide.contains(part), "{part}:\n{wide}");
    }
    assert!(!wide.contains("no room for"), "{wide}");

    let program = env!("CARGO_BIN_EXE_neuronc");
    let command = format!("{program} top http://{management} --interval 200ms");
    let Some(terminal) = Terminal::run(&server.place, (80, 24), &command) else {
        return;
    };
    let shown = terminal.wait("lines are not shown");
    for part in [
        "RSS",
        "PSS",
        "RST",
        "MODELS",
        "model-10,+23",
        "memory left",
        "neuronc has",
    ] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    let last = shown.lines().last().unwrap();
    assert!(
        last.contains("this is 1-23 of ") && last.contains("PgDn"),
        "{shown}"
    );
    assert!(!shown.contains("model-33"), "{shown}");
    for (key, seen, gone) in [
        ("PPage", "CORE  STATE", "model-33"),
        ("NPage", "model-33", "CORE  STATE"),
        ("Home", "CORE  STATE", "model-33"),
        ("G", "no room for", "CORE  STATE"),
    ] {
        terminal.command(&["send-keys", key]);
        let shown = terminal.wait(seen);
        assert!(!shown.contains(gone), "{key}:\n{shown}");
    }
    // A window that grows is drawn anew at once.
    terminal.command(&["resize-window", "-x", "160", "-y", "40"]);
    let shown = terminal.wait("RESTARTS");
    for part in ["BATCHES/S", "PID", "MODELS", "model-33"] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    assert!(!shown.contains("lines are not shown"), "{shown}");
}
