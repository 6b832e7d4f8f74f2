//! Values that are not numbers: only the request that has them is refused, and the worker goes on.

use std::fs;
use std::thread;

use rustix::process::Signal;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::json;

use crate::serve::server::{Running, Server, send, shapes};
use crate::support::{Workplace, copy_of};

const NAME: &str = "feature-extraction";
const WEIGHTS: &str = "model.safetensors";

/// A server of a model that knows no number for the word `museum`.
fn server() -> Running {
    let place = Workplace::new();
    let model = copy_of(NAME, &place.path("model"));
    let vocabulary: serde_json::Value =
        serde_json::from_slice(&fs::read(model.join("tokenizer.json")).unwrap()).unwrap();
    let id = vocabulary["model"]["vocab"]["museum"].as_u64().unwrap();
    let id = usize::try_from(id).unwrap();

    let bytes = fs::read(model.join(WEIGHTS)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let changed = tensors.tensors().into_iter().map(|(name, tensor)| {
        let mut data = tensor.data().to_vec();
        if name.ends_with("word_embeddings.weight") {
            let size = 4 * tensor.shape()[1];
            let nan = f32::NAN.to_le_bytes().repeat(tensor.shape()[1]);
            data[id * size..(id + 1) * size].copy_from_slice(&nan);
        }
        (name, tensor.dtype(), tensor.shape().to_vec(), data)
    });
    let changed: Vec<_> = changed.collect();
    let views = changed.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    let bytes = safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap();
    fs::write(model.join(WEIGHTS), bytes).unwrap();

    let bundle = place.traced(&model, "bundle", &shapes(NAME));
    let server = Server::start(&place, &bundle, 1);
    server.wait_ready(1);
    Running { server, place }
}

#[test]
fn only_the_request_that_has_them_is_refused() {
    let server = server();
    let path = format!("/predict/{}", server.model);
    let worker = server.wait_ready(1)[0];
    let expected = server.post(&path, &json!({"inputs": "the cat"})).json();
    // Both wait until the worker goes on, and run in one batch of two.
    send(worker, Signal::STOP);
    thread::scope(|scope| {
        let ask = |text: &'static str| {
            let (server, path) = (&server, &path);
            scope.spawn(move || server.post(path, &json!({"inputs": text})))
        };
        // Of a length that was not run before: nobody knows when it ends, and nothing is handed over ahead.
        let first = ask("a book a book a book a book a book a book a book a book");
        server.wait_handed_over();
        let (good, bad) = (ask("the cat"), ask("the museum"));
        server.wait_queued(&server.model, 2);
        send(worker, Signal::CONT);
        assert_eq!(first.join().unwrap().status, 200);
        let (good, bad) = (good.join().unwrap(), bad.join().unwrap());
        assert_eq!(good.status, 200, "{good:?}");
        assert_eq!((bad.status, &bad.json()["code"]), (500, &json!("numeric")));
        let bucket = &good.headers["x-neuronc-buckets"];
        assert!(bucket.starts_with("2x"), "{bucket}");
        let vector = |value: &serde_json::Value| -> Vec<f32> {
            serde_json::from_value(value.clone()).unwrap()
        };
        let pairs = vector(&good.json()).into_iter().zip(vector(&expected));
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
    });
    let list = server.post(&path, &json!({"inputs": ["the cat", "the museum"]}));
    assert_eq!(list.json()["code"], "numeric");
    let openai = json!({"model": server.model, "input": "the museum"});
    let openai = server.post("/v1/embeddings", &openai);
    assert_eq!(
        (openai.status, &openai.json()["error"]["code"]),
        (500, &json!("numeric"))
    );
    let tei = server.post("/embed", &json!({"inputs": "the museum"}));
    assert_eq!(
        (tei.status, &tei.json()["error_type"]),
        (424, &json!("Backend"))
    );
    // A model that answers others is not at fault as a whole: the worker stays.
    assert_eq!(server.wait_ready(1), [worker]);
}
