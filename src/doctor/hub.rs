//! Examines whether the Hub answers, and how fast.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::hub::{self, HubAccess, Reachability};

/// A Hub that needs longer counts as unreachable.
const DEADLINE: Duration = Duration::from_secs(5);

/// The configured Hub and its answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HubFacts {
    pub endpoint: String,
    pub state: HubState,
    /// The reason of `unreachable`.
    pub problem: Option<String>,
    /// Milliseconds until the answer.
    pub millis: Option<u128>,
    /// True when a token is configured; the token itself is never shown.
    pub with_token: bool,
    pub cache: PathBuf,
}

/// Outcome of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HubState {
    /// The environment or the command line forbids requests, so none was sent.
    Offline,
    Answers,
    RejectsToken,
    Unreachable,
}

/// Sends one request, unless `access` is offline.
pub fn examine(access: &HubAccess) -> HubFacts {
    let mut hub = HubFacts {
        endpoint: access.endpoint().to_owned(),
        state: HubState::Offline,
        problem: None,
        millis: None,
        with_token: access.token.is_some(),
        cache: access.cache.clone(),
    };
    if access.offline {
        return hub;
    }
    let start = Instant::now();
    match hub::reach(access, DEADLINE) {
        Ok(Reachability::Answers) => {
            hub.state = HubState::Answers;
            hub.millis = Some(start.elapsed().as_millis());
        }
        Ok(Reachability::RejectsToken) => hub.state = HubState::RejectsToken,
        Ok(Reachability::Unreachable(reason)) => {
            hub.state = HubState::Unreachable;
            hub.problem = Some(reason);
        }
        Err(error) => {
            hub.state = HubState::Unreachable;
            hub.problem = Some(format!("{error:#}"));
        }
    }
    hub
}
