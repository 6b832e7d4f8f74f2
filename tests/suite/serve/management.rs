//! What is served changes while the server runs, and no request notices.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::serve::client::Client;
use crate::serve::load::Load;
use crate::serve::server::{Server, send};
use crate::serve::wait_until;
use crate::support::{Workplace, edit_json, fixture};

/// A server of model `m` in buckets of 12 tokens, with a port for management, and another bundle of the
/// same model in buckets of 16 tokens.
pub(super) struct Managed {
    pub(super) server: Server,
    pub(super) address: SocketAddr,
    pub(super) other: PathBuf,
    pub(super) place: Workplace,
}

impl Managed {
    pub(super) fn start(cores: usize) -> Self {
        let place = Workplace::new();
        let traced = |name: &str, length: &str| {
            let shapes = ["--batch-size", "1,2", "--sequence-length", length];
            place.traced(&fixture("feature-extraction"), name, &shapes)
        };
        let model = format!("m={}", traced("one", "12").display());
        let other = traced("other", "16");
        let cores_text = cores.to_string();
        let args = [
            "--model",
            &model,
            "--cores",
            &cores_text,
            "--management-port",
            "0",
        ];
        let mut server = Server::start_with(&place, &args);
        let address = server.management();
        server.wait_ready(cores);
        Self {
            server,
            address,
            other,
            place,
        }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let mut client = Client::connect(self.address).unwrap();
        let response = client.send(method, path, body.as_bytes()).unwrap();
        (response.status, response.json())
    }

    /// Makes a change, which has to succeed; whether there was anything to change.
    #[track_caller]
    pub(super) fn change(&self, method: &str, path: &str, body: &Value) -> bool {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!(status, 200, "{answer}");
        answer["changed"].as_bool().unwrap()
    }

    /// A change is refused with this status and code, and a message with this part.
    #[track_caller]
    pub(super) fn check_refused(&self, change: (&str, &str, Value), refusal: (u16, &str, &str)) {
        let (method, path, body) = change;
        let (status, answer) = self.ask(method, path, &body);
        let code = answer["code"].as_str().unwrap();
        assert_eq!((status, code), (refusal.0, refusal.1), "{answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(refusal.2), "{answer}");
        assert!(!error.contains('\n'), "{answer}");
    }

    pub(super) fn status(&self) -> Value {
        self.ask("GET", "/admin/status", &Value::Null).1
    }

    pub(super) fn put_other(&self, name: &str) -> bool {
        let body = json!({"bundle": self.other});
        self.change("PUT", &format!("/admin/models/{name}"), &body)
    }

    /// The sequence length of the bucket in which a short text runs under that name.
    pub(super) fn bucket(&self, name: &str) -> String {
        let bucket = self.header(name, "x-neuronc-buckets");
        bucket.split_once('x').unwrap().1.to_owned()
    }

    /// A header of what is answered under that name.
    fn header(&self, name: &str, header: &str) -> String {
        let path = format!("/predict/{name}");
        let response = self.server.post(&path, &json!({"inputs": "the cat"}));
        assert_eq!(response.status, 200, "{response:?}");
        response.headers[header].clone()
    }
}

#[test]
fn a_model_is_replaced_under_load_and_no_request_notices() {
    let managed = Managed::start(2);
    let load = Load::start(&managed.server, 6);
    load.wait_answers(50);
    assert_eq!(managed.bucket("m"), "12");
    let workers = managed.server.workers();
    thread::scope(|scope| {
        let replaced = scope.spawn(|| {
            for bundle in ["other", "one", "other"] {
                let body = json!({"bundle": managed.place.path(bundle)});
                assert!(managed.change("PUT", "/admin/models/m", &body));
            }
        });
        // A route that names no model takes the first one.
        let mut client = managed.server.client();
        while !replaced.is_finished() {
            let response = client.post("/", &json!({"inputs": "the cat"})).unwrap();
            assert_eq!(response.status, 200, "{response:?}");
        }
        replaced.join().unwrap();
    });
    assert_eq!(managed.bucket("m"), "16");
    assert!(!managed.put_other("m"), "it is that bundle already");
    load.wait_answers(50);
    load.finish();
    assert_eq!(managed.server.workers(), workers, "no process was replaced");
    for core in managed.status()["cores"].as_array().unwrap() {
        let models = json!([{"name": "m", "state": "loaded", "cause": null}]);
        assert_eq!(core["models"], models);
    }
}

#[test]
fn cores_load_one_after_the_other_and_the_others_answer_meanwhile() {
    let managed = Managed::start(2);
    let worker = managed.server.wait_ready(2)[0];
    send(worker, Signal::STOP);
    thread::scope(|scope| {
        let put = scope.spawn(|| managed.put_other("m"));
        let models = |core: usize| {
            let models = managed.status()["cores"][core]["models"].clone();
            models.as_array().unwrap().len()
        };
        wait_until("core 0 loads the other bundle", || {
            (models(0) == 2 && managed.server.waiting_cores() == [0]).then_some(())
        });
        assert_eq!(models(1), 1, "core 1 loads too");
        assert_eq!(managed.bucket("m"), "12");
        send(worker, Signal::CONT);
        assert!(put.join().unwrap());
    });
    assert_eq!(
        (managed.bucket("m"), managed.bucket("m")),
        ("16".into(), "16".into())
    );
}

#[test]
fn a_bundle_that_cannot_run_replaces_nothing_and_costs_no_worker() {
    let managed = Managed::start(2);
    let workers = managed.server.workers();
    // A sealed bundle whose second graph is one of another shape.
    edit_json(&managed.other.join("manifest.json"), |manifest| {
        let artifacts = manifest["artifacts"].as_array_mut().unwrap();
        let file = artifacts[0]["file"].clone();
        artifacts[1]["file"] = file;
    });
    let body = json!({"bundle": managed.other});
    let change = ("PUT", "/admin/models/m", body.clone());
    managed.check_refused(change, (500, "change_failed", "warming up bucket 2x16"));
    assert_eq!(managed.bucket("m"), "12");
    let change = ("PUT", "/admin/models/new", body);
    managed.check_refused(change, (500, "change_failed", "2x16"));
    let status = managed.status();
    assert_eq!(status["models"].as_array().unwrap().len(), 1, "{status}");
    for core in status["cores"].as_array().unwrap() {
        assert_eq!(core["restarts"], 0, "{core}");
    }
    assert_eq!(managed.server.workers(), workers);
    let log = managed.server.log();
    let tries = log.matches("a model cannot be loaded").count();
    assert_eq!(tries, 2, "core 1 has tried as well:\n{log}");
    assert_eq!(managed.bucket("m"), "12");
}

#[test]
fn models_come_and_go_and_the_last_copy_stays() {
    let managed = Managed::start(2);
    let on_core = |core: &str| json!({"bundle": managed.other, "cores": core});
    assert!(managed.change("PUT", "/admin/models/n", &on_core("1")));
    assert!(!managed.change("PUT", "/admin/models/n", &on_core("1")));
    assert_eq!(managed.bucket("n"), "16");
    assert!(managed.change("PUT", "/admin/models/n", &json!({"cores": "0-1"})));
    let cores = &managed.status()["models"][1]["cores"];
    assert_eq!(*cores, json!(["0", "1"]));
    assert!(managed.change("DELETE", "/admin/models/n?cores=1", &Value::Null));
    assert!(!managed.change("DELETE", "/admin/models/n?cores=1", &Value::Null));
    let last = ("DELETE", "/admin/models/n", Value::Null);
    managed.check_refused(last, (409, "conflict", "last copy"));
    assert!(managed.change("DELETE", "/admin/models/n?force=true", &Value::Null));
    assert!(!managed.change("DELETE", "/admin/models/n?force=true", &Value::Null));
    let gone = managed.server.post("/predict/n", &json!({"inputs": "a"}));
    assert_eq!(gone.status, 404);
    // All of them, and back.
    assert!(managed.change("DELETE", "/admin/models/m?force=true", &Value::Null));
    assert_eq!(managed.status()["cores"][0]["state"], "empty");
    assert!(managed.put_other("m"));
    assert_eq!(managed.bucket("m"), "16");
}

#[test]
fn a_bundle_with_two_names_outlives_one_of_them() {
    let managed = Managed::start(1);
    let workers = managed.server.workers();
    assert!(managed.put_other("n"));
    assert!(managed.put_other("o"));
    for (gone, left) in [("n", "o"), ("o", "m")] {
        let path = format!("/admin/models/{gone}?force=true");
        assert!(managed.change("DELETE", &path, &Value::Null));
        managed.bucket(left);
    }
    // One of them is another bundle now.
    assert!(managed.put_other("n"));
    assert!(managed.put_other("m"));
    let one = json!({"bundle": managed.place.path("one")});
    assert!(managed.change("PUT", "/admin/models/n", &one));
    assert_eq!(
        (managed.bucket("m"), managed.bucket("n")),
        ("16".to_owned(), "12".to_owned())
    );
    assert_eq!(managed.server.workers(), workers, "no process was replaced");
}

#[test]
fn a_copy_is_one_that_answers() {
    let managed = Managed::start(2);
    let (folder, aside) = (managed.place.path("one"), managed.place.path("aside"));
    fs::rename(&folder, &aside).unwrap();
    let worker = managed.server.wait_ready(2)[1];
    send(worker, Signal::KILL);
    wait_until("core 1 is without a worker", || {
        let state = managed.status()["cores"][1]["state"].clone();
        (state != "ready").then_some(())
    });
    // Core 1 is to have the model, and has none.
    let last = ("DELETE", "/admin/models/m?cores=0", Value::Null);
    managed.check_refused(last, (409, "conflict", "last copy"));
    assert_eq!(managed.bucket("m"), "12");
    // What does not answer is nobody's last copy.
    assert!(managed.change("DELETE", "/admin/models/m?cores=1", &Value::Null));
    assert_eq!(managed.bucket("m"), "12");
    fs::rename(&aside, &folder).unwrap();
    assert!(managed.change("PUT", "/admin/models/m", &json!({"cores": "0-1"})));
    assert!(managed.change("DELETE", "/admin/models/m?cores=0", &Value::Null));
    assert_eq!(managed.bucket("m"), "12");
}

#[test]
fn what_was_accepted_is_answered_before_a_model_goes() {
    let managed = Managed::start(1);
    let worker = managed.server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    thread::scope(|scope| {
        let asked = scope.spawn(|| managed.bucket("m"));
        managed.server.wait_handed_over();
        let path = "/admin/models/m?force=true";
        let taken = scope.spawn(|| managed.change("DELETE", path, &Value::Null));
        wait_until("the model has lost its name", || {
            let models = managed.status()["models"].clone();
            models.as_array().unwrap().is_empty().then_some(())
        });
        assert!(!asked.is_finished() && !taken.is_finished());
        send(worker, Signal::CONT);
        assert_eq!(asked.join().unwrap(), "12");
        assert!(taken.join().unwrap());
    });
}

#[test]
fn an_alias_shares_requests_out_and_goes_back_at_once() {
    let managed = Managed::start(1);
    managed.put_other("new");
    let set = |weights: Value| {
        let body = json!({"models": weights});
        managed.change("PUT", "/admin/aliases/best", &body)
    };
    assert!(set(json!({"m": 1})));
    assert!(!set(json!({"m": 1})));
    assert_eq!(managed.bucket("best"), "12");
    let listed = managed.server.get("/v1/models").json()["data"].clone();
    let listed = listed.as_array().unwrap().iter();
    let listed: Vec<Value> = listed.map(|model| model["id"].clone()).collect();
    assert_eq!(listed, ["m", "new", "best"]);
    assert_eq!(managed.server.get("/v1/models/best").json()["id"], "best");
    assert!(set(json!({"m": 3, "new": 1})));
    let turn = || managed.header("best", "x-neuronc-model");
    let turns: Vec<String> = (0..8).map(|_| turn()).collect();
    let of = |model: &str| turns.iter().filter(|turn| *turn == model).count();
    assert_eq!((of("m"), of("new")), (6, 2), "{turns:?}");
    let used = ("DELETE", "/admin/models/new?force=true", Value::Null);
    managed.check_refused(used, (409, "conflict", "the alias `best`"));
    assert!(managed.change("POST", "/admin/aliases/best/rollback", &Value::Null));
    assert!((0..4).all(|_| managed.bucket("best") == "12"));
    let aliases = managed.status()["aliases"].clone();
    let expected = json!({"best": {"models": {"m": 1}, "previous": {"m": 3, "new": 1}}});
    assert_eq!(aliases, expected);
    assert!(managed.change("DELETE", "/admin/aliases/best", &Value::Null));
    assert!(!managed.change("DELETE", "/admin/aliases/best", &Value::Null));
    assert!(managed.change("DELETE", "/admin/models/new?force=true", &Value::Null));
}

#[test]
fn changes_that_mean_nothing_are_refused() {
    let managed = Managed::start(1);
    let put = |path: &'static str, body: Value| ("PUT", path, body);
    let invalid = |part: &'static str| (422, "bad_parameter", part);
    let nowhere = json!({"bundle": "/nowhere"});
    managed.check_refused(put("/admin/models/x", nowhere), invalid("no such folder"));
    let beyond = json!({"bundle": managed.other, "cores": "7"});
    managed.check_refused(put("/admin/models/x", beyond), invalid("there are 0"));
    let unknown = (404, "unknown_model", "give the folder");
    managed.check_refused(put("/admin/models/x", Value::Null), unknown);
    let odd = json!({"bundel": 1});
    managed.check_refused(put("/admin/models/x", odd), (422, "wrong_type", "bundel"));
    let list = put("/admin/models/m", json!([null, null]));
    managed.check_refused(list, (422, "wrong_type", "a list, and not an object"));
    for name in ["a%20b", "%ff", "a%0ab", ".a", "..."] {
        let path = format!("/admin/models/{name}");
        managed.check_refused(("PUT", &path, Value::Null), invalid("a name is made"));
        let path = format!("/v2/repository/models/{name}/load");
        let (status, answer) = managed.ask("POST", &path, &Value::Null);
        let error = answer["error"].as_str().unwrap();
        assert!(
            status == 400 && error.contains("a name is made"),
            "{answer}"
        );
    }
    let alias = |weights: Value| json!({"models": weights});
    let path = "/admin/aliases/best";
    managed.check_refused(put(path, alias(json!({"x": 1}))), invalid("no model `x`"));
    managed.check_refused(put(path, alias(json!({"m": 0}))), invalid("weight above 0"));
    let taken = put("/admin/aliases/m", alias(json!({"m": 1})));
    managed.check_refused(taken, (409, "conflict", "`m` is a model"));
    let back = ("POST", "/admin/aliases/best/rollback", Value::Null);
    managed.check_refused(back, (404, "unknown_model", "no alias"));
    let shapes = ["--batch-size", "1", "--sequence-length", "16"];
    let other = fixture("fill-mask");
    let masks = managed.place.traced(&other, "masks", &shapes);
    assert!(managed.change("PUT", "/admin/models/masks", &json!({"bundle": masks})));
    let mixed = put(path, alias(json!({"m": 1, "masks": 1})));
    managed.check_refused(mixed, (409, "conflict", "different tasks"));
    // A bundle of a chip that is not here.
    edit_json(&managed.other.join("manifest.json"), |manifest| {
        manifest["plan"]["chip"] = json!("inf2");
    });
    let other = json!({"bundle": managed.other});
    managed.check_refused(put("/admin/models/x", other), invalid("chip `inf2`"));
}

#[test]
fn only_the_port_for_management_changes_anything() {
    let managed = Managed::start(1);
    let server = &managed.server;
    assert_eq!(server.get("/admin/status").status, 404);
    let mut client = server.client();
    let put = client.send("PUT", "/admin/models/m", b"{}").unwrap();
    assert_eq!(put.status, 404);
    let unload = "/v2/repository/models/m/unload";
    let load = "/v2/repository/models/n/load";
    let body = json!({"parameters": {"bundle": managed.other}});
    assert_eq!(server.post(unload, &json!({})).status, 400);
    assert_eq!(server.post(load, &body).status, 404);
    let mut operator = Client::connect(managed.address).unwrap();
    assert_eq!(operator.post(load, &body).unwrap().status, 200);
    assert_eq!(managed.bucket("n"), "16");
    assert_eq!(operator.post(unload, &json!({})).unwrap().status, 200);
    assert_eq!(server.predict(&json!({"inputs": "a"})).status, 404);
}

#[test]
fn a_core_that_hangs_is_seen_to_work() {
    let managed = Managed::start(1);
    managed.bucket("m");
    let worker = managed.server.wait_ready(1)[0];
    let core = || managed.status()["cores"][0].clone();
    let before = core();
    send(worker, Signal::STOP);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| managed.bucket("m"));
        wait_until("half a second of work shows", || {
            let seconds = |core: &Value| core["busy_seconds"].as_f64().unwrap();
            let now = core();
            (seconds(&now) > seconds(&before) + 0.5).then_some(())
        });
        assert_eq!(core()["total"], before["total"], "nothing is done");
        send(worker, Signal::CONT);
        waiting.join().unwrap();
    });
}

#[test]
fn an_alias_is_changed_while_a_model_is_being_loaded() {
    let managed = Managed::start(1);
    let worker = managed.server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    thread::scope(|scope| {
        let loading = scope.spawn(|| managed.put_other("n"));
        wait_until("the core is to load it", || {
            let models = managed.status()["cores"][0]["models"].clone();
            models.to_string().contains("loading").then_some(())
        });
        let body = json!({"models": {"m": 1}});
        assert!(managed.change("PUT", "/admin/aliases/best", &body));
        assert!(!loading.is_finished());
        send(worker, Signal::CONT);
        assert!(loading.join().unwrap());
    });
    assert_eq!(
        (managed.bucket("best"), managed.bucket("n")),
        ("12".to_owned(), "16".to_owned())
    );
}

#[test]
fn a_name_that_becomes_an_alias_while_its_model_is_loaded_stays_one() {
    let managed = Managed::start(1);
    let worker = managed.server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    let change = || ("PUT", "/admin/models/n", json!({"bundle": managed.other}));
    thread::scope(|scope| {
        let refused =
            scope.spawn(|| managed.check_refused(change(), (409, "conflict", "`n` is an alias")));
        wait_until("the core is to load it", || {
            let models = managed.status()["cores"][0]["models"].clone();
            models.to_string().contains("loading").then_some(())
        });
        assert!(managed.change("PUT", "/admin/aliases/n", &json!({"models": {"m": 1}})));
        send(worker, Signal::CONT);
        refused.join().unwrap();
    });
    assert_eq!(managed.bucket("n"), "12");
    wait_until("nothing is left of it", || {
        let models = managed.status()["cores"][0]["models"].clone();
        (models.as_array().unwrap().len() == 1).then_some(())
    });
}
