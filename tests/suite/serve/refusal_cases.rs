//! Every refusal over HTTP, word for word: each file below `tests/errors/http/` is a request, and what a
//! server answers to it. `tests/README.md` says how to write one; `NEURONC_BLESS=1` writes the answers.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::errors::case::Case;
use crate::errors::{cases, equals_file};
use crate::serve::client::{Client, Response};
use crate::serve::server::{Running, Server, shapes};
use crate::support::{Workplace, fixture, repository};
use crate::tidy::source;

/// The models of the server: one for each task.
const MODELS: [&str; 6] = [
    "feature-extraction",
    "feature-extraction-plain",
    "question-answering",
    "text-classification",
    "token-classification",
    "fill-mask",
];

/// The headers of an answer that a case shows.
const HEADERS: [&str; 4] = ["allow", "content-type", "retry-after", "www-authenticate"];

/// The keys of the server that asks for one, with what the file of keys says of them.
const KEYS: [(&str, &str); 2] = [
    ("key-of-a-team", ""),
    ("key-with-a-limit", "  requests_per_second: 0.002\n"),
];

/// The servers that all cases are asked of; they end with the test.
struct Servers {
    open: Running,
    management: SocketAddr,
    /// Asks for an API key; its device is simulated.
    guarded: Running,
    guarded_management: SocketAddr,
}

fn start() -> Servers {
    let sandbox = Workplace::new();
    let mut args = vec![
        "--cores",
        "1",
        "--models-per-core",
        "6",
        "--management-port",
        "0",
    ];
    for model in MODELS {
        sandbox.traced(&fixture(model), model, &shapes(model));
        args.push(model);
    }
    let mut server = Server::start_with(&sandbox, &args);
    server.wait_ready(1);
    let management = server.management();
    let mut guarded = guarded();
    Servers {
        open: Running {
            server,
            place: sandbox,
        },
        management,
        guarded_management: guarded.management(),
        guarded,
    }
}

fn guarded() -> Running {
    let sandbox = Workplace::new();
    sandbox.traced(&fixture(MODELS[0]), MODELS[0], &shapes(MODELS[0]));
    let entry = |(key, more): &(&str, &str)| {
        let digest = Sha256::digest(key);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("- name: {key}\n  sha256: {hex}\n{more}")
    };
    let keys: String = KEYS.iter().map(entry).collect();
    fs::write(sandbox.path("keys.yaml"), keys).unwrap();
    let simulated = [
        "--runtime",
        "simulated",
        "--timings",
        "inf2/bert-base-uncased",
    ];
    let args = [
        MODELS[0],
        "--api-keys",
        "keys.yaml",
        "--management-port",
        "0",
    ];
    let args = [&args[..], &simulated].concat();
    let server = Server::start_with(&sandbox, &args);
    Running {
        server,
        place: sandbox,
    }
}

/// `text` with each `[[N x PART]]` written out.
fn repeated(text: &str) -> String {
    static REPEATED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\[\[(\d+) x (.*?)\]\]").unwrap());
    let write_out = |found: &Captures| found[2].repeat(found[1].parse().unwrap());
    REPEATED.replace_all(text, write_out).into_owned()
}

/// What the server of a case answers, as it stands in its file; the error says what is wrong with the case.
fn asked(case: &Case, servers: &Servers) -> Result<String, String> {
    let (mut headers, mut body, mut times) = (String::new(), String::new(), 1);
    let mut address = servers.open.address;
    for step in &case.steps {
        match step.verb {
            "header" => headers.push_str(&format!("{}\r\n", step.rest)),
            "body" => step.block.trim_end_matches('\n').clone_into(&mut body),
            "ask" if step.rest == "management" => address = servers.management,
            "ask" if step.rest == "guarded" => address = servers.guarded.address,
            "ask" if step.rest == "guarded-management" => address = servers.guarded_management,
            // So often that a limit is reached.
            "times" => times = step.rest.parse().map_err(|_| "not a number")?,
            verb => return Err(format!("a request has no `{verb}`")),
        }
    }
    let body = repeated(&body);
    let length = body.len();
    let command = repeated(case.command);
    let request =
        format!("{command} HTTP/1.1\r\nhost: t\r\n{headers}content-length: {length}\r\n\r\n{body}");
    let mut client = Client::connect(address).map_err(|error| error.to_string())?;
    let mut answer = None;
    for _ in 0..times {
        // A server that refuses a body need not read all of it.
        let _ = client.write(request.as_bytes());
        answer = Some(client.read().map_err(|error| error.to_string())?);
    }
    shown(&answer.ok_or("it is never asked")?)
}

fn shown(answer: &Response) -> Result<String, String> {
    if answer.status < 400 {
        return Err(format!("it is answered with {}", answer.status));
    }
    let mut text = format!("status {}\n", answer.status);
    for name in HEADERS {
        if let Some(value) = answer.headers.get(name) {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("its answer is not JSON: {error}"))?;
    text.push_str(&format!("--- body\n{body:#}\n"));
    Ok(text)
}

fn compare(path: &Path, servers: &Servers) -> Result<(), String> {
    let named = |why: String| format!("{}: {why}", path.display());
    let text = fs::read_to_string(path).unwrap();
    let case = Case::parse(&text).map_err(named)?;
    let answer = asked(&case, servers).map_err(named)?;
    equals_file(format!("{}{answer}", case.head), path)
}

#[test]
fn every_refusal_is_as_its_file_says() {
    let servers = start();
    let mut differences = Vec::new();
    for path in cases(&repository().join("tests/errors/http")) {
        differences.extend(compare(&path, &servers).err());
    }
    assert!(
        differences.is_empty(),
        "{}\n{} refusals are others; NEURONC_BLESS=1 writes them down",
        differences.join("\n"),
        differences.len()
    );
    let log = servers.open.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// Every code of a refusal, from the sources.
fn codes() -> BTreeSet<String> {
    let named = Regex::new(r#"\b(?:Invalid)?Code::\w+ => "(\w+)""#).unwrap();
    let sources = source::built();
    let found = sources
        .iter()
        .flat_map(|source| named.captures_iter(&source.text));
    found.map(|found| found[1].to_owned()).collect()
}

#[test]
fn every_code_has_a_case_or_a_reason() {
    let folder = repository().join("tests/errors/http");
    let files = cases(&folder);
    let said: String = files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let page = fs::read_to_string(folder.join("without-a-case.md")).unwrap();
    let codes = codes();
    assert!(codes.len() > 20, "the codes were not found: {codes:?}");
    for code in codes {
        let has_case = said.contains(&format!("\"code\": \"{code}\""));
        let has_reason = page.contains(&format!("\n- `{code}`\n"));
        assert!(
            has_case != has_reason,
            "{code}: a case {has_case}, a reason {has_reason}"
        );
    }
}
