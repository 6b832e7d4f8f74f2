//! The OpenAPI document: that it is committed, served, and has every route.

use std::fs;

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
