//! A server under load for a while, with a worker dying now and then: every answer right, and memory flat,
//! that of the server and that of the worker which is left alone.
//!
//! `make test` runs the short form; `make soak` sets `NEURONC_SOAK_SECONDS`.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::serve::load::Load;
use crate::serve::server::{send, serve};

/// What a process may grow by after its warm-up, in KiB; the allocator keeps some.
const GROWTH_KIB_MAX: u64 = 16 << 10;

/// The memory of a process that is its own; that of files may come and go.
fn anonymous_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn soak_loses_nothing_and_keeps_memory_flat() {
    let seconds = std::env::var("NEURONC_SOAK_SECONDS").map_or(3, |text| text.parse().unwrap());
    let ends = Instant::now() + Duration::from_secs(seconds);
    let server = serve("feature-extraction", 2);
    let load = Load::start(&server, 8);
    load.wait_answers(2000);
    let [kept, _] = server.wait_ready(2)[..] else {
        panic!("two workers");
    };
    let memory = || [server.process_id(), kept].map(anonymous_kib);
    let before = memory();
    let mut killed = 0;
    while Instant::now() < ends || killed == 0 {
        load.wait_answers(2000);
        send(server.wait_ready(2)[1], Signal::KILL);
        killed += 1;
    }
    assert_eq!(server.wait_ready(2)[0], kept, "{}", server.log());
    load.wait_answers(2000);
    let after = memory();
    load.finish();
    println!(
        "{killed} workers killed; server and worker: {before:?} KiB before, {after:?} KiB after"
    );
    for (before, after) in before.into_iter().zip(after) {
        assert!(
            after < before + GROWTH_KIB_MAX,
            "{before} KiB before, {after} KiB after"
        );
    }
}
