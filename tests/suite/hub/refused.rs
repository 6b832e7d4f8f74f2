//! What a Hub says no to, and what is refused before it is asked.

use neuronc::failure::{Class, Failure};
use neuronc::hub::{self, HubAccess, ModelSource, Secret};

use super::{WEIGHTS, World, assert_says, at, hub_error, main};
use crate::hub_server::{Fault, Host};

#[test]
fn each_refusal_names_the_thing_and_the_remedy() {
    for (fault, expected) in [
        (Fault::status(401), "does not exist, or is private"),
        (Fault::refusal(401, "GatedRepo"), "accept its licence"),
        (Fault::refusal(403, "GatedRepo"), "accept its licence"),
        (Fault::status(403), "may not read"),
        (
            Fault::refusal(404, "RepoNotFound"),
            "does not exist, or is private",
        ),
        (Fault::too_many_requests(0), "HF_TOKEN"),
        (Fault::web_page(), "does not answer like a Hub"),
    ] {
        let world = World::new();
        world.server.fail(fault.clone());
        let text = hub_error(hub::open(&main(), &world.access()));
        assert_says(&text, &[expected, "help:"]);
    }
}

#[test]
fn a_refusal_of_one_file_names_it() {
    let world = World::new();
    world
        .server
        .fail(Fault::refusal(404, "EntryNotFound").on(WEIGHTS));
    assert_says(
        &hub_error(world.fetch(&[WEIGHTS])),
        &["`org/name` has no file `model.safetensors`"],
    );
}

#[test]
fn a_revision_that_does_not_exist_is_named() {
    let world = World::new();
    let text = hub_error(hub::open(&at(Some("v9")), &world.access()));
    assert_says(&text, &["`org/name` has no revision `v9`", "tree/main"]);
    let missing = "0".repeat(40);
    let text = hub_error(hub::open(&at(Some(&missing)), &world.access()));
    assert_says(&text, &["has no revision", &missing]);
}

#[test]
fn an_unknown_model_is_named() {
    let world = World::new();
    let source = ModelSource::Hub {
        id: "org/other".to_owned(),
        revision: None,
    };
    assert_says(
        &hub_error(hub::open(&source, &world.access())),
        &["`org/other`", "private"],
    );
}

#[test]
fn a_file_that_the_model_does_not_have_is_named_with_the_nearest() {
    let world = World::new();
    let text = hub_error(world.fetch(&["tokeniser.json"]));
    assert_says(&text, &["has no file `tokeniser.json`", "`tokenizer.json`"]);
}

#[test]
fn a_hub_that_cannot_be_reached_is_named_at_once() {
    let world = World::new();
    world.fetch(&["config.json"]).unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let access = HubAccess {
        endpoint: Some(endpoint.clone()),
        ..world.access()
    };
    let text = hub_error(hub::open(&main(), &access));
    assert_says(
        &text,
        &[&endpoint, "cannot be reached", "Connection refused"],
    );
    assert_says(
        &text,
        &["--offline", "folder", "the cache has `org/name` at commit"],
    );
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let world = World::new();
    world.server.require_token("hf_secret");
    let text = hub_error(hub::open(&main(), &world.access()));
    assert_says(&text, &["private", "HF_TOKEN"]);
    let mut access = world.access();
    access.token = Secret::new("hf_wrong");
    let text = hub_error(hub::open(&main(), &access));
    assert_says(&text, &["rejects the token", "Invalid credentials"]);
    assert!(!text.contains("hf_wrong"));

    access.token = Secret::new(" hf_secret\n");
    world.server.forget_requests();
    let snapshot = hub::open(&main(), &access).unwrap();
    snapshot
        .fetch(&[WEIGHTS, "config.json"], &mut |_| {})
        .unwrap();
    for request in world.server.requests() {
        let expected = (request.host == Host::Hub).then_some("Bearer hf_secret");
        assert_eq!(request.authorization.as_deref(), expected, "{request:?}");
    }
    assert!(!format!("{access:?}{snapshot:?}").contains("hf_secret"));
}

#[test]
fn no_token_is_sent_when_none_is_given() {
    let world = World::new();
    world.fetch(&[WEIGHTS, "config.json"]).unwrap();
    let requests = world.server.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.authorization.is_none()),
        "{requests:?}"
    );
}

#[test]
fn a_listing_that_leads_outside_is_refused() {
    for path in [
        "../../../../escaped.json",
        "/tmp/escaped.json",
        "a/../../escaped.json",
    ] {
        let world = World::new();
        world.server.list_as("config.json", path);
        let text = hub_error(hub::open(&main(), &world.access()));
        assert_says(
            &text,
            &[
                "the listing of `org/name`",
                "not a plain path",
                "escaped.json",
            ],
        );
    }
}

#[test]
fn pickles_are_refused_without_a_request() {
    let world = World::new();
    let snapshot = world.open();
    world.server.forget_requests();
    let error = snapshot
        .fetch(&["config.json", "pytorch_model.bin"], &mut |_| {})
        .unwrap_err();
    assert_eq!(Failure::class_of(&error), Class::Usage);
    assert_says(
        &error.to_string(),
        &["`pytorch_model.bin`", "safetensors", "--revision refs/pr/N"],
    );
    assert!(world.server.requests().is_empty());
}

#[test]
fn malformed_ids_revisions_endpoints_and_tokens_are_usage_errors() {
    let world = World::new();
    let refused = |source: &ModelSource, access: &HubAccess, part: &str| {
        let error = hub::open(source, access).unwrap_err();
        assert_eq!(Failure::class_of(&error), Class::Usage, "{error:#}");
        assert_says(&error.to_string(), &[part]);
    };
    let id = ModelSource::Hub {
        id: "../../etc".to_owned(),
        revision: None,
    };
    refused(&id, &world.access(), "`../../etc` is not a model id");
    refused(
        &at(Some("../main")),
        &world.access(),
        "`../main` is not a revision",
    );
    let mut access = world.access();
    access.endpoint = Some("huggingface.co".to_owned());
    refused(&main(), &access, "HF_ENDPOINT");
    let mut access = world.access();
    access.token = Secret::new("hf_\u{7}x");
    refused(&main(), &access, "HF_TOKEN");
    assert!(world.server.requests().is_empty());
}
