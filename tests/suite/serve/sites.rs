//! Pages of other sites, which any browser of an operator lets ask the port for management: what they
//! ask for is not done.

use std::net::SocketAddr;

use serde_json::json;

use crate::serve::client::{Client, Response};
use crate::serve::server::{Server, shapes};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

const NAME: &str = "feature-extraction";
const UNLOAD: &str = "/v2/repository/models/feature-extraction/unload";

fn ask(address: SocketAddr, line: &str, headers: &str) -> Response {
    let mut client = Client::connect(address).unwrap();
    let body = json!({"inputs": "the cat"}).to_string();
    let length = if line.contains("/predict/") {
        body.len()
    } else {
        0
    };
    let request = format!(
        "{line} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{}",
        &body[..length]
    );
    client.write(request.as_bytes()).unwrap();
    client.read().unwrap()
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let place = Workplace::new();
    place.traced(&fixture(NAME), NAME, &shapes(NAME));
    let timings = ["--timings", "inf2/bert-base-uncased"];
    let args = [NAME, "--runtime", "simulated", "--management-port", "0"];
    let mut server = Server::start_with(&place, &[&args[..], &timings].concat());
    wait_until("the server is ready", || {
        (server.get("/health/ready").status == 200).then_some(())
    });
    let port = server.management();
    let own = format!("host: {port}\r\n");
    for foreign in [
        format!("{own}origin: http://evil.example\r\n"),
        format!("{own}origin: null\r\n"),
        format!("{own}sec-fetch-site: cross-site\r\n"),
        format!("{own}sec-fetch-site: same-site\r\n"),
        // A name of theirs that they have point here.
        "host: evil.example\r\norigin: http://evil.example\r\n".to_owned(),
    ] {
        for line in [
            &format!("POST {UNLOAD}"),
            "POST /v2/repository/models/feature-extraction/load",
            "POST /admin/aliases/a/rollback",
            "DELETE /admin/models/feature-extraction?force=true",
            "POST /predict/feature-extraction",
        ] {
            let response = ask(port, line, &foreign);
            assert_eq!(response.status, 403, "{line} {foreign}: {response:?}");
            let text = response.json()["error"].to_string();
            assert!(text.contains("another site"), "{text}");
        }
        // What only looks is of no use to them: their page cannot read it.
        assert_eq!(ask(port, "GET /admin/status", &foreign).status, 200);
        // Answering requests is what the other ports are for.
        let predict = format!("POST /predict/{NAME}");
        assert_eq!(ask(server.address, &predict, &foreign).status, 200);
    }
    let page = format!("{own}origin: http://{port}\r\nsec-fetch-site: same-origin\r\n");
    assert_eq!(
        ask(port, &format!("POST /predict/{NAME}"), &page).status,
        200
    );
    // A program, and a page of the server itself.
    let load = "POST /v2/repository/models/feature-extraction/load";
    assert_eq!(ask(port, load, &own).status, 200);
    assert_eq!(ask(port, &format!("POST {UNLOAD}"), &page).status, 200);
    assert_eq!(server.predict(&json!({"inputs": "the cat"})).status, 404);
    // The names are those that the other way of loading takes.
    for name in ["a%2Fb", "a%0Ab", "a%00", "%ff"] {
        for verb in ["load", "unload"] {
            let line = format!("POST /v2/repository/models/{name}/{verb}");
            let response = ask(port, &line, &own);
            assert_eq!(response.status, 400, "{line}: {response:?}");
            let text = response.json()["error"].to_string();
            assert!(text.contains("a name is made of"), "{text}");
        }
    }
}
