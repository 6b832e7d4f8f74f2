//! What becomes of a server whose bundles are moved, replaced or written into.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::serve::management::Managed;
use crate::serve::server::send;
use crate::serve::wait_until;
use crate::support::copy_folder;

#[test]
fn a_bundle_that_was_moved_is_served_from_where_it_is_now() {
    let managed = Managed::start(1);
    let moved = managed.place.path("moved");
    let put = |folder: &Path| managed.change("PUT", "/admin/models/m", &json!({"bundle": folder}));
    assert!(!put(&managed.place.path("one")), "it is served already");
    fs::rename(managed.place.path("one"), &moved).unwrap();
    send(managed.server.wait_ready(1)[0], Signal::KILL);
    let cause = wait_until("the core is given up", || {
        let core = managed.status()["cores"][0].clone();
        (core["state"] == "broken").then(|| core["cause"].as_str().unwrap().to_owned())
    });
    assert!(
        cause.contains("is not a bundle: there is no such folder; "),
        "{cause}"
    );
    assert!(put(&moved));
    assert_eq!(managed.bucket("m"), "12");
    // The next worker starts from there.
    send(managed.server.wait_ready(1)[0], Signal::KILL);
    assert_eq!(managed.bucket("m"), "12");
}

#[test]
fn a_bundle_that_was_replaced_on_disk_is_not_mixed_with_the_old_one() {
    let managed = Managed::start(2);
    let folder = managed.place.path("one");
    fs::rename(&folder, managed.place.path("old")).unwrap();
    fs::rename(&managed.other, &folder).unwrap();
    // What is loaded goes on.
    assert_eq!(managed.bucket("m"), "12");
    let worker = managed.server.wait_ready(2)[0];
    send(worker, Signal::KILL);
    let cause = wait_until("the core says why it does not start", || {
        let status = managed.status();
        let cause = status["cores"][0]["models"][0]["cause"]
            .as_str()?
            .to_owned();
        Some(cause)
    });
    assert!(cause.contains("was replaced"), "{cause}");
    assert_eq!(managed.bucket("m"), "12", "the other core has it");
    // Serving what is there now mends both.
    assert!(managed.change("PUT", "/admin/models/m", &json!({"bundle": folder})));
    assert_eq!(managed.bucket("m"), "16");
    managed.server.wait_ready(2);
}

#[test]
fn what_was_written_into_a_bundle_is_not_accepted_and_a_copy_mends_it() {
    let managed = Managed::start(2);
    let (folder, copy) = (managed.place.path("one"), managed.place.path("copy"));
    copy_folder(&folder, &copy);
    let ask = || {
        managed
            .server
            .post("/predict/m", &json!({"inputs": "the cat"}))
    };
    let expected = ask().json();
    let weights = folder.join("weights.safetensors");
    let bytes = fs::read(&weights).unwrap();
    let file = OpenOptions::new().write(true).open(&weights).unwrap();
    let end = bytes.len() - 64;
    let others: Vec<u8> = bytes[end..].iter().map(|byte| byte ^ 1).collect();
    file.write_all_at(&others, end as u64).unwrap();
    send(managed.server.wait_ready(2)[0], Signal::KILL);
    let cause = wait_until("the core says why it does not start", || {
        let core = managed.status()["cores"][0].clone();
        core["models"][0]["cause"].as_str().map(str::to_owned)
    });
    assert!(
        cause.contains("has another sha256 than the manifest"),
        "{cause}"
    );
    let put = |folder: &Path| ("PUT", "/admin/models/m", json!({"bundle": folder}));
    managed.check_refused(put(&folder), (422, "bad_parameter", "another sha256"));
    let (method, path, body) = put(&copy);
    assert!(managed.change(method, path, &body));
    assert_eq!(ask().json(), expected);
    // Also the worker that still had the damaged one.
    for worker in managed.server.wait_ready(2) {
        let maps = fs::read_to_string(format!("/proc/{worker}/maps")).unwrap();
        let weights = copy.join("weights.safetensors");
        assert!(maps.contains(&*weights.to_string_lossy()), "{maps}");
    }
}

#[test]
fn a_model_that_no_core_could_load_goes_without_force() {
    let managed = Managed::start(1);
    managed.put_other("b");
    fs::rename(&managed.other, managed.place.path("aside")).unwrap();
    send(managed.server.wait_ready(1)[0], Signal::KILL);
    wait_until("it is not loaded", || {
        let models = managed.status()["cores"][0]["models"].clone();
        models.to_string().contains("failed").then_some(())
    });
    assert!(managed.change("DELETE", "/admin/models/b", &Value::Null));
    assert_eq!(managed.bucket("m"), "12");
}

#[test]
fn a_model_that_could_not_be_loaded_is_refused_at_once_and_served_when_it_can_be() {
    let managed = Managed::start(1);
    managed.put_other("b");
    let aside = managed.place.path("aside");
    fs::rename(&managed.other, &aside).unwrap();
    let worker = managed.server.wait_ready(1)[0];
    let ask = || {
        managed
            .server
            .post("/predict/b", &json!({"inputs": "the cat"}))
    };
    send(worker, Signal::STOP);
    thread::scope(|scope| {
        let waiting = scope.spawn(ask);
        managed.server.wait_handed_over();
        send(worker, Signal::KILL);
        let refused = waiting.join().unwrap();
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.json()["code"], "not_ready");
    });
    assert_eq!(
        managed.bucket("m"),
        "12",
        "the core goes on with what it holds"
    );
    let refused = ask();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    // Whoever looks sees which one, and why.
    let health = managed.server.get("/health/ready");
    let cause = health.json()["cores"][0]["failed"]["b"].to_string();
    assert!(cause.contains("no such folder"), "{health:?}");
    let metrics = String::from_utf8(managed.server.get("/metrics").body).unwrap();
    for sample in [
        "neuronc_model_cores{model=\"b\"} 0",
        "neuronc_model_cores{model=\"m\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{metrics}");
    }
    let address = managed.address.to_string();
    let top = managed
        .place
        .run(&["top", &address, "--once", "--interval", "100ms"]);
    assert!(top.succeeds().stdout().contains("core 0 has no `b`: "));
    let other = managed.server.wait_ready(1)[0];
    fs::rename(&aside, &managed.other).unwrap();
    let bucket = wait_until("the model is loaded", || {
        let response = ask();
        (response.status == 200).then(|| response.headers["x-neuronc-buckets"].clone())
    });
    assert_eq!(bucket, "1x16");
    assert_eq!(managed.server.wait_ready(1)[0], other, "by the same worker");
    let models = managed.status()["cores"][0]["models"].clone();
    assert!(!models.to_string().contains("failed"), "{models}");
}
