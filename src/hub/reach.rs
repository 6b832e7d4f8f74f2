//! Tests whether the Hub answers at all: for `neuronc doctor`, which asks for no model.

use std::time::Duration;

use anyhow::Result;

use super::access::{HubAccess, Patience};
use super::error::HubError;
use super::remote::Remote;

/// The outcome of one request to the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachability {
    Answers,
    RejectsToken,
    /// It does not answer, for this reason.
    Unreachable(String),
}

/// Sends one request and waits at most `deadline`. Fails where the settings themselves cannot be used.
pub fn reach(access: &HubAccess, deadline: Duration) -> Result<Reachability> {
    let patience = Patience {
        connect: deadline,
        silence: deadline,
        ..access.patience
    };
    let access = HubAccess {
        patience,
        ..access.clone()
    };
    Ok(match Remote::new(&access)?.reach(deadline)? {
        Ok(()) => Reachability::Answers,
        Err(HubError::Refused { status: 401, .. }) if access.token.is_some() => {
            Reachability::RejectsToken
        }
        // A mirror may refuse to list its models; its error code shows that it is a Hub.
        Err(HubError::Refused {
            status: 401 | 403 | 404 | 405,
            code: Some(_),
            ..
        }) => Reachability::Answers,
        Err(error) => Reachability::Unreachable(error.reason()),
    })
}
