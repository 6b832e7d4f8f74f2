//! `GET /docs`: the routes in a browser, and its examples against the server.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::serve::browser::Browser;
use crate::serve::client::Client;
use crate::serve::server::{Server, shapes};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

/// A simulated server of `search`, and its management port.
fn server(place: &Workplace, of: &str, more: &[&str]) -> (Server, SocketAddr) {
    place.traced(&fixture(of), "bundle", &shapes(of));
    let timings = "inf2/bert-base-uncased";
    let runtime = ["--runtime", "simulated", "--timings", timings];
    let model = ["--model", "search=bundle", "--management-port", "0"];
    let mut server = Server::start_with(place, &[&model, &runtime[..], more].concat());
    let management = server.management();
    wait_until("the server is ready", || {
        (server.get("/health/ready").status == 200).then_some(())
    });
    (server, management)
}

/// Opens every route, and gives the command of each by method and path.
fn examples(browser: &mut Browser) -> Vec<(String, String)> {
    browser.evaluate("for (const route of document.querySelectorAll('details')) route.open = true");
    browser.wait(
        "[...document.querySelectorAll('details')].every((route) => route.querySelector('pre'))",
    );
    let found = browser.evaluate(
        "[...document.querySelectorAll('details')]
           .map((route) => [route.id, route.querySelector('pre').textContent])",
    );
    serde_json::from_value(found).unwrap()
}

/// The status that a command of the shell is answered with.
fn status(command: &str) -> String {
    let command = format!("{command} -sS -o /dev/null -w '%{{http_code}}'");
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_port_has_the_page_and_it_loads_nothing_from_elsewhere() {
    let place = Workplace::new();
    let (server, management) = server(&place, "feature-extraction", &[]);
    for address in [server.address, management] {
        let mut client = Client::connect(address).unwrap();
        for (path, kind) in [
            ("/docs", "text/html"),
            ("/docs/page.css", "text/css"),
            ("/docs/page.js", "text/javascript"),
        ] {
            let file = client.get(path).unwrap();
            assert_eq!(file.status, 200, "{path}");
            assert!(file.headers["content-type"].starts_with(kind), "{path}");
            let policy = &file.headers["content-security-policy"];
            assert!(policy.starts_with("default-src 'none'"), "{policy}");
            let text = String::from_utf8(file.body).unwrap();
            assert!(
                !text.contains("http://") && !text.contains("https://"),
                "{path}"
            );
        }
    }
}

#[test]
fn the_page_has_the_routes_of_its_port_and_no_others() {
    let place = Workplace::new();
    let (server, management) = server(&place, "feature-extraction", &[]);
    for address in [server.address, management] {
        let Some(mut browser) = Browser::open(&format!("http://{address}/docs")) else {
            return;
        };
        browser.wait("document.querySelectorAll('details').length > 0");
        let document = Client::connect(address).unwrap().get("/openapi.json");
        let document = document.unwrap().json();
        let mut routes: Vec<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.map(move |method| format!("{method}-{path}"))
            })
            .collect();
        let shown = examples(&mut browser);
        let mut shown: Vec<String> = shown.into_iter().map(|(route, _)| route).collect();
        routes.sort();
        shown.sort();
        assert_eq!(shown, routes);
        let titles = "[...document.querySelectorAll('h2')].map((title) => title.textContent)";
        let titles: Vec<String> = serde_json::from_value(browser.evaluate(titles)).unwrap();
        assert_eq!(
            titles.contains(&"Management".to_owned()),
            address == management
        );
        assert_eq!(titles[..2], ["Hugging Face inference API", "OpenAI"]);
        let text = |browser: &mut Browser, route: &str| {
            let of = format!("document.getElementById({}).innerText", json!(route));
            browser.evaluate(&of).as_str().unwrap().to_owned()
        };
        let embeddings = text(&mut browser, "post-/v1/embeddings");
        for part in [
            "encoding_format",
            "x-neuronc-deadline-ms",
            "\"prompt_tokens\": integer",
            "429",
            "no such model",
        ] {
            assert!(embeddings.contains(part), "{part}:\n{embeddings}");
        }
        let elsewhere = "performance.getEntriesByType('resource').map((entry) => entry.name)\
                         .filter((name) => !name.startsWith(location.origin + '/'))";
        assert_eq!(browser.evaluate(elsewhere), json!([]));
        let search = "document.querySelector('#filter').value = 'POST /infer'; \
                      document.querySelector('#filter').dispatchEvent(new Event('input'))";
        browser.evaluate(search);
        let left = "[...document.querySelectorAll('details')].filter((route) => route.checkVisibility()).length";
        assert_eq!(browser.evaluate(left), 2);
    }
}

/// Routes that are for models of another task, which refuse this one.
fn is_for_others(route: &str, of: &str) -> bool {
    let last = route.rsplit('/').next().unwrap();
    let is_of_tei = !route.ends_with("-/predict/{model}");
    let of_embeddings = ["embed", "embeddings", "similarity"].contains(&last);
    (last == "predict" && is_of_tei)
        || ["embed_all", "rerank"].contains(&last)
        || (of_embeddings && of != "feature-extraction")
        || (last == "model_{j}" && of != "question-answering")
}

#[test]
fn its_examples_are_answered() {
    for of in ["feature-extraction", "question-answering", "fill-mask"] {
        let place = Workplace::new();
        let (server, _) = server(&place, of, &[]);
        let Some(mut browser) = Browser::open(&format!("http://{}/docs#post-/", server.address))
        else {
            return;
        };
        browser.wait("document.getElementById('post-/').open");
        let mut answered = 0;
        for (route, command) in examples(&mut browser) {
            // What is served is changed by operators alone.
            let is_refused = route.ends_with("/unload") || is_for_others(&route, of);
            let status = status(&command);
            let expected = if is_refused { "4" } else { "200" };
            assert!(
                status.starts_with(expected),
                "{of} {route}: {status}\n{command}"
            );
            answered += usize::from(status == "200");
        }
        assert!(answered > 25, "{of}: {answered}");
    }
}

#[test]
fn the_page_asks_for_a_key_where_the_server_does() {
    let place = Workplace::new();
    let made = place.run(&["key", "caller", "--format", "json"]);
    let made = made.succeeds().json();
    let sha256 = made["sha256"].as_str().unwrap();
    let lines = format!("- name: caller\n  sha256: {sha256}\n");
    fs::write(place.path("keys.yaml"), lines).unwrap();
    let keys = ["--api-keys", "keys.yaml"];
    let (server, _) = server(&place, "feature-extraction", &keys);
    assert_eq!(server.get("/openapi.json").status, 401);
    let Some(mut browser) = Browser::open(&format!("http://{}/docs", server.address)) else {
        return;
    };
    browser.wait("!document.querySelector('#access').hidden");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('details').length"),
        0
    );
    let give = |key: &Value| {
        format!(
            "document.querySelector('#key').value = {key}; document.querySelector('#access').requestSubmit()"
        )
    };
    browser.evaluate(&give(&json!("wrong")));
    browser.wait("document.querySelector('#notice').textContent.includes('not known')");
    browser.evaluate(&give(&made["key"]));
    browser.wait("document.querySelectorAll('details').length > 0");
    browser.wait(
        "document.querySelector('#access').hidden && document.querySelector('#notice').hidden",
    );
    let key = made["key"].as_str().unwrap();
    let (_, command) = examples(&mut browser)
        .into_iter()
        .find(|(route, _)| route == "post-/predict/{model}")
        .unwrap();
    assert!(
        !command.contains(key) && command.contains("$KEY"),
        "{command}"
    );
    assert_eq!(status(&format!("KEY={key}; {command}")), "200");
}

#[test]
fn colours_can_be_read_and_controls_have_names() {
    let place = Workplace::new();
    let (_server, management) = server(&place, "feature-extraction", &[]);
    let Some(mut browser) = Browser::open(&format!("http://{management}/docs")) else {
        return;
    };
    browser.wait("document.querySelectorAll('details').length > 0");
    examples(&mut browser);
    for (width, height) in [(1200, 900), (420, 800)] {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", &size);
        let wide = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(
            browser.evaluate(wide),
            true,
            "{width}: nothing is beside the page"
        );
    }
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        let contrast = browser.contrast(&[
            ("nav a", "body"),
            (".method", "section"),
            ("h3", "section"),
            ("summary span:last-child", "section"),
            ("pre", "pre"),
        ]);
        assert!(contrast >= 4.5, "{scheme}: {contrast}");
    }
    let nameless = "[...document.querySelectorAll('select, textarea, input')]\
                    .filter((control) => !control.labels.length).length";
    assert_eq!(browser.evaluate(nameless), 0);
}
