//! Whether the Hub answers at all: for `neuronc doctor`, which asks for no model.

use std::time::Duration;

use anyhow::Result;

use super::remote::{ENDPOINT, Remote};
use super::trouble::Trouble;
use super::{HubAccess, Patience};

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    Answers,
    RejectsToken,
    /// There is no Hub, for this reason.
    Trouble(String),
}

impl HubAccess {
    /// The address that is asked.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(ENDPOINT)
    }
}

/// Asks once, for at most `deadline`. Fails where the access itself cannot be used.
pub fn reach(access: &HubAccess, deadline: Duration) -> Result<Reach> {
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
        Ok(()) => Reach::Answers,
        Err(Trouble::Refused { status: 401, .. }) if access.token.is_some() => Reach::RejectsToken,
        // A mirror may not list its models, or not to everyone; it is there.
        Err(Trouble::Refused {
            status: 401 | 403 | 404 | 405,
            code: Some(_),
            ..
        }) => Reach::Answers,
        Err(trouble) => Reach::Trouble(trouble.reason()),
    })
}
