//! Compiler logs: a corpus with known truth, bad input, mutated lines, and the speed of reading.

#![expect(
    clippy::disallowed_methods,
    clippy::explicit_write,
    clippy::unwrap_used,
    reason = "tests read the corpus and say why they skip, where print macros would be kept back"
)]

mod bad_input;
mod corpus;
mod forms;
mod graphs;
mod mutations;
mod speed;
mod truth;

use std::io::{self, Write as _};
use std::path::PathBuf;

use neuron_logs::reading::LogReading;

/// The folder of the corpus, which lies beside the repository; where there is none, says so.
fn corpus() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/logs");
    if folder.join("index.jsonl").is_file() {
        return Some(folder);
    }
    // On stderr, since the stdout of a test that passes is kept back.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let corpus = folder.display();
    writeln!(
        io::stderr(),
        "skipped {test}: there is no corpus of logs at {corpus}"
    )
    .unwrap();
    None
}

/// The reading of bytes in memory.
fn read(bytes: &[u8]) -> LogReading {
    neuron_logs::read(bytes).unwrap()
}
