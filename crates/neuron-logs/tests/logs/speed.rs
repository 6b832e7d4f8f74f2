//! How fast a log is read. Times differ between machines: only a standstill fails.

use std::fs;
use std::time::Instant;

use super::{corpus, read};

/// How much is read.
const BYTES: usize = 64 << 20;

/// Debug builds on a busy machine reach a hundred times this.
const MEGABYTES_PER_SECOND_MIN: f64 = 0.2;

#[test]
fn a_long_log_is_read_in_one_pass() {
    let Some(corpus) = corpus() else { return };
    let mut once = Vec::new();
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            once.extend(fs::read(path).unwrap());
            once.push(b'\n');
        }
    }
    // A debug build reads an eighth: the figure is what is printed, not how long it takes.
    let bytes = if cfg!(debug_assertions) {
        BYTES / 8
    } else {
        BYTES
    };
    let source: Vec<u8> = once.iter().copied().cycle().take(bytes).collect();
    let start = Instant::now();
    let reading = read(&source);
    let rate = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
    println!("read {} MB at {rate:.0} MB/s", bytes >> 20);
    assert_eq!(reading.skipped.bytes, bytes as u64);
    assert!(rate > MEGABYTES_PER_SECOND_MIN);
}
