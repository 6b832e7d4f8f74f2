//! The model of a request: the one that its path names, or the first one that the route is for.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;

use crate::family::Head;
use crate::serve::core::models::ModelLease;
use crate::serve::request::refusal::Refusal;
use crate::serve::request::view::ServerView;

/// A path parameter that only the routes under `/tei/{model}` have.
pub(super) type NamedModel = Result<Option<Path<String>>, PathRejection>;

/// The model that the path names, or the first one that `is_for` is true of.
pub(super) fn find(
    view: &ServerView,
    named: NamedModel,
    is_for: impl Fn(&Head) -> bool,
) -> Result<ModelLease, Refusal> {
    match named {
        Ok(Some(Path(name))) => view.find_model(&name),
        Ok(None) => view.default_model(is_for),
        // A name that is not UTF-8 is that of no model.
        Err(_) => view.find_model(""),
    }
}
