//! A device that finds NaN in what it computed: the requests are refused as such, and the worker is
//! replaced, as a good input has them too.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use neuronc::placement::cores::CoreList;
use neuronc::placement::machine::{Machine as Instance, MachineMemory};
use neuronc::placement::memory::ModelTensors;
use neuronc::placement::{self, Placement, model::Model};
use neuronc::serve::{
    self, Deployment, Limits, Listener, ListenerOptions, ListenerRole, Runtime, Shutdown,
};
use serde_json::{Value, json};

use crate::plugin::chip::{Bundles, ChipMachine};
use crate::serve::wait_until;

/// One core of a chip, and the bundle on it.
fn placed(bundle: &neuronc::bundle::Bundle) -> Placement {
    let instance = Instance {
        name: "the double".to_owned(),
        cores: 1,
        cores_per_device: Some(2),
        memory: MachineMemory::PerCore(16 << 30),
        vcpus: None,
        virtual_core_size: None,
    };
    let profile = neuronc::profile::load("inf2").unwrap();
    let tensors = ModelTensors {
        weights: Vec::new(),
        output: bundle.manifest.output,
    };
    let model = Model::new("m", &bundle.manifest.plan, &tensors, &profile, None).unwrap();
    placement::place(instance, &CoreList::first(1), 1, vec![model]).unwrap()
}

/// Status and body of the answer to a request.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = "HTTP/1.1\r\nhost: t\r\nconnection: close\r\n";
    write!(
        stream,
        "{method} {path} {head}content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn what_the_device_calls_numeric_is_answered_as_such() {
    let bundles = Bundles::shared();
    let bundle = bundles.chip();
    let machine = ChipMachine::new();
    let deployment = Deployment {
        placement: placed(&bundle),
        profile: neuronc::profile::load("inf2").unwrap(),
        bundles: vec![bundle],
        runtime: Runtime::Processes(machine.backend(None)),
        log: tempfile::tempfile().unwrap(),
        limits: Limits::STANDARD,
    };
    let socket = serve::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let listeners = vec![Listener {
        socket,
        role: ListenerRole::All,
    }];
    let (stop, told) = tokio::sync::watch::channel(Shutdown::NotYet);
    let server =
        thread::spawn(move || serve::run(deployment, ListenerOptions::default(), listeners, told));
    let predict = |texts: Value| {
        let body = json!({"inputs": texts}).to_string();
        ask(address, "POST", "/predict/m", &body)
    };
    let worker = || ask(address, "GET", "/health/ready", "").1["cores"][0]["pid"].take();
    // A request waits until the worker is ready.
    assert_eq!(predict(json!("the cat")).0, 200);
    let mut process = worker();
    assert!(process.is_number());

    let setting = machine.plugin().with_file_name("neuronc-double.json");
    let fault = |name: &str| {
        let text = json!({"runtime": name}).to_string();
        fs::write(&setting, text).unwrap();
    };
    for texts in [json!("the cat"), json!(["the cat", "the river"])] {
        fault("exec:1003");
        let (status, answer) = predict(texts);
        assert_eq!(
            (status, &answer["code"]),
            (500, &json!("numeric")),
            "{answer}"
        );
        // It has them for every input: the device is to blame, and its worker is replaced.
        wait_until("the worker is lost", || (worker() != process).then_some(()));
        fs::remove_file(&setting).unwrap();
        wait_until("a worker answers again", || {
            (predict(json!("the cat")).0 == 200).then_some(())
        });
        process = worker();
    }
    fault("exec:4");
    // Another status is not the request's fault.
    let (status, answer) = predict(json!("the cat"));
    assert_eq!(
        (status, &answer["code"]),
        (500, &json!("internal")),
        "{answer}"
    );
    fs::remove_file(&setting).unwrap();
    assert_eq!(predict(json!("the cat")).0, 200);
    assert_eq!(worker(), process);

    stop.send(Shutdown::WithoutNotice).unwrap();
    server.join().unwrap().unwrap();
}
