//! Settings of the connection to a Hub: address, token, cache, and the bounds of waiting.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The public Hub.
pub(super) const ENDPOINT: &str = "https://huggingface.co";

/// The Hub to ask, and the cache for its files.
#[derive(Debug, Clone)]
pub struct HubAccess {
    /// Base URL, from `HF_ENDPOINT`; the public Hub when absent.
    pub endpoint: Option<String>,
    pub token: Option<Secret>,
    /// Folder of the cache: `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
    pub cache: PathBuf,
    /// True when no request may be sent; only the cache is used then.
    pub offline: bool,
    pub patience: Patience,
}

impl HubAccess {
    /// Base URL of the Hub.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(ENDPOINT)
    }
}

/// The bounds of every wait and retry.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The longest wait for a connection.
    pub connect: Duration,
    /// The longest silence of a server that is connected.
    pub silence: Duration,
    /// Number of attempts before a request has failed; a download that progresses starts to count anew.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further one.
    pub pause: Duration,
}

impl Patience {
    pub const STANDARD: Patience = Patience {
        connect: Duration::from_secs(10),
        silence: Duration::from_secs(30),
        attempts: 5,
        pause: Duration::from_millis(500),
    };
}

/// A token or key. It is sent only in the header of a request to the server that it is for, and `Debug`
/// hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret in `text`, without the white space around it; `None` where nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The text, for the header in which it is sent.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
