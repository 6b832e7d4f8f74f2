//! The routes of the port for management.

use serde_json::json;

use crate::serve::http::admin::{self, status};
use crate::serve::http::error;
use crate::serve::http::openapi::{Body, Paths, Reply, Route};

/// What has it is for admins, unless it needs no key at all.
pub(super) const TAG: &str = "management";

pub(super) fn routes(paths: &mut Paths) {
    looks(paths);
    page(paths);
    changes(paths);
    for (name, schema) in [
        (
            "cores",
            json!({"type": "string", "pattern": admin::CORES, "examples": ["0"]}),
        ),
        ("force", json!({"type": "boolean"})),
    ] {
        let parameter = json!({"name": name, "in": "query", "schema": schema});
        paths.parameter(("/admin/models/{model}", "delete"), parameter);
    }
}

fn looks(paths: &mut Paths) {
    let error = paths.answer::<error::NativeError<'static>>();
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
            tag: TAG,
            method: "get",
            path: format!("/admin/{name}"),
            summary,
            body: Body::Nothing,
            answer,
            refusals: &[],
            error: error.clone(),
        });
    }
}

fn page(paths: &mut Paths) {
    let error = paths.answer::<error::NativeError<'static>>();
    let files: [(_, _, &'static [&'static str]); 3] = [
        ("/ui", "The status page", &["text/html"]),
        ("/ui/page.css", "Its style", &["text/css"]),
        ("/ui/page.js", "Its script", &["text/javascript"]),
    ];
    for (path, summary, kinds) in files {
        paths.add(Route {
            tag: TAG,
            method: "get",
            path: path.to_owned(),
            summary,
            body: Body::Nothing,
            answer: Reply::Text(kinds),
            refusals: &[],
            error: error.clone(),
        });
    }
}

fn changes(paths: &mut Paths) {
    let error = paths.answer::<error::NativeError<'static>>();
    let model = paths.optional_request::<admin::ModelRequest>();
    let alias = paths.request::<admin::AliasRequest>();
    // What takes something away is content when it is not there.
    let taken: &[u16] = &[409, 422, 500];
    let found: &[u16] = &[404, 409, 422, 500];
    for (method, path, summary, body, refusals) in [
        (
            "put",
            "/admin/models/{model}",
            "Loads a model, puts it on more cores, or replaces it by another bundle",
            model,
            found,
        ),
        (
            "delete",
            "/admin/models/{model}",
            "Takes a model off cores, or away",
            Body::Nothing,
            taken,
        ),
        (
            "put",
            "/admin/aliases/{alias}",
            "Makes a name stand for models, each with its share of the requests",
            alias,
            taken,
        ),
        (
            "delete",
            "/admin/aliases/{alias}",
            "Takes an alias away",
            Body::Nothing,
            taken,
        ),
        (
            "post",
            "/admin/aliases/{alias}/rollback",
            "Gives an alias the models that it had before its last change",
            Body::Nothing,
            found,
        ),
    ] {
        let answer = paths.json::<admin::ChangeAnswer>();
        paths.add(Route {
            tag: TAG,
            method,
            path: path.to_owned(),
            summary,
            body,
            answer,
            refusals,
            error: error.clone(),
        });
    }
}
