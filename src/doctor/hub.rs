//! Whether the Hub can be asked, and how long that takes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::hub::{self, HubAccess, Reach};

/// A Hub that answers later than this is as good as none for a first look.
const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hub {
    pub endpoint: String,
    pub state: State,
    /// Why it does not answer as it should.
    pub problem: Option<String>,
    /// How long the answer took.
    pub millis: Option<u128>,
    /// Whether there is a token; never which.
    pub with_token: bool,
    pub cache: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// By the environment or the command line; nothing was asked.
    Offline,
    Answers,
    RejectsToken,
    Unreachable,
}

pub fn look(access: &HubAccess) -> Hub {
    let mut hub = Hub {
        endpoint: access.endpoint().to_owned(),
        state: State::Offline,
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
        Ok(Reach::Answers) => {
            hub.state = State::Answers;
            hub.millis = Some(start.elapsed().as_millis());
        }
        Ok(Reach::RejectsToken) => hub.state = State::RejectsToken,
        Ok(Reach::Trouble(reason)) => {
            hub.state = State::Unreachable;
            hub.problem = Some(reason);
        }
        Err(error) => {
            hub.state = State::Unreachable;
            hub.problem = Some(format!("{error:#}"));
        }
    }
    hub
}
