//! A server under load for a while, with workers dying: every answer right, memory flat.
//!
//! `make test` runs the short form; `make soak` sets `NEURONC_SOAK_SECONDS`.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::serve::load::Load;
use crate::serve::server::{Server, send, serve};

/// What the server itself may grow by after its warm-up, in KiB; the allocator keeps some.
const GROWTH_KIB_MAX: u64 = 16 << 10;

fn resident_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
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
    let before = resident_kib(&server);
    let mut rounds = 0;
    while Instant::now() < ends || rounds == 0 {
        load.wait_answers(2000);
        send(server.wait_ready(2)[rounds % 2], Signal::KILL);
        rounds += 1;
    }
    server.wait_ready(2);
    load.finish();
    let after = resident_kib(&server);
    println!("{rounds} workers killed; {before} KiB before, {after} KiB after");
    assert!(
        after < before + GROWTH_KIB_MAX,
        "{before} KiB before, {after} KiB after"
    );
}
