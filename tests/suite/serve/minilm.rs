//! A model of real size: its weights are in memory once, and lengths stored in its tokenizer mean nothing.

use std::fs;
use std::sync::Arc;

use serde_json::json;

use crate::serve::answers::buckets;
use crate::serve::server::{Running, Server, shared_as};
use crate::support::{Workplace, edit_json, fixture, random_model_of};

/// A server of a model of MiniLM's shape, with two workers.
fn minilm() -> Arc<Running> {
    shared_as("minilm", || {
        let place = Workplace::new();
        let model = place.path("model");
        random_model_of("all-minilm-l6-v2", &model);
        let tokenizer = model.join("tokenizer.json");
        fs::copy(
            fixture("feature-extraction").join("tokenizer.json"),
            &tokenizer,
        )
        .unwrap();
        // As in the published model.
        edit_json(&tokenizer, |tokenizer| {
            tokenizer["truncation"]["max_length"] = json!(128);
            tokenizer["padding"]["strategy"] = json!({"Fixed": 128});
        });
        let grid = ["--batch-size", "1", "--sequence-length", "32,128,256"];
        let bundle = place.traced(&model, "minilm", &grid);
        let server = Server::start(&place, &bundle, 2);
        server.wait_ready(2);
        Running { server, place }
    })
}

#[test]
fn five_words_run_in_bucket_32_and_300_words_are_refused_with_both_numbers() {
    let server = minilm();
    assert_eq!(buckets(&server, &json!("the cat sat on it")), "1x32");
    assert_eq!(buckets(&server, &json!("cat ".repeat(200))), "1x256");
    let refused = server.predict(&json!({"inputs": "cat ".repeat(300)}));
    let error = refused.json();
    assert_eq!((refused.status, &error["code"]), (422, &json!("too_long")));
    let message = error["error"].as_str().unwrap();
    assert!(
        message.contains("302 tokens") && message.contains("has 256"),
        "{message}"
    );
}

#[test]
fn what_two_workers_map_of_the_weights_is_in_memory_once() {
    let server = minilm();
    let file = server.place.path("minilm/weights.safetensors");
    let weights = fs::metadata(file).unwrap().len();
    let workers = server.wait_ready(2).into_iter();
    let maps: Vec<Mapped> = workers
        .map(|pid| Mapped::of(pid, "weights.safetensors"))
        .collect();
    let resident = maps.iter().map(|map| map.resident).max().unwrap();
    let shares: u64 = maps.iter().map(|map| map.share).sum();
    // Where the processor has AVX-512, only tables that are looked up stay mapped.
    assert!(
        resident > weights / 100,
        "{resident} of {weights} bytes are mapped"
    );
    assert!(
        shares <= resident + resident / 20,
        "{shares} bytes for two maps of {resident}"
    );
    // libtorch itself takes two thirds of the weights, packed layers half of them; a copy would exceed it.
    let private = maps.iter().map(|map| map.private).max().unwrap();
    assert!(
        private < weights + weights / 4,
        "{private} private bytes beside {weights} of weights"
    );
}

/// The memory of a process, in bytes.
#[derive(Debug, Default)]
struct Mapped {
    /// Of a file's mapping, what is in memory.
    resident: u64,
    /// The same, each page divided by the number of processes that map it.
    share: u64,
    /// Written or its own, in the whole process.
    private: u64,
}

impl Mapped {
    fn of(process: u32, file: &str) -> Self {
        let mut memory = Self::default();
        let mut is_file = false;
        for line in fs::read_to_string(format!("/proc/{process}/smaps"))
            .unwrap()
            .lines()
        {
            let (name, value) = line.split_once(':').unwrap_or_default();
            let bytes = || value.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024;
            match name {
                "Rss" if is_file => memory.resident += bytes(),
                "Pss" if is_file => memory.share += bytes(),
                "Private_Dirty" => memory.private += bytes(),
                _ => {}
            }
            // The first line of a mapping is a range of addresses and, at its end, the file.
            if line
                .split(' ')
                .next()
                .is_some_and(|range| range.contains('-'))
            {
                is_file = line.ends_with(file);
            }
        }
        memory
    }
}
