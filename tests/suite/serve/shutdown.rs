//! SIGTERM and Ctrl-C: what was accepted is answered, and the exit code is 0.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use crate::serve::client::Client;
use crate::serve::load::Load;
use crate::serve::server::{Running, Server, is_gone, send, serve, shapes, start};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

#[test]
fn a_server_can_be_stopped_as_soon_as_it_says_that_it_serves() {
    let place = Workplace::new();
    let name = "feature-extraction";
    let bundle = place.traced(&fixture(name), "bundle", &shapes(name));
    for signal in [Signal::TERM, Signal::INT, Signal::TERM, Signal::INT] {
        let mut server = Server::start(&place, &bundle, 2);
        server.signal(signal);
        assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
        assert!(
            server
                .rest_of_stdout()
                .starts_with("  runtime: libtorch 2.9.0 on the processor\n  try: curl")
        );
    }
}

#[test]
fn what_was_accepted_is_answered_after_sigterm() {
    let mut server = serve("feature-extraction", 1);
    let expected = server.answer(&json!("the cat"));
    let worker = server.wait_ready(1)[0];
    send(worker, Signal::STOP);

    // One request is being received: the server asks for its body when it has begun to read it.
    let mut receiving = server.client();
    let body = json!({"inputs": "the cat"}).to_string();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        server.path(),
        body.len()
    );
    receiving.write(head.as_bytes()).unwrap();
    assert_eq!(receiving.read().unwrap().status, 100);

    // Another one is on the worker.
    let (mut running, path) = (server.client(), server.path());
    let running =
        thread::spawn(move || running.post(&path, &json!({"inputs": "the cat"})).unwrap());
    server.wait_handed_over();

    server.signal(Signal::TERM);
    wait_until("new connections are refused", || {
        is_refused(server.address).then_some(())
    });
    receiving.write(body.as_bytes()).unwrap();
    send(worker, Signal::CONT);
    for response in [receiving.read().unwrap(), running.join().unwrap()] {
        assert_eq!((response.status, response.json()), (200, expected.clone()));
    }
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    assert!(is_gone(worker));
}

#[test]
fn ctrl_c_that_reaches_the_workers_too_costs_no_answer() {
    let mut server = serve("feature-extraction", 1);
    let expected = server.answer(&json!("the cat"));
    let worker = server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    let (mut running, path) = (server.client(), server.path());
    let running =
        thread::spawn(move || running.post(&path, &json!({"inputs": "the cat"})).unwrap());
    server.wait_handed_over();
    // A terminal sends it to all of its processes.
    server.signal(Signal::INT);
    send(worker, Signal::INT);
    send(worker, Signal::CONT);
    let response = running.join().unwrap();
    assert_eq!((response.status, response.json()), (200, expected));
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
}

#[test]
fn another_ctrl_c_refuses_what_is_not_answered_yet() {
    let mut server = serve("feature-extraction", 1);
    let worker = server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    let (mut waiting, path) = (server.client(), server.path());
    let waiting = thread::spawn(move || waiting.post(&path, &json!({"inputs": "the cat"})));
    server.wait_handed_over();
    server.signal(Signal::INT);
    wait_until("new connections are refused", || {
        is_refused(server.address).then_some(())
    });
    // Those that come at once are the same one, passed on by a wrapper.
    wait_until("the server refuses", || {
        server.signal(Signal::INT);
        waiting.is_finished().then_some(())
    });
    let refused = waiting.join().unwrap().unwrap();
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("stopping"))
    );
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("was cut short"), "{}", server.log());
    wait_until("the worker ends", || is_gone(worker).then_some(()));
}

#[test]
fn readiness_ends_with_sigterm_and_liveness_does_not() {
    let mut server = configured("limits: {notice_seconds: 5}\n");
    // Requests that the server has begun to read are answered even now.
    let ask = |path: &str| {
        let mut client = server.client();
        let head = format!("GET {path} HTTP/1.1\r\nhost: t\r\n");
        client.write(head.as_bytes()).unwrap();
        wait_read(server.address, client.own_address());
        client
    };
    let (mut ready, mut live) = (ask("/health/ready"), ask("/health/live"));
    server.signal(Signal::TERM);
    // It says so while it still accepts.
    wait_until("the server says that it is not ready", || {
        (server.get("/health/ready").status == 503).then_some(())
    });
    for probe in ["/ping", "/health"] {
        let why = server.get(probe).json()["error"].to_string();
        assert!(why.contains("the server is stopping"), "{probe}: {why}");
    }
    server.answer(&json!("the cat"));
    wait_until("new connections are refused", || {
        is_refused(server.address).then_some(())
    });
    let answer = |client: &mut Client| {
        client.write(b"\r\n").unwrap();
        client.read().unwrap()
    };
    let health = answer(&mut ready);
    assert_eq!(
        (health.status, &health.json()["status"]),
        (503, &json!("not ready"))
    );
    assert_eq!(answer(&mut live).status, 200);
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
}

#[test]
fn the_port_for_management_is_there_until_everything_is_answered() {
    let mut server = configured("listen: {management_port: 0}\nlimits: {notice_seconds: 0}\n");
    let management = server.management();
    let worker = server.wait_ready(1)[0];
    let expected = server.answer(&json!("the cat"));
    send(worker, Signal::STOP);
    thread::scope(|scope| {
        let answer = scope.spawn(|| server.answer(&json!("the cat")));
        server.wait_handed_over();
        server.signal(Signal::TERM);
        wait_until("new connections are refused", || {
            is_refused(server.address).then_some(())
        });
        let mut operator = Client::connect(management).unwrap();
        assert_eq!(operator.get("/health/ready").unwrap().status, 503);
        assert_eq!(operator.get("/admin/status").unwrap().status, 200);
        send(worker, Signal::CONT);
        assert_eq!(answer.join().unwrap(), expected);
    });
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
}

#[test]
fn under_load_every_answer_is_whole_until_the_server_ends() {
    let mut server = serve("feature-extraction", 2);
    let load = Load::start(&server, 6);
    load.wait_answers(50);
    load.server_closes();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    load.finish();
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn a_worker_that_does_not_finish_loading_is_not_waited_for() {
    let mut server = start("feature-extraction", 1);
    server.wait_handed_over();
    let worker = server.children()[0];
    send(worker, Signal::STOP);
    assert_eq!(
        server.get("/health/ready").json()["cores"][0]["state"],
        "starting"
    );
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    wait_until("the worker ends", || is_gone(worker).then_some(()));
}

#[test]
fn a_worker_that_hangs_does_not_outlive_the_server() {
    let mut server = serve("feature-extraction", 2);
    let workers = server.wait_ready(2);
    send(workers[0], Signal::STOP);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    for worker in workers {
        wait_until("the worker ends", || is_gone(worker).then_some(()));
    }
}

/// A server with one core that is ready, and with these settings.
fn configured(settings: &str) -> Running {
    let place = Workplace::new();
    let name = "feature-extraction";
    place.traced(&fixture(name), "bundle", &shapes(name));
    let models = format!("models: {{{name}: {{bundle: bundle}}}}\ncores: 1\n");
    fs::write(place.path("serve.yaml"), models + settings).unwrap();
    let server = Server::start_with(&place, &["--config", "serve.yaml"]);
    server.wait_ready(1);
    Running { server, place }
}

fn is_refused(address: SocketAddr) -> bool {
    matches!(TcpStream::connect(address), Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

/// Waits until the server has read everything that was sent from `client`.
fn wait_read(server: SocketAddr, client: SocketAddr) {
    let ends = [
        (server.port(), client.port()),
        (client.port(), server.port()),
    ];
    wait_until("the server has read what was sent", || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let is_read = |(from, to): (u16, u16)| {
            // `sl local remote state tx:rx timer retransmits uid timeout inode ...`; an end that
            // nobody has accepted yet has no inode.
            table.lines().any(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                fields[1].ends_with(&format!(":{from:04X}"))
                    && fields[2].ends_with(&format!(":{to:04X}"))
                    && fields[4] == "00000000:00000000"
                    && fields[9] != "0"
            })
        };
        ends.into_iter().all(is_read).then_some(())
    });
}
