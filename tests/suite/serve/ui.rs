//! `GET /ui`: the page in a browser, against a server that does something.

use std::fs;
use std::net::SocketAddr;

use serde_json::json;

use crate::serve::browser::Browser;
use crate::serve::client::Client;
use crate::serve::server::{Server, shapes};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

/// A simulated server of `search` on two cores.
fn server() -> (Server, SocketAddr, Workplace) {
    server_in(Workplace::new(), &[])
}

/// The same in a folder with more in it.
fn server_in(place: Workplace, more: &[&str]) -> (Server, SocketAddr, Workplace) {
    place.traced(
        &fixture("feature-extraction"),
        "bundle",
        &shapes("feature-extraction"),
    );
    let timings = "inf2/bert-base-uncased";
    let args = ["--model", "search=bundle", "--runtime", "simulated"];
    let args = [
        &args[..],
        &["--timings", timings, "--management-port", "0"],
        more,
    ]
    .concat();
    let mut server = Server::start_with(&place, &args);
    let management = server.management();
    wait_until("the server is ready", || {
        (server.get("/health/ready").status == 200).then_some(())
    });
    (server, management, place)
}

#[test]
fn the_page_is_on_the_management_port_alone_and_loads_nothing_from_elsewhere() {
    let (server, management, _place) = server();
    assert_eq!(server.get("/ui").status, 404);
    let mut operator = Client::connect(management).unwrap();
    for (path, kind) in [
        ("/ui", "text/html"),
        ("/ui/page.css", "text/css"),
        ("/ui/page.js", "text/javascript"),
    ] {
        let file = operator.get(path).unwrap();
        assert_eq!(file.status, 200, "{path}");
        assert!(file.headers["content-type"].starts_with(kind), "{path}");
        let policy = &file.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!(file.headers["x-content-type-options"], "nosniff");
        let text = String::from_utf8(file.body).unwrap();
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{path}"
        );
    }
}

#[test]
fn the_page_shows_the_server_at_work_and_tries_a_model() {
    let (server, management, _place) = server();
    let Some(mut browser) = Browser::open(&format!("http://{management}/ui")) else {
        return;
    };
    browser.wait("document.querySelectorAll('#cores tr').length === 2");
    browser.wait("document.querySelector('#server').textContent.includes('simulated')");
    // Asked again and again, until the page has seen it.
    let rate = "Number(document.querySelector('#models tr').cells[4].textContent) > 0";
    wait_until("the page shows rows a second", || {
        for _ in 0..20 {
            server.answer(&json!(["the cat", "the river"]));
        }
        (browser.evaluate(rate) == true).then_some(())
    });
    browser.wait("/\\d ms$/.test(document.querySelector('#models tr').cells[6].textContent)");
    let bucket = browser.evaluate("document.querySelector('#buckets tr').cells[1].textContent");
    assert!(bucket.as_str().unwrap().ends_with("x12"), "{bucket}");

    browser.evaluate("document.querySelector('#try').requestSubmit()");
    browser.wait("!document.querySelector('#answer').hidden");
    let outcome = browser.evaluate("document.querySelector('#outcome').textContent");
    let outcome = outcome.as_str().unwrap();
    for part in ["status 200", "bucket ", "core ", "runtime simulated"] {
        assert!(outcome.contains(part), "{outcome}");
    }
    let answer =
        browser.evaluate("JSON.parse(document.querySelector('#answer').textContent).length");
    assert_eq!(answer, 2, "two texts are in the example");
    let wrong = "document.querySelector('#inputs').value = '{}'; document.querySelector('#try').requestSubmit()";
    browser.evaluate(wrong);
    browser.wait("document.querySelector('#outcome').textContent.startsWith('status 422')");

    let elsewhere = "performance.getEntriesByType('resource').map((entry) => entry.name)\
                     .filter((name) => !name.startsWith(location.origin + '/'))";
    assert_eq!(browser.evaluate(elsewhere), json!([]));
    drop(server);
    browser.wait("document.querySelector('#notice').textContent.includes('does not answer')");
}

#[test]
fn colours_follow_the_reader_and_controls_have_names() {
    let (_server, management, _place) = server();
    let Some(mut browser) = Browser::open(&format!("http://{management}/ui")) else {
        return;
    };
    browser.wait("document.querySelector('#model').value === 'search'");
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        let contrast = browser.contrast(&[
            ("body", "body"),
            ("header p", "body"),
            ("thead th", "section"),
            ("#cores .good", "section"),
            ("label", "section"),
        ]);
        assert!(contrast >= 4.5, "{scheme}: {contrast}");
        grounds.push(browser.evaluate("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1]);
    let nameless = "[...document.querySelectorAll('select, textarea, input')]\
                    .filter((control) => !control.labels.length).length";
    assert_eq!(browser.evaluate(nameless), 0);
    let untitled = "[...document.querySelectorAll('table')]\
                    .filter((table) => [...table.tHead.rows[0].cells].some((cell) => cell.scope !== 'col')).length";
    assert_eq!(browser.evaluate(untitled), 0);
}

#[test]
fn the_page_asks_for_a_key_where_the_server_does() {
    let place = Workplace::new();
    let made = place.run(&["key", "operator", "--role", "admin", "--format", "json"]);
    let made = made.succeeds().json();
    let sha256 = made["sha256"].as_str().unwrap();
    let lines = format!("- name: operator\n  sha256: {sha256}\n  role: admin\n");
    fs::write(place.path("keys.yaml"), lines).unwrap();
    let (_server, management, _place) = server_in(place, &["--api-keys", "keys.yaml"]);
    let status = Client::connect(management).unwrap().get("/admin/status");
    assert_eq!(status.unwrap().status, 401);
    let Some(mut browser) = Browser::open(&format!("http://{management}/ui")) else {
        return;
    };
    browser.wait("!document.querySelector('#access').hidden");
    let give = |key: &str| {
        format!(
            "document.querySelector('#key').value = {}; document.querySelector('#access').requestSubmit()",
            json!(key)
        )
    };
    browser.evaluate(&give("wrong"));
    browser.wait("document.querySelector('#notice').textContent.includes('not one of an admin')");
    browser.evaluate(&give(made["key"].as_str().unwrap()));
    browser.wait("document.querySelectorAll('#cores tr').length === 2");
    browser.wait("document.querySelector('#access').hidden");
    browser.evaluate("document.querySelector('#try').requestSubmit()");
    browser.wait("document.querySelector('#outcome').textContent.startsWith('status 200')");
}
