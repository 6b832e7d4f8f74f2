//! `GET /metrics`: the families are those of `docs/metrics.md`, and they count what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use regex::Regex;
use rustix::process::Signal;
use serde_json::json;

use crate::serve::client::Client;
use crate::serve::connections::limited;
use crate::serve::server::{Running, Server, send, serve, shapes};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture, repository};

/// A scrape, as OpenMetrics.
struct Scrape {
    text: String,
}

impl Scrape {
    fn of(server: &Server) -> Self {
        Self::asked_by(&mut server.client())
    }

    fn asked_by(client: &mut Client) -> Self {
        let head =
            b"GET /metrics HTTP/1.1\r\nhost: t\r\naccept: application/openmetrics-text\r\n\r\n";
        client.write(head).unwrap();
        let response = client.read().unwrap();
        assert_eq!(response.status, 200);
        let form = &response.headers["content-type"];
        assert!(form.starts_with("application/openmetrics-text"), "{form}");
        let text = String::from_utf8(response.body).unwrap();
        assert!(text.ends_with("# EOF\n"));
        Self { text }
    }

    /// The samples of that name, with their labels.
    fn samples(&self, name: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let label = Regex::new(r#"(\w+)="([^"]*)""#).unwrap();
        let mut samples = Vec::new();
        for line in self.text.lines().filter(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let (known, labels) = sample.split_once('{').unwrap_or((sample, ""));
            if known == name {
                let labels = label.captures_iter(labels);
                let labels = labels.map(|found| (found[1].to_owned(), found[2].to_owned()));
                samples.push((labels.collect(), value.parse().unwrap()));
            }
        }
        samples
    }

    /// The sum of the samples of that name that have these labels.
    fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        let samples = self.samples(name).into_iter();
        let is_it = |labels: &BTreeMap<String, String>| {
            let mut wanted = wanted.iter();
            wanted.all(|(name, value)| labels.get(*name).is_some_and(|known| known == value))
        };
        let fitting = samples.filter(|(labels, _)| is_it(labels));
        fitting.map(|(_, value)| value).sum()
    }

    /// A row of the page's table for each family.
    fn families(&self) -> Vec<String> {
        let mut families = Vec::new();
        for line in self.text.lines() {
            let Some((name, what)) = line
                .strip_prefix("# HELP ")
                .and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            let about = |word: &str| {
                let start = format!("# {word} {name} ");
                let mut lines = self.text.lines();
                lines
                    .find_map(|line| line.strip_prefix(&start))
                    .unwrap_or("")
            };
            let suffixes = ["", "_total", "_bucket"];
            let samples = suffixes.map(|suffix| self.samples(&format!("{name}{suffix}")));
            let (labels, _) = samples
                .into_iter()
                .flatten()
                .next()
                .unwrap_or_else(|| panic!("{name} has no sample"));
            let labels: Vec<String> = labels
                .keys()
                .filter(|label| *label != "le")
                .map(|label| format!("`{label}`"))
                .collect();
            families.push(format!(
                "| `{name}` | {} | {} | {} | {what} |",
                about("TYPE"),
                about("UNIT"),
                labels.join(", ")
            ));
        }
        families
    }
}

#[test]
fn the_page_has_every_family_that_is_served() {
    let server = serve("feature-extraction", 1);
    server.answer(&json!("the cat"));
    assert_eq!(server.predict(&json!({"inputs": 7})).status, 422);
    let served = Scrape::of(&server).families();
    let path = repository().join("docs/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = page.lines().collect();
    let head = lines.iter().position(|line| line.starts_with("| family |"));
    let first = head.unwrap() + 2;
    let rows = lines[first..]
        .iter()
        .take_while(|line| line.starts_with('|'));
    let count = rows.count();
    if std::env::var("NEURONC_BLESS").is_ok() {
        lines.splice(first..first + count, served.iter().map(String::as_str));
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        return;
    }
    assert_eq!(
        lines[first..first + count].join("\n"),
        served.join("\n"),
        "run this test with NEURONC_BLESS=1 and look at the difference"
    );
}

/// What no label may have.
const SECRET: &str = "Zanzibarium";

/// Seven rows in four requests that are answered, and four that are refused.
fn ask_and_be_refused(server: &Server) {
    for _ in 0..3 {
        let inputs = json!({"inputs": ["the cat", "the river"]});
        assert_eq!(server.post("/predict/search", &inputs).status, 200);
    }
    let text = json!({"inputs": format!("the {SECRET}")});
    assert_eq!(server.post("/predict/search", &text).status, 200);
    let nobody = server.post(&format!("/predict/{SECRET}"), &text);
    assert_eq!(nobody.status, 404);
    assert_eq!(
        server.post("/v1/embeddings", &json!({"input": 7})).status,
        400
    );
    // Two parts are what a route of the FastAPI server has.
    for path in [
        format!("/{SECRET}/{SECRET}/{SECRET}"),
        format!("/{SECRET}/{SECRET}"),
    ] {
        assert_eq!(server.get(&path).status, 404);
    }
}

/// Every bucket has as many rows and tokens as its batches have places.
fn check_buckets(after: &Scrape, buckets: &BTreeSet<&str>) {
    for bucket in buckets {
        let of = |name: &str| after.sum(name, &[("bucket", bucket)]);
        let rows = of("neuronc_rows_total") + of("neuronc_padding_rows_total");
        let tokens = of("neuronc_tokens_total") + of("neuronc_padding_tokens_total");
        let (batch, sequence) = bucket.split_once('x').unwrap();
        let [batch, sequence] = [batch, sequence].map(|number| number.parse::<f64>().unwrap());
        assert_eq!(rows, batch * of("neuronc_batches_total"), "{bucket}");
        assert_eq!(tokens, sequence * rows, "{bucket}");
    }
}

#[test]
fn what_was_asked_is_counted() {
    let place = Workplace::new();
    place.traced(
        &fixture("feature-extraction"),
        "bundle",
        &shapes("feature-extraction"),
    );
    let server = Server::start_with(&place, &["--model", "search=bundle", "--cores", "2"]);
    server.wait_ready(2);

    let before = Scrape::of(&server);
    let rows = before.samples("neuronc_rows_total");
    let buckets: BTreeSet<&str> = rows.iter().map(|(labels, _)| &*labels["bucket"]).collect();
    assert_eq!(buckets.len(), 6, "every bucket is there before it has run");
    assert_eq!(rows.len(), 12, "on every core");
    assert_eq!(before.sum("neuronc_rows_total", &[]), 0.0);
    let ready = [("state", "ready")];
    assert_eq!(before.sum("neuronc_core_state", &ready), 2.0);

    ask_and_be_refused(&server);
    let after = Scrape::of(&server);
    assert!(!after.text.contains(SECRET), "{}", after.text);
    assert_eq!(after.sum("neuronc_rows_total", &[("model", "search")]), 7.0);
    // Two words each with [CLS] and [SEP]; the secret may be several tokens.
    assert!(after.sum("neuronc_tokens_total", &[]) >= 7.0 * 4.0);
    check_buckets(&after, &buckets);
    let batches = after.sum("neuronc_batches_total", &[]);
    assert_eq!(
        after.sum("neuronc_run_duration_seconds_count", &[]),
        batches
    );
    assert_eq!(after.sum("neuronc_batch_fill_ratio_count", &[]), batches);
    assert_eq!(after.sum("neuronc_queue_duration_seconds_count", &[]), 7.0);
    assert_eq!(
        after.sum("neuronc_request_duration_seconds_count", &[]),
        4.0
    );
    let ran = after.sum("neuronc_run_duration_seconds_sum", &[]);
    let busy = after.sum("neuronc_core_busy_seconds_total", &[]);
    assert!(ran > 0.0 && (ran - busy).abs() < 1e-9, "{ran} {busy}");
    let answered = |route: &str, protocol: &str, status: &str| {
        let labels = [("route", route), ("protocol", protocol), ("status", status)];
        after.sum("neuronc_requests_total", &labels)
    };
    assert_eq!(answered("/predict/{model}", "native", "200"), 4.0);
    assert_eq!(answered("/predict/{model}", "native", "404"), 1.0);
    assert_eq!(answered("/v1/embeddings", "openai", "400"), 1.0);
    assert_eq!(answered("unknown", "unknown", "404"), 2.0);
    let refused = |reason| after.sum("neuronc_refusals_total", &[("reason", reason)]);
    assert_eq!(refused("unknown_model"), 1.0);
    assert_eq!(refused("wrong_type"), 1.0);
    assert_eq!(refused("unknown_route"), 2.0);
    assert_eq!(
        after.sum("neuronc_requests_open", &[]),
        1.0,
        "the scrape itself"
    );

    let classic = server.get("/metrics");
    let form = &classic.headers["content-type"];
    assert!(form.starts_with("text/plain; version=0.0.4"), "{form}");
    let classic = String::from_utf8(classic.body).unwrap();
    assert!(classic.contains("\n# TYPE neuronc_rows_total counter\n"));
    assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"));
}

#[test]
fn connections_are_counted_and_those_beyond_the_limit_too() {
    let server = limited("connections: 4");
    let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/health/live").unwrap().status, 200);
    }
    assert_eq!(server.get("/health/live").status, 503);
    let mut operator = clients.pop().unwrap();
    let scrape = Scrape::asked_by(&mut operator);
    assert_eq!(scrape.sum("neuronc_connections_open", &[]), 4.0);
    let reason = [("reason", "too_many_connections")];
    assert_eq!(scrape.sum("neuronc_refusals_total", &reason), 1.0);
    drop(clients);
    wait_until("connections that have ended are not counted", || {
        let scrape = Scrape::asked_by(&mut operator);
        (scrape.sum("neuronc_connections_open", &[]) == 1.0).then_some(())
    });
}

#[test]
fn a_worker_that_is_replaced_is_counted() {
    let server: Running = serve("feature-extraction", 1);
    let [worker] = server.wait_ready(1)[..] else {
        panic!("one worker")
    };
    let memory = |scrape: &Scrape| scrape.sum("neuronc_worker_resident_memory_bytes", &[]);
    assert!(memory(&Scrape::of(&server)) > 1e6);
    send(worker, Signal::KILL);
    wait_until("the restart is counted and over", || {
        let scrape = Scrape::of(&server);
        let restarts = scrape.sum("neuronc_worker_restarts_total", &[("core", "0")]);
        let ready = scrape.sum("neuronc_core_state", &[("state", "ready")]);
        (restarts == 1.0 && ready == 1.0).then_some(())
    });
}
