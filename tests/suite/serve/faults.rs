//! What goes wrong around a server: workers that answer wrongly, a disk that is full, a bundle that is
//! damaged under it, a clock that jumps, and more requests than it can take. Nothing accepted is lost or
//! answered twice, and the server goes on.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::serve::client::Client;
use crate::serve::load::Load;
use crate::serve::server::{Running, Server, send, serve, shapes};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture, repository, skip_outside_of_ci};

/// The folder of a `neuronc` whose workers go through the relay.
fn relayed(place: &Workplace) -> PathBuf {
    let folder = place.path("bin");
    fs::create_dir(&folder).unwrap();
    let neuronc = Path::new(env!("CARGO_BIN_EXE_neuronc"));
    // Beside the program that is started, wherever a link to it leads.
    fs::hard_link(neuronc, folder.join("neuronc"))
        .or_else(|_| fs::copy(neuronc, folder.join("neuronc")).map(drop))
        .unwrap();
    symlink(
        neuronc.with_file_name("neuronc-torch"),
        folder.join("worker"),
    )
    .unwrap();
    let relay = folder.join("neuronc-torch");
    fs::copy(repository().join("tests/suite/serve/relay.py"), &relay).unwrap();
    fs::set_permissions(&relay, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A server whose worker goes through the relay in `folder`.
fn through(place: &Workplace, folder: &Path) -> Server {
    let mut command = Command::new(folder.join("neuronc"));
    command.args(["serve", "bundle", "--port", "0", "--cores", "1"]);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
        .env("HOME", place.path(""))
        .current_dir(place.path(""));
    Server::start_command(place, command)
}

#[test]
fn a_worker_that_answers_wrongly_is_replaced_and_costs_no_answer() {
    let place = Workplace::new();
    let name = "feature-extraction";
    place.traced(&fixture(name), "bundle", &shapes(name));
    let folder = relayed(&place);
    let server = through(&place, &folder);
    server.wait_ready(1);
    let expected = server.answer(&json!("the cat"));
    let fault = folder.join("fault");
    for (name, cause) in [
        ("garbage", "a worker failed"),
        ("too much", "a worker failed"),
        ("cut", "a worker failed"),
        ("other id", "answered run"),
        ("shape", "has the shape"),
    ] {
        let worker = server.wait_ready(1)[0];
        fs::write(&fault, name).unwrap();
        thread::scope(|scope| {
            let asked = scope.spawn(|| server.answer(&json!("the cat")));
            wait_until("the worker is lost", || {
                (server.workers()[0] != Some(worker)).then_some(())
            });
            fs::remove_file(&fault).unwrap();
            assert_eq!(asked.join().unwrap(), expected, "{name}");
        });
        assert!(server.log().contains(cause), "{name}: {}", server.log());
    }
    // An answer too many comes when nothing was asked for: it must not become somebody's answer.
    server.wait_ready(1);
    fs::write(&fault, "twice").unwrap();
    assert_eq!(server.answer(&json!("the cat")), expected);
    fs::remove_file(&fault).unwrap();
    let other = server.answer(&json!("the river"));
    assert_ne!(other, expected);
    assert_eq!(server.answer(&json!("the cat")), expected);
}

#[test]
fn values_that_are_not_numbers_cost_the_worker_only_where_it_has_them_for_good_input_too() {
    let place = Workplace::new();
    let name = "feature-extraction";
    place.traced(&fixture(name), "bundle", &shapes(name));
    let folder = relayed(&place);
    let server = through(&place, &folder);
    let worker = server.wait_ready(1)[0];
    let fault = folder.join("fault");
    fs::write(&fault, "nan").unwrap();
    let refused = server.predict(&json!({"inputs": "the cat"}));
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (500, &json!("numeric"))
    );
    // The relay spoils the check as well: it is the device.
    wait_until("the worker is lost", || {
        (server.workers()[0] != Some(worker)).then_some(())
    });
    fs::remove_file(&fault).unwrap();
    server.wait_ready(1);
    server.answer(&json!("the cat"));
}

#[test]
fn a_worker_that_stands_still_under_load_is_replaced_and_costs_no_answer() {
    let place = Workplace::new();
    let name = "feature-extraction";
    place.traced(&fixture(name), "bundle", &shapes(name));
    let config = "models: {m: {bundle: bundle}}\ncores: 2\nlimits: {run_seconds: 1}\n";
    fs::write(place.path("serve.yaml"), config).unwrap();
    let server = Server::start_with(&place, &["--config", "serve.yaml"]);
    server.wait_ready(2);
    let load = Load::start(&server, 6);
    for core in [0, 1] {
        load.wait_answers(50);
        let worker = server.wait_ready(2)[core];
        send(worker, Signal::STOP);
        wait_until("the core has another worker", || {
            server.workers()[core].filter(|now| *now != worker)
        });
    }
    load.wait_answers(50);
    load.finish();
    assert!(
        server.log().contains("did not answer within"),
        "{}",
        server.log()
    );
}

#[test]
fn a_bundle_that_is_damaged_under_a_server_ends_no_server() {
    let running = serve("feature-extraction", 1);
    let Running { server, place } = &running;
    let expected = server.answer(&json!("the cat"));
    let weights = place.path("bundle/weights.safetensors");
    let whole = fs::read(&weights).unwrap();
    // Its pages are gone under the worker, too: it ends with a signal.
    let file = fs::OpenOptions::new().write(true).open(&weights).unwrap();
    file.set_len(100).unwrap();
    let response = server.predict(&json!({"inputs": "the cat"}));
    assert!(matches!(response.status, 200 | 500 | 503), "{response:?}");
    let cause = wait_until("the core says what is damaged", || {
        let health = server.get("/health/ready");
        let cause = health.json()["cores"][0]["cause"].as_str()?.to_owned();
        cause.contains("damaged").then_some(cause)
    });
    assert!(cause.contains("weights.safetensors"), "{cause}");
    fs::write(&weights, whole).unwrap();
    wait_until("the core is ready again", || {
        (server.get("/health/ready").status == 200).then_some(())
    });
    assert_eq!(server.answer(&json!("the cat")), expected);
}

#[test]
fn a_core_that_cannot_be_mended_is_given_up_and_says_so() {
    let running = serve("feature-extraction", 1);
    let Running { server, place } = &running;
    let hidden = place.path("hidden");
    fs::rename(place.path("bundle"), &hidden).unwrap();
    send(server.wait_ready(1)[0], Signal::KILL);
    wait_until("the core is given up", || {
        let health = server.get("/health/ready").json();
        (health["cores"][0]["state"] == "broken").then_some(())
    });
    let begun = Instant::now();
    let refused = server.predict(&json!({"inputs": "the cat"}));
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("not_ready"))
    );
    assert!(refused.headers.contains_key("retry-after"));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "nothing waits for it"
    );
    fs::rename(&hidden, place.path("bundle")).unwrap();
    server.wait_ready(1);
    server.answer(&json!("the cat"));
}

#[test]
fn soak_of_a_full_queue_refuses_what_it_cannot_take_and_answers_the_rest() {
    let seconds = std::env::var("NEURONC_SOAK_SECONDS").map_or(3, |text| text.parse().unwrap());
    let place = Workplace::new();
    let name = "feature-extraction";
    place.traced(&fixture(name), "bundle", &shapes(name));
    let config = "models: {m: {bundle: bundle}}\ncores: 1\nlimits: {queue_rows: 4}\n";
    fs::write(place.path("serve.yaml"), config).unwrap();
    let server = Server::start_with(&place, &["--config", "serve.yaml"]);
    server.wait_ready(1);
    let expected = server.answer(&json!("the cat"));
    let ends = Instant::now() + Duration::from_secs(seconds);
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let body = json!({"inputs": ["the cat", "the cat", "the cat"]});
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                while Instant::now() < ends {
                    let response = client.post("/predict/m", &body).unwrap();
                    match response.status {
                        200 => {
                            let answer = response.json();
                            assert!(
                                answer
                                    .as_array()
                                    .unwrap()
                                    .iter()
                                    .all(|row| *row == expected)
                            );
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        429 => {
                            let seconds: u64 = response.headers["retry-after"].parse().unwrap();
                            assert!((1..=30).contains(&seconds), "{seconds}");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => panic!("{response:?}"),
                    }
                }
            });
        }
    });
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    println!("{answered} requests answered, {refused} refused");
    assert!(answered > 20 && refused > 20, "{answered} {refused}");
    assert_eq!(server.answer(&json!("the cat")), expected);
}

/// The output of a server that writes its log to a disk of 4 KiB, and its process.
struct OnSmallDisk {
    process: Child,
    url: String,
}

impl OnSmallDisk {
    /// `None`, with a printed reason, where this machine does not allow that.
    fn start(place: &Workplace) -> Option<Self> {
        let probe = Command::new("unshare").args(["-rm", "true"]).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            skip_outside_of_ci("`unshare -rm` cannot make a mount namespace here");
            return None;
        }
        fs::create_dir(place.path("disk")).unwrap();
        let script = "mount -t tmpfs -o size=4k tmpfs disk || exit 99; exec \"$@\" 2>disk/log";
        let program = place.command(&["serve", "bundle", "--port", "0", "--cores", "1"]);
        let mut process = Command::new("unshare")
            .args(["-rm", "sh", "-c", script, "sh"])
            .arg(program.get_program())
            .args(program.get_args())
            .current_dir(place.path(""))
            .env("HOME", place.path(""))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        let url = line.split(' ').find(|word| word.starts_with("http://"));
        let url = url
            .unwrap_or_else(|| panic!("not started: {line}"))
            .to_owned();
        Some(Self { process, url })
    }
}

#[test]
fn a_log_on_a_full_disk_ends_no_server() {
    let place = Workplace::new();
    let name = "feature-extraction";
    place.traced(&fixture(name), "bundle", &shapes(name));
    let Some(mut server) = OnSmallDisk::start(&place) else {
        return;
    };
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut client = Client::connect(address).unwrap();
    let body = json!({"inputs": "the cat"});
    let path = format!("/predict/{name}");
    let expected = client.post(&path, &body).unwrap();
    let log = format!(
        "/proc/{}/root{}/disk/log",
        server.process.id(),
        place.path("").display()
    );
    // Each lost worker writes into the log, until nothing more fits.
    let pid = |health: Value| health["cores"][0]["pid"].as_u64();
    wait_until("the disk is full", || {
        let worker = pid(client.get("/health/ready").unwrap().json())?;
        send(u32::try_from(worker).unwrap(), Signal::KILL);
        wait_until("there is another worker", || {
            let now = pid(client.get("/health/ready").unwrap().json())?;
            (now != worker).then_some(())
        });
        // A worker that served is no failure in a row with the one before.
        assert_eq!(client.post(&path, &body).unwrap().body, expected.body);
        (fs::metadata(&log).unwrap().len() >= 4 << 10).then_some(())
    });
    for _ in 0..20 {
        assert_eq!(client.post(&path, &body).unwrap().body, expected.body);
    }
    send(server.process.id(), Signal::TERM);
    assert!(server.process.wait().unwrap().success());
}

#[test]
fn a_clock_that_jumps_costs_no_answer() {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !Path::new(LIBRARY).exists() {
        skip_outside_of_ci(format!("there is no {LIBRARY}: run `make sdk-doubles`"));
        return;
    }
    let mut place = Workplace::new();
    let name = "feature-extraction";
    place.traced(&fixture(name), "bundle", &shapes(name));
    let clock = place.path("clock");
    fs::write(&clock, "+0").unwrap();
    // As a real clock that is set: the monotonic one goes on.
    let file = clock.display().to_string();
    place
        .set("LD_PRELOAD", LIBRARY)
        .set("FAKETIME_TIMESTAMP_FILE", &file);
    place
        .set("FAKETIME_NO_CACHE", "1")
        .set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let args = ["bundle", "--cores", "2", "--management-port", "0"];
    let mut server = Server::start_with(&place, &args);
    let management = server.management();
    let workers = server.wait_ready(2);
    let now = || {
        let mut client = Client::connect(management).unwrap();
        let status = client.get("/admin/status").unwrap().json();
        status["now"].as_f64().unwrap()
    };
    let start = now();
    let load = Load::start(&server, 4);
    for days in [3650, -3650, 0] {
        load.wait_answers(50);
        fs::write(&clock, format!("{days:+}d")).unwrap();
        wait_until("the server sees another time", || {
            let jumped = (now() - start) / (24.0 * 3600.0);
            ((jumped - f64::from(days)).abs() < 0.5).then_some(())
        });
        load.wait_answers(50);
    }
    load.finish();
    assert_eq!(server.wait_ready(2), workers, "no worker was replaced");
}
