//! The examples of `docs/protocols.md` are run against a server. `NEURONC_BLESS=1` writes what it
//! answers now into the page.

use std::fs;
use std::process::Command;

use regex::Regex;

use crate::serve::server::{Server, shapes};
use crate::support::{Workplace, fixture, repository};

/// The names of the page and their fixtures.
const MODELS: [(&str, &str); 3] = [
    ("search", "feature-extraction"),
    ("rank", "one-label"),
    ("ask", "question-answering"),
];

/// The address in the page.
const ADDRESS: &str = "127.0.0.1:8080";

#[test]
fn the_page_shows_what_the_server_answers() {
    let place = Workplace::new();
    let models = MODELS.map(|(name, of)| {
        place.traced(&fixture(of), of, &shapes(of));
        format!("{name}={of}")
    });
    let mut args = vec!["--cores", "2", "--models-per-core", "3"];
    args.extend(models.iter().flat_map(|model| ["--model", model]));
    let server = Server::start_with(&place, &args);
    server.wait_ready(2);

    let path = repository().join("docs/protocols.md");
    let written = fs::read_to_string(&path).unwrap();
    let mut lines = Vec::new();
    let mut commands = 0;
    for line in written.lines() {
        let is_answer = lines
            .last()
            .is_some_and(|before: &String| before.starts_with("$ curl"));
        if !is_answer {
            lines.push(line.to_owned());
            continue;
        }
        let command = lines.last().unwrap().replacen("$ curl", "curl -sS", 1);
        let command = command.replace(ADDRESS, &server.address.to_string());
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        lines.push(
            String::from_utf8(output.stdout)
                .unwrap()
                .trim_end()
                .to_owned(),
        );
        commands += 1;
    }
    assert!(commands > 10, "the page has lost its examples");
    let now = lines.join("\n") + "\n";
    if std::env::var("NEURONC_BLESS").is_ok() {
        fs::write(&path, &now).unwrap();
    }
    // Processors differ in the last digits.
    let digits = Regex::new(r"(\d\.\d\d)\d+").unwrap();
    let shortened = |text: &str| digits.replace_all(text, "$1").into_owned();
    let written = fs::read_to_string(&path).unwrap();
    for (written, now) in shortened(&written).lines().zip(shortened(&now).lines()) {
        assert_eq!(
            written, now,
            "run this test with NEURONC_BLESS=1 and look at the difference"
        );
    }
}
