//! The routes of the FastAPI server of AWS's post, and of SageMaker.

use serde_json::{Value, json};

use crate::serve::client::Client;
use crate::serve::server::{Running, Server, send, serve, shapes, shared};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

/// An answer to a question about a bridge.
const ASK: &str = "seq_0=what%20is%20red%3F&seq_1=the+bridge+is+red+and+the+river+is+cold";

#[test]
fn a_question_is_answered_by_the_core_that_is_named() {
    let server = serve("question-answering", 2);
    let workers = server.wait_ready(2);
    let path = |core: usize| format!("/predictions_neuron_core_{core}/model_0?{ASK}");
    let native = json!({
        "inputs": {"question": "what is red?", "context": "the bridge is red and the river is cold"},
        "parameters": {"handle_impossible_answer": true},
    });
    let native = server.predict(&native).json();
    for core in [0, 1] {
        let answer = server.get(&path(core));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["detail"], native["answer"]);
        assert_eq!(answer.json()["no_answer"], native["answer"] == "");
    }
    // The other core answers nothing while this one stands still.
    send(workers[0], rustix::process::Signal::STOP);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.get(&path(0)));
        assert_eq!(server.wait_handed_over(), 0);
        assert_eq!(server.get(&path(1)).status, 200);
        assert!(!waiting.is_finished());
        send(workers[0], rustix::process::Signal::CONT);
        assert_eq!(waiting.join().unwrap().status, 200);
    });
}

#[test]
fn core_model_and_texts_are_checked() {
    let server = shared("question-answering");
    for (path, expected, part) in [
        ("/predictions_neuron_core_1/model_0", 404, "cores: `0`"),
        ("/predictions_neuron_core_x/model_0", 404, "no such core"),
        (
            "/predictions_neuron_core_0/model_1",
            404,
            "models: `model_0`",
        ),
        (
            "/predictions_neuron_core_0/model_0?seq_0=",
            422,
            "`seq_1` is missing",
        ),
        (
            "/predictions_neuron_core_0/model_0?seq_1=a",
            422,
            "`seq_0` is missing",
        ),
        (
            "/predictions_neuron_core_0/model_0?seq_0=&seq_1=a",
            422,
            "`seq_0` is empty",
        ),
        ("/predictions_neuron_core_0/model_0?seq_2=a", 422, "seq_2"),
    ] {
        let response = server.get(path);
        let detail = response.json()["detail"].to_string();
        assert_eq!(response.status, expected, "{path}: {detail}");
        assert!(detail.contains(part), "{path}: {detail}");
    }
    // A request without texts, as the load generator sends it.
    let example = server.get("/predictions_neuron_core_0/model_0");
    assert_eq!(example.status, 200, "{example:?}");
    assert_eq!(
        server.get("/banana/model_0").json()["code"],
        "unknown_route"
    );
    let posted = server.post("/predictions_neuron_core_0/model_0", &json!({}));
    assert_eq!(
        (posted.status, posted.headers["allow"].as_str()),
        (405, "GET")
    );
    let other = shared("feature-extraction").get("/predictions_neuron_core_0/model_0");
    assert_eq!(
        (other.status, &other.json()["code"]),
        (422, &json!("wrong_task"))
    );
}

#[test]
fn health_is_not_a_constant() {
    let server = shared("question-answering");
    assert_eq!(server.get("/").json(), json!({"Status": "Healthy"}));
    assert_eq!(server.get("/ping").status, 200);
    let running = serve("question-answering", 1);
    let Running { server, place } = &running;
    // No worker can be started in place of the one that dies.
    let (bundle, hidden) = (place.path("bundle"), place.path("hidden"));
    std::fs::rename(&bundle, &hidden).unwrap();
    send(server.wait_ready(1)[0], rustix::process::Signal::KILL);
    wait_until("the worker is gone", || {
        (server.workers()[0].is_none()).then_some(())
    });
    const PATHS: [&str; 5] = ["/health/ready", "/", "/ping", "/health", "/v2/health/ready"];
    for path in PATHS {
        assert_eq!(server.get(path).status, 503, "{path}");
    }
    assert_eq!(server.get("/").json(), json!({"Status": "Unhealthy"}));
    std::fs::rename(&hidden, &bundle).unwrap();
    server.wait_ready(1);
    for path in PATHS {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

#[test]
fn sagemaker_asks_the_first_model_or_the_one_of_the_header() {
    let place = Workplace::new();
    for name in ["feature-extraction", "text-classification"] {
        place.traced(&fixture(name), name, &shapes(name));
    }
    let args = [
        "--cores",
        "1",
        "--models-per-core",
        "2",
        "--model",
        "embed=feature-extraction",
        "--model",
        "classify=text-classification",
    ];
    let server = Server::start_with(&place, &args);
    let running = Running { server, place };
    running.wait_ready(1);
    let invoke = |header: &str| {
        let body = json!({"inputs": "the cat"}).to_string();
        let mut client: Client = running.client();
        let head = format!(
            "POST /invocations HTTP/1.1\r\nhost: t\r\n{header}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write(head.as_bytes()).unwrap();
        client.read().unwrap()
    };
    let vector: Value = invoke("").json();
    assert!(vector[0].is_number(), "{vector}");
    assert_eq!(
        vector,
        running.post("/", &json!({"inputs": "the cat"})).json()
    );
    let labels = invoke("X-Amzn-SageMaker-Target-Model: classify\r\n").json();
    assert!(labels[0][0]["label"].is_string(), "{labels}");
    assert_eq!(
        invoke("X-Amzn-SageMaker-Target-Model: nobody\r\n").status,
        404
    );
    // Routes of Text Embeddings Inference find the model that they are for.
    assert_eq!(
        running
            .post("/predict", &json!({"inputs": "the cat"}))
            .status,
        200
    );
    assert_eq!(
        running.post("/embed", &json!({"inputs": "the cat"})).status,
        200
    );
    assert_eq!(
        running.get("/v1/models").json()["data"][1]["id"],
        "classify"
    );
    assert_eq!(
        running.get("/predictions_neuron_core_0/classify").status,
        422
    );
}
