//! The way of a request through the server, whatever its protocol. It knows no HTTP: a refusal has a code and
//! a message here, and each protocol gives it a form.
//!
//! A protocol finds its model in the `view` of its listener, and hands what it makes of the request to `run`.
//! `context` has the deadline and the size of the request, `body_budget` bounds the memory of all bodies, and
//! `refusal` is why a request is not answered. `traffic` counts what came, and `record` notes for it, and for
//! traces, what a request has run. `frontend` holds what all listeners share.

pub(crate) mod body_budget;
pub(crate) mod context;
pub(crate) mod frontend;
pub(crate) mod record;
pub(crate) mod refusal;
pub(crate) mod run;
pub(crate) mod traffic;
pub(crate) mod view;
