//! The OpenAPI document: that it is committed, served, and has every route.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use neuronc::serve::ListenerRole;
use serde_json::{Value, json};

use crate::serve::server::shared;
use crate::support::repository;

#[test]
fn the_document_is_the_one_that_is_served() {
    let path = repository().join("docs/openapi.json");
    let document = serde_json::to_string_pretty(&neuronc::serve::openapi(
        &[],
        ListenerRole::Management,
        false,
    ))
    .unwrap();
    if std::env::var("NEURONC_BLESS").is_ok() {
        fs::write(&path, format!("{document}\n")).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let is_current = written.trim_end() == document;
    assert!(
        is_current,
        "run this test with NEURONC_BLESS=1 and look at the difference"
    );
    let served = shared("feature-extraction").get("/openapi.json").json();
    assert_eq!(
        served,
        neuronc::serve::openapi(&["feature-extraction"], ListenerRole::All, false)
    );
}

/// What stands in quotation marks after `.route(` or `at(` in the sources of the routes.
fn routes(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            routes(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text: String = text.split_whitespace().collect();
        for needle in [".route(\"", ".route(&at(\""] {
            let quoted = text.split(needle).skip(1);
            found.extend(quoted.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
}

#[test]
fn every_route_is_in_the_document() {
    let mut found = BTreeSet::new();
    routes(&repository().join("src/serve/http"), &mut found);
    assert!(found.len() > 25, "{found:?}");
    let document = neuronc::serve::openapi(&[], ListenerRole::Management, false);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    for route in &found {
        // Its template is narrower than the router can say.
        let is_there = paths.iter().any(|path| path.ends_with(route.as_str()));
        assert!(
            is_there || route == "/{core}/{model}",
            "`{route}` is not in the document"
        );
    }
    assert!(paths.len() >= found.len());
}

#[test]
fn the_document_says_what_needs_a_key() {
    let with = neuronc::serve::openapi(&[], ListenerRole::Management, true);
    let without = neuronc::serve::openapi(&[], ListenerRole::Management, false);
    let both = |roles: &[&str]| json!([{"bearer": roles}, {"x-api-key": roles}]);
    assert_eq!(with["security"], both(&[]));
    assert_eq!(without["security"][0], json!({}), "nothing is asked for");
    let schemes = with["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes.len(), 2);
    for (path, method, security, statuses) in [
        ("/health/live", "get", json!([]), [false, false]),
        ("/ui", "get", json!([]), [false, false]),
        ("/v1/models", "get", Value::Null, [true, false]),
        // The page of another site may not send it to this port.
        ("/embed", "post", Value::Null, [true, true]),
        (
            "/admin/models/{model}",
            "put",
            both(&["admin"]),
            [true, true],
        ),
    ] {
        let operation = &with["paths"][path][method];
        assert_eq!(operation["security"], security, "{path}");
        let responses = &operation["responses"];
        let has = ["401", "403"].map(|status| responses[status].is_object());
        assert_eq!(has, statuses, "{path}");
    }
}
