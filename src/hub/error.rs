//! Errors of requests to a Hub, and the messages that the user gets.

use std::error::Error as StdError;
use std::time::Duration;

use hf_hub::HFError;
use reqwest::header::HeaderMap;

use super::access::Patience;
use crate::failure::{Class, Failure};

/// Longer messages of a server are cut.
const MESSAGE_LENGTH_MAX: usize = 200;

/// The reason why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HubError {
    /// The server answered with an error.
    Refused {
        status: u16,
        /// The Hub's code: `RepoNotFound`, `RevisionNotFound`, `EntryNotFound`, `GatedRepo`.
        code: Option<String>,
        message: Option<String>,
        retry_after: Option<Duration>,
    },
    /// No connection could be made.
    Unreachable(String),
    /// The connected server sent nothing for this long.
    Silent(Duration),
    /// The connection ended early.
    Cut(String),
    /// The answer is not one of a Hub.
    Foreign(String),
}

/// The subject of a request, which error messages name.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestSubject<'a> {
    pub(super) endpoint: &'a str,
    pub(super) id: &'a str,
    pub(super) revision: &'a str,
    pub(super) file: Option<&'a str>,
    pub(super) with_token: bool,
    /// The commit that the cache has for the revision.
    pub(super) cached: Option<&'a str>,
}

impl HubError {
    pub(super) fn refused(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let in_body = || {
            let value: serde_json::Value = serde_json::from_slice(body).ok()?;
            Some(value.get("error")?.as_str()?.to_owned())
        };
        HubError::Refused {
            status,
            code: header("x-error-code"),
            message: header("x-error-message")
                .or_else(in_body)
                .map(|text| single_line(&text)),
            retry_after: header("retry-after")
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
        }
    }

    pub(super) fn of_request(error: reqwest::Error, patience: Patience) -> Self {
        if error.is_connect() {
            // The host is named, since large files come from others than the endpoint.
            let host = error.url().and_then(|url| url.host_str()).unwrap_or("?");
            if error.is_timeout() {
                let seconds = patience.connect.as_secs_f32();
                return HubError::Unreachable(format!("{host}: no connection within {seconds} s"));
            }
            return HubError::Unreachable(format!("{host}: {}", root(&error)));
        }
        if error.is_timeout() {
            return HubError::Silent(patience.silence);
        }
        if error.is_redirect() || error.is_builder() {
            return HubError::Foreign(root(&error));
        }
        HubError::Cut(root(&error))
    }

    pub(super) fn of_hub(error: HFError, patience: Patience) -> Self {
        let (context, retry_after) = match error {
            HFError::Request { source, .. } => return Self::of_request(source, patience),
            HFError::Io(error) => return HubError::Cut(error.to_string()),
            HFError::Xet { source, .. } => {
                return HubError::Cut(single_line(&root(source.as_ref())));
            }
            HFError::RateLimited {
                retry_after,
                context,
            } => (context, retry_after),
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::RepoNotFound {
                context: Some(context),
                ..
            }
            | HFError::RevisionNotFound {
                context: Some(context),
                ..
            }
            | HFError::EntryNotFound {
                context: Some(context),
                ..
            } => (context, None),
            other => return HubError::Foreign(single_line(&other.to_string())),
        };
        HubError::Refused {
            status: context.status.as_u16(),
            code: context.error_code,
            message: context.server_message.as_deref().map(single_line),
            retry_after,
        }
    }

    /// True when the next attempt may well succeed.
    pub(super) fn may_pass_soon(&self) -> bool {
        match self {
            HubError::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            HubError::Cut(_) => true,
            _ => false,
        }
    }

    /// True when a transfer that had begun is worth another attempt.
    pub(super) fn may_pass(&self) -> bool {
        self.may_pass_soon() || matches!(self, HubError::Unreachable(_) | HubError::Silent(_))
    }

    /// The pause that the server asks for.
    pub(super) fn asks_to_wait(&self) -> Option<Duration> {
        match self {
            HubError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The reason in a few words.
    pub(super) fn reason(&self) -> String {
        match self {
            HubError::Refused {
                status, message, ..
            } => match message {
                Some(message) => format!("status {status}: {message}"),
                None => format!("status {status}"),
            },
            HubError::Silent(bound) => format!("no answer for {} s", bound.as_secs_f32()),
            HubError::Unreachable(reason) | HubError::Cut(reason) | HubError::Foreign(reason) => {
                reason.clone()
            }
        }
    }

    /// The failure with its remedy, as the user sees it.
    pub(super) fn failure(&self, subject: &RequestSubject<'_>) -> Failure {
        let RequestSubject { endpoint, id, .. } = subject;
        let failure = |what: String| Failure::new(Class::Hub, what).why(self.reason());
        let file = match subject.file {
            Some(file) => format!("`{file}` of `{id}`"),
            None => format!("`{id}`"),
        };
        match self {
            HubError::Refused {
                status,
                code,
                retry_after,
                ..
            } => refusal(*status, code.as_deref(), subject)
                .unwrap_or_else(|| {
                    let when = match retry_after {
                        Some(wait) => format!("in {} s", wait.as_secs()),
                        None => "later".to_owned(),
                    };
                    let limit = match (*status, subject.with_token) {
                        (429, false) => "set HF_TOKEN, which raises the limit, or ",
                        _ => "",
                    };
                    failure(format!("{endpoint} does not give {file}")).help(format!(
                        "{limit}try again {when}; with --offline the cache is used, and a folder can be \
                         named instead of an id"
                    ))
                })
                .why(self.reason()),
            HubError::Unreachable(_) | HubError::Silent(_) => {
                let cached = subject.cached.map_or_else(String::new, |commit| {
                    format!("the cache has `{id}` at commit {commit}: --offline uses it\n")
                });
                let what = match self {
                    HubError::Silent(_) => format!("{endpoint} does not answer"),
                    _ => format!("{endpoint} cannot be reached"),
                };
                failure(what).help(format!(
                    "{cached}check the network, the proxy and HF_ENDPOINT; without a network, use --offline \
                     or name a folder that holds the model"
                ))
            }
            HubError::Cut(_) => failure(format!("the connection broke while {file} was asked for"))
                .help("run it again"),
            HubError::Foreign(_) => failure(match subject.file {
                Some(_) => format!("{endpoint} gives {file} otherwise than it is listed"),
                None => format!("{endpoint} does not answer like a Hub"),
            })
            .help("check HF_ENDPOINT, and whether a proxy or a login page answers in its place"),
        }
    }
}

/// The failures behind the statuses and codes that a Hub is known to send; see `hf_raise_for_status` in
/// Python's huggingface_hub.
fn refusal(status: u16, code: Option<&str>, subject: &RequestSubject<'_>) -> Option<Failure> {
    let RequestSubject {
        endpoint,
        id,
        revision,
        ..
    } = subject;
    let failure = |what: String| Failure::new(Class::Hub, what);
    let found = match (status, code) {
        (_, Some("GatedRepo")) => failure(format!("`{id}` is gated")).help(format!(
            "accept its licence at {endpoint}/{id}, and set HF_TOKEN to a token of that account"
        )),
        (401, _) if subject.with_token => failure(format!("{endpoint} rejects the token")).help(format!(
            "set HF_TOKEN to a valid token ({endpoint}/settings/tokens), or unset it for public models"
        )),
        (401, _) => failure(format!("`{id}` does not exist, or is private")).help(format!(
            "check the spelling; for a private or gated model, accept its licence at {endpoint}/{id} and set \
             HF_TOKEN: without a token a Hub answers 401 to both"
        )),
        (403, _) => failure(format!("the token may not read `{id}`")).help(format!(
            "give the token read access ({endpoint}/settings/tokens), or accept the licence at {endpoint}/{id}"
        )),
        (404, Some("RevisionNotFound")) => {
            failure(format!("`{id}` has no revision `{revision}`")).help(format!(
                "its branches and tags are listed at {endpoint}/{id}/tree/main"
            ))
        }
        (404, _) if subject.file.is_some() => failure(format!(
            "`{id}` has no file `{}` at `{revision}`",
            subject.file.unwrap_or_default()
        ))
        .help("look at the files of that revision on the model's page"),
        (404, None) => failure(format!("`{id}` does not exist, or has no revision `{revision}`"))
            .help("check the spelling; for a private model, set HF_TOKEN"),
        (404, _) => failure(format!("`{id}` does not exist, or is private"))
            .help("check the spelling; for a private model, set HF_TOKEN to a token that may read it"),
        _ => return None,
    };
    Some(found)
}

/// The innermost cause, which says what happened. The text of reqwest is left out, since it holds the URL,
/// which may be signed.
fn root(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<reqwest::Error>() {
        Some(_) => "the request failed".to_owned(),
        None => innermost.to_string(),
    }
}

/// Text of a server on one line, cut, and without control characters.
fn single_line(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_LENGTH_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: RequestSubject<'_> = RequestSubject {
        endpoint: "https://hub",
        id: "org/name",
        revision: "v9",
        file: None,
        with_token: false,
        cached: None,
    };

    fn refused(status: u16, code: Option<&str>) -> HubError {
        HubError::Refused {
            status,
            code: code.map(str::to_owned),
            message: None,
            retry_after: None,
        }
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let with_token = RequestSubject {
            with_token: true,
            ..SUBJECT
        };
        let cases = [
            (refused(401, None), SUBJECT, "HF_TOKEN"),
            (refused(401, None), with_token, "rejects the token"),
            (refused(403, None), with_token, "read access"),
            (refused(403, Some("GatedRepo")), with_token, "licence"),
            (refused(404, Some("RepoNotFound")), SUBJECT, "private"),
            (refused(404, Some("RevisionNotFound")), SUBJECT, "`v9`"),
            (refused(404, None), SUBJECT, "revision `v9`"),
            (refused(429, None), SUBJECT, "raises the limit"),
            (refused(500, None), SUBJECT, "--offline"),
        ];
        for (error, subject, expected) in cases {
            let text = error.failure(&subject).to_string();
            assert!(text.contains(expected), "{error:?}: {text}");
            assert!(
                text.contains("org/name") || text.contains("https://hub"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_missing_repository_is_not_taken_for_a_missing_revision() {
        let text = refused(404, Some("RepoNotFound"))
            .failure(&SUBJECT)
            .to_string();
        assert!(!text.contains("v9"), "{text}");
    }

    #[test]
    fn text_of_a_server_cannot_control_the_terminal() {
        let message = "one\n\u{1b}[2Jtwo ".to_owned() + &"x".repeat(1000);
        let mut headers = HeaderMap::new();
        headers.insert("x-error-code", "GatedRepo".parse().unwrap());
        let body = serde_json::json!({ "error": message }).to_string();
        let HubError::Refused { message, .. } = HubError::refused(403, &headers, body.as_bytes())
        else {
            panic!("a refusal");
        };
        let message = message.unwrap();
        assert!(message.starts_with("one [2Jtwo"), "{message}");
        assert_eq!(message.len(), MESSAGE_LENGTH_MAX);
    }
}
