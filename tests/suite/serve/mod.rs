//! `neuronc serve` over real HTTP: the program is started as a user starts it, with real workers.
//!
//! `server` starts and watches the program, `client` speaks HTTP with it; each other file is one
//! promise of `docs/serve.md`. Nothing waits for a time: `wait_until` waits for a condition.

mod answers;
mod browser;
mod bundles;
mod capacity;
mod client;
mod clients;
mod collector;
mod connections;
mod crashes;
mod deadlines;
mod docs;
mod fastapi;
mod faults;
mod health;
mod http2;
mod keys;
mod kserve;
mod load;
mod malformed;
mod management;
mod metrics;
mod minilm;
mod numeric;
mod on_disk;
mod openai;
mod openapi;
mod placement;
mod privacy;
mod protocol_page;
mod recorded;
mod refusal_cases;
mod refusals;
mod schemathesis;
mod server;
mod shutdown;
mod simulated;
mod sites;
mod soak;
mod tei;
mod tls;
mod top;
mod traces;
mod trust;
mod ui;

use std::thread;
use std::time::{Duration, Instant};

/// How long something may take before a test says that it does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Texts whose tokens are known to the vocabulary of the fixtures, each one different.
fn texts(count: usize) -> Vec<String> {
    const WORDS: [&str; 8] = [
        "cat", "museum", "river", "bridge", "train", "book", "city", "water",
    ];
    let word = |place: usize| WORDS[place % WORDS.len()];
    (0..count)
        .map(|index| {
            format!(
                "the {} {} {}",
                word(index),
                word(index / 8),
                word(index / 64)
            )
        })
        .collect()
}

/// What `condition` gives, as soon as it gives something.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let ends = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < ends, "not within {PATIENCE:?}: {what}");
        // Polled, and not so often that the program has no processor left.
        thread::sleep(Duration::from_millis(2));
    }
}
