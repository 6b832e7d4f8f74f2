//! The way of a request through the server, whatever its protocol: what it may take, how it is run, and
//! why it is refused.

pub(crate) mod body_budget;
pub(crate) mod context;
pub(crate) mod run;
pub(crate) mod traffic;
