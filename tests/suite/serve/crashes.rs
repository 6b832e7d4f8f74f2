//! Workers and servers that are killed: nothing accepted is lost, and nobody is left behind.

use std::fs;
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use crate::serve::load::Load;
use crate::serve::server::{Server, is_gone, send, serve};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

#[test]
fn killing_workers_one_after_the_other_costs_no_answer() {
    let server = serve("feature-extraction", 2);
    let load = Load::start(&server, 6);
    for core in [0, 1, 0] {
        load.wait_answers(50);
        let worker = server.wait_ready(2)[core];
        send(worker, Signal::KILL);
        wait_until("the core has another worker", || {
            server.workers()[core].filter(|now| *now != worker)
        });
    }
    load.wait_answers(50);
    load.finish();
    assert!(server.log().contains("signal: 9"), "{}", server.log());
}

#[test]
fn killing_all_workers_at_once_costs_no_answer() {
    let server = serve("feature-extraction", 2);
    let load = Load::start(&server, 6);
    load.wait_answers(50);
    let workers = server.wait_ready(2);
    // While the server stands still, no request of one worker can reach the other.
    server.signal(Signal::STOP);
    for worker in &workers {
        send(*worker, Signal::KILL);
    }
    server.signal(Signal::CONT);
    wait_until("both cores have other workers", || {
        let now = server.workers().into_iter().collect::<Option<Vec<u32>>>()?;
        now.iter()
            .all(|worker| !workers.contains(worker))
            .then_some(())
    });
    load.wait_answers(50);
    load.finish();
}

#[test]
fn a_request_whose_worker_dies_is_answered_by_another() {
    let server = serve("feature-extraction", 2);
    let expected = server.answer(&json!("the cat"));
    let workers = server.wait_ready(2);
    workers
        .iter()
        .for_each(|worker| send(*worker, Signal::STOP));
    thread::scope(|scope| {
        let answer = scope.spawn(|| server.answer(&json!("the cat")));
        let core = server.wait_handed_over();
        send(workers[core], Signal::KILL);
        send(workers[1 - core], Signal::CONT);
        assert_eq!(answer.join().unwrap(), expected);
    });
    server.wait_ready(2);
}

#[test]
fn a_request_that_two_workers_died_of_is_refused() {
    let server = serve("feature-extraction", 2);
    let expected = server.answer(&json!("the cat"));
    let workers = server.wait_ready(2);
    workers
        .iter()
        .for_each(|worker| send(*worker, Signal::STOP));
    thread::scope(|scope| {
        let response = scope.spawn(|| server.predict(&json!({"inputs": "the river"})));
        let first = server.wait_handed_over();
        send(workers[first], Signal::KILL);
        wait_until("the other worker is given the batch", || {
            server.waiting_cores().contains(&(1 - first)).then_some(())
        });
        send(workers[1 - first], Signal::KILL);
        let response = response.join().unwrap();
        assert_eq!(response.status, 500, "{response:?}");
        assert_eq!(response.json()["code"], "worker_died");
    });
    let workers = server.wait_ready(2);
    let again = server.predict(&json!({"inputs": ["the cat", "the river"]}));
    assert_eq!(again.status, 422, "{again:?}");
    assert_eq!(again.json()["code"], "quarantined");
    assert_eq!(server.wait_ready(2), workers, "it costs no third");
    assert_eq!(server.answer(&json!("the cat")), expected);
}

#[test]
fn a_server_whose_worker_cannot_start_says_why_and_goes_on_when_it_can() {
    let place = Workplace::new();
    let bundle = place.traced(
        &fixture("feature-extraction"),
        "b",
        &["--batch-size", "1", "--sequence-length", "16"],
    );
    let server = Server::start(&place, &bundle, 1);
    let worker = server.wait_ready(1)[0];
    let expected = server.answer(&json!("the cat"));
    let (weights, aside) = (bundle.join("weights.safetensors"), place.path("aside"));
    fs::rename(&weights, &aside).unwrap();
    send(worker, Signal::KILL);
    let cause = wait_until("the core says why it is down", || {
        let health = server.get("/health/ready");
        let cause = health.json()["cores"][0]["cause"]
            .as_str()
            .map(str::to_owned);
        cause.filter(|cause| health.status == 503 && cause.contains("weights.safetensors"))
    });
    assert!(cause.contains("No such file"), "{cause}");
    assert_eq!(server.get("/health/live").status, 200);
    thread::scope(|scope| {
        let answer = scope.spawn(|| server.answer(&json!("the cat")));
        fs::rename(&aside, &weights).unwrap();
        assert_eq!(answer.join().unwrap(), expected);
    });
    assert_ne!(server.wait_ready(1), [worker]);
}

#[test]
fn workers_do_not_outlive_a_server_that_is_killed() {
    let mut server = serve("feature-extraction", 2);
    let workers = server.wait_ready(2);
    server.signal(Signal::KILL);
    server.wait_exit();
    for worker in workers {
        wait_until("the worker ends", || is_gone(worker).then_some(()));
    }
}
