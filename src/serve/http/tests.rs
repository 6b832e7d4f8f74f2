//! Tests of what is declared of all protocols.

use serde_json::{Map, Value};

use crate::serve::http::PROTOCOLS;
use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::http::openapi::{self, Described};
use crate::serve::listener::ListenerRole;

/// The OpenAPI paths of every route, and their schemas.
fn described() -> (Map<String, Value>, Schemas) {
    let server = Described {
        names: Vec::new(),
        role: ListenerRole::Management,
        has_keys: false,
    };
    openapi::described(&PROTOCOLS, &server)
}

#[test]
fn routes_belong_to_protocols() {
    for (route, name) in [
        ("/", "native"),
        ("/predict/{model}", "native"),
        ("/health/ready", "native"),
        ("/docs/page.js", "native"),
        ("/predict", "tei"),
        ("/health", "tei"),
        ("/embed", "tei"),
        ("/tei/{model}/embed", "tei"),
        ("/v2", "kserve"),
        ("/v2/models/{model}/versions/{version}/infer", "kserve"),
        ("/v1/models/{model}", "openai"),
        ("/ping", "sagemaker"),
        ("/{core}/{model}", "fastapi"),
        ("/admin/status", "management"),
    ] {
        assert_eq!(PROTOCOLS.name_of(route), Some(name), "{route}");
    }
    assert_eq!(PROTOCOLS.name_of("unknown"), None);
}

#[test]
fn paths_are_refused_in_the_form_of_a_protocol_also_where_there_is_no_route() {
    for (path, name) in [
        ("/", "native"),
        ("/predict/m", "native"),
        ("/nothing", "native"),
        ("/embed/m", "native"),
        ("/v1x", "native"),
        ("/embed", "tei"),
        ("/embed/", "tei"),
        ("/health", "tei"),
        ("/tei", "tei"),
        ("/tei/m/nothing", "tei"),
        ("/v1", "openai"),
        ("/v1/nothing", "openai"),
        ("/v2/", "kserve"),
        ("/predictions_neuron_core_0", "fastapi"),
        ("/predictions_neuron_core_x/model_0/more", "fastapi"),
        ("/ping", "sagemaker"),
        ("/ui", "management"),
    ] {
        assert_eq!(PROTOCOLS.owner(path).name, name, "{path}");
    }
}

#[test]
fn health_and_pages_need_no_key() {
    for route in [
        "/health",
        "/health/live",
        "/ping",
        "/tei/{model}/health",
        "/v2/health/ready",
        "/ui",
        "/docs/page.css",
    ] {
        assert!(
            PROTOCOLS.is_open(route) && PROTOCOLS.is_probe(route),
            "{route}"
        );
    }
    for route in ["/", "/metrics"] {
        assert!(
            !PROTOCOLS.is_open(route) && PROTOCOLS.is_probe(route),
            "{route}"
        );
    }
    for route in ["/embed", "/v2", "/admin/status", "/openapi.json"] {
        assert!(
            !PROTOCOLS.is_open(route) && !PROTOCOLS.is_probe(route),
            "{route}"
        );
    }
}

#[test]
fn no_schema_hides_another_of_its_name() {
    let [requests, answers] = described().1.definitions();
    assert!(requests.len() > 10 && answers.len() > 20);
    for (name, schema) in &requests {
        let other = answers.get(name).unwrap_or(schema);
        assert_eq!(schema, other, "`{name}` of requests and of answers");
    }
}

#[test]
fn every_body_has_an_example() {
    let (paths, _) = described();
    let operations = paths.values().flat_map(|path| path.as_object().unwrap());
    let bodies: Vec<_> = operations
        .filter_map(|(_, operation)| operation.get("requestBody"))
        .collect();
    assert!(bodies.len() > 20);
    for body in bodies {
        let content = &body["content"]["application/json"];
        assert!(content["example"].is_object(), "{body}");
    }
}
