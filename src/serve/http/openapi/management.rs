//! The routes of the port for management.

use serde_json::json;

use crate::serve::http::admin::{self, status};
use crate::serve::http::answer;
use crate::serve::http::openapi::{Paths, Reply, Route};

pub(super) fn routes(paths: &mut Paths) {
    looks(paths);
    page(paths);
    changes(paths);
    for (name, schema) in [
        ("cores", json!({"type": "string"})),
        ("force", json!({"type": "boolean"})),
    ] {
        let parameter = json!({"name": name, "in": "query", "schema": schema});
        let parameters = &mut paths.paths["/admin/models/{model}"]["delete"]["parameters"];
        if let Some(parameters) = parameters.as_array_mut() {
            parameters.push(parameter);
        }
    }
}

fn looks(paths: &mut Paths) {
    let error = paths.answer::<answer::ErrorAnswer<'static>>();
    let all = paths.json::<status::ServerStatus>();
    let cores = paths.json::<Vec<status::CoreStatus>>();
    let models = paths.json::<Vec<status::ModelStatus>>();
    let aliases = paths.json::<std::collections::BTreeMap<String, status::AliasStatus>>();
    for (name, summary, answer) in [
        ("status", "What is served and how it does", all),
        ("cores", "The cores of it", cores),
        ("models", "The models of it", models),
        ("aliases", "The aliases of it", aliases),
    ] {
        paths.add(Route {
            tag: "management",
            method: "get",
            path: format!("/admin/{name}"),
            summary,
            request: None,
            answer,
            statuses: &[],
            error: error.clone(),
        });
    }
}

fn page(paths: &mut Paths) {
    let error = paths.answer::<answer::ErrorAnswer<'static>>();
    let files: [(_, _, &'static [&'static str]); 3] = [
        ("/ui", "The status page", &["text/html"]),
        ("/ui/page.css", "Its style", &["text/css"]),
        ("/ui/page.js", "Its script", &["text/javascript"]),
    ];
    for (path, summary, kinds) in files {
        paths.add(Route {
            tag: "management",
            method: "get",
            path: path.to_owned(),
            summary,
            request: None,
            answer: Reply::Text(kinds),
            statuses: &[],
            error: error.clone(),
        });
    }
}

fn changes(paths: &mut Paths) {
    let error = paths.answer::<answer::ErrorAnswer<'static>>();
    let model = paths.request::<admin::ModelRequest>();
    let alias = paths.request::<admin::AliasRequest>();
    for (method, path, summary, request) in [
        (
            "put",
            "/admin/models/{model}",
            "Loads a model, puts it on more cores, or replaces it by another bundle",
            model,
        ),
        (
            "delete",
            "/admin/models/{model}",
            "Takes a model off cores, or away",
            None,
        ),
        (
            "put",
            "/admin/aliases/{alias}",
            "Makes a name stand for models, each with its share of the requests",
            alias,
        ),
        (
            "delete",
            "/admin/aliases/{alias}",
            "Takes an alias away",
            None,
        ),
        (
            "post",
            "/admin/aliases/{alias}/rollback",
            "Gives an alias the models that it had before its last change",
            None,
        ),
    ] {
        let answer = paths.json::<admin::ChangeAnswer>();
        paths.add(Route {
            tag: "management",
            method,
            path: path.to_owned(),
            summary,
            request,
            answer,
            statuses: &[400, 404, 409, 413, 422, 500],
            error: error.clone(),
        });
    }
}
