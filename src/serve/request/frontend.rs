//! What the requests of all listeners share.

use std::sync::Arc;

use crate::serve::core::state::ServedState;
use crate::serve::request::body_budget::BodyBudget;
use crate::serve::request::traffic::Traffic;

/// The served state, and what counts and bounds the requests for it.
#[derive(Debug)]
pub(crate) struct Frontend {
    pub(crate) served: ServedState,
    pub(crate) traffic: Traffic,
    pub(crate) bodies: Arc<BodyBudget>,
}

impl Frontend {
    pub(crate) fn new(served: ServedState) -> Arc<Self> {
        Arc::new(Self {
            traffic: Traffic::default(),
            bodies: BodyBudget::new(served.limits.bodies_bytes),
            served,
        })
    }
}
