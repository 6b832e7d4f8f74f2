//! Connections: how many there are, what each may take its time for, and how they end with the server.
//!
//! `accepting` takes them from a listener, here one is served until it ends; who is not served is told
//! `early`. `activity` knows its times, `stream` and `body` are what it carries, and `shared` is what is
//! different where many requests share one.

pub(super) mod accepting;
mod activity;
pub(super) mod body;
mod early;
pub(super) mod places;
pub(super) mod serving;
mod shared;
mod stream;
