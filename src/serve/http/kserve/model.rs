//! The model and the version that a path names.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;

use crate::serve::core::models::ModelLease;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::view::ServerView;

/// The name of the version that every model has.
pub(super) const VERSION: &str = "1";

/// The path parameters of a route: a model, and perhaps a version.
pub(super) type PathParts = Result<Path<Vec<String>>, PathRejection>;

/// The model and version of a path.
pub(super) fn find(view: &ServerView, parts: PathParts) -> Result<ModelLease, Refusal> {
    let parts = parts.map(|Path(parts)| parts).unwrap_or_default();
    let model = view.find_model(parts.first().map_or("", String::as_str))?;
    match parts.get(1) {
        Some(version) if version != VERSION => {
            Err(Refusal::new(Code::UnknownModel, "there is no such version")
                .help(&format!("the model has version {VERSION}")))
        }
        _ => Ok(model),
    }
}
