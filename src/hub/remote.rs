//! The requests to a Hub: the commit of a revision, the list of its files, and the content of a file.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{Stream, StreamExt as _, stream};
use hf_hub::HFClient;
use hf_hub::repository::{HFRepository, RepoTypeModel};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use super::access::{ENDPOINT, HubAccess, Patience, Secret};
use super::cache::{Tree, TreeEntry};
use super::error::{HubError, RequestSubject};
use super::name::is_commit;
use crate::failure::{Class, Failure};

/// A list comes in pages of a thousand files; one of more pages is refused.
const PAGES_MAX: usize = 100;

/// A longer answer to a question about a repository is refused.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The longest pause between two attempts, also where a server asks for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// Largest number of steps between the request for a file and its first byte: request and redirect, for
/// the metadata and for the content. hf-hub's Xet transfers do not know [`Patience`], so all steps
/// together are bounded here.
const OPENING_STEPS: u32 = 4;

/// The token that hf-hub gets when there is none. Without any it would take one from the environment; this
/// one cannot be put into a header, so none is sent.
const NO_TOKEN: &str = "\n";

/// A client of a Hub. Making one opens no socket.
pub(super) struct Remote {
    runtime: Runtime,
    http: reqwest::Client,
    hub: HFClient,
    endpoint: Url,
    token: Option<Secret>,
    patience: Patience,
}

/// The answer about a revision; only the commit is used.
#[derive(Deserialize)]
struct Revision {
    sha: String,
}

/// A file or folder in a page of the list.
#[derive(Deserialize)]
struct TreeItem {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<LfsItem>,
    #[serde(rename = "xetHash")]
    xet_hash: Option<String>,
}

/// A part of a file's content.
pub(super) type Chunk<T> = Result<T, HubError>;

#[derive(Deserialize)]
struct LfsItem {
    oid: String,
    size: u64,
}

impl Remote {
    pub(super) fn new(access: &HubAccess) -> Result<Self> {
        let endpoint = parse_endpoint(access.endpoint())?;
        let token = access.token.clone();
        if let Some(secret) = &token
            && HeaderValue::from_str(secret.reveal()).is_err()
        {
            return Err(Failure::usage("the token for the Hub cannot be sent")
                .why("it holds characters that a token does not have")
                .help("check HF_TOKEN and the token file")
                .into());
        }
        let patience = access.patience;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("neuronc/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .read_timeout(patience.silence);
        if endpoint.host_str().is_some_and(is_loopback) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .context("preparing the connection to the Hub")?;
        let hub = HFClient::builder()
            .endpoint(endpoint.as_str())
            .token(token.as_ref().map_or(NO_TOKEN, Secret::reveal))
            .cache_enabled(false)
            .client(http.clone())
            .retry_max_attempts(0)
            .build()
            .context("preparing the connection to the Hub")?;
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("starting the runtime of the Hub connection")?,
            http,
            hub,
            endpoint,
            token,
            patience,
        })
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// The subject of a request, for error messages.
    pub(super) fn subject<'a>(&'a self, id: &'a str, revision: &'a str) -> RequestSubject<'a> {
        RequestSubject {
            endpoint: self.endpoint.as_str().trim_end_matches('/'),
            id,
            revision,
            file: None,
            with_token: self.token.is_some(),
            cached: None,
        }
    }

    /// Requests the list of models, which every Hub has, once and for at most `deadline`.
    pub(super) fn reach(self, deadline: Duration) -> Result<Result<(), HubError>> {
        let url = self.url("api/models?limit=1")?;
        let answer = self.run(async {
            let answer = timeout(deadline, self.json::<IgnoredAny>(&url)).await;
            answer.unwrap_or(Err(HubError::Silent(deadline)))
        });
        // A pending look-up of the address would be waited for when the runtime is dropped.
        self.runtime.shutdown_background();
        Ok(answer.map(drop))
    }

    /// Runs a future to its end.
    pub(super) fn run<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.block_on(task)
    }

    /// The commit that `revision` names now; `cached` is the one in the cache, which an error message
    /// offers.
    pub(super) fn commit(&self, id: &str, revision: &str, cached: Option<&str>) -> Result<String> {
        let url = self.url(&format!("api/models/{id}/revision/{}", percent(revision)))?;
        let mut subject = self.subject(id, revision);
        subject.cached = cached;
        let answer = self.run(self.with_retries(async || self.json::<Revision>(&url).await));
        let (revision, _) = answer.map_err(|error| error.failure(&subject))?;
        if !is_commit(&revision.sha) {
            let error = HubError::Foreign("the commit in the answer is malformed".to_owned());
            return Err(error.failure(&subject).into());
        }
        Ok(revision.sha)
    }

    /// The list of the files of a commit.
    pub(super) fn tree(&self, id: &str, commit: &str) -> Result<Tree> {
        let subject = self.subject(id, commit);
        let mut url = self.url(&format!("api/models/{id}/tree/{commit}?recursive=true"))?;
        let mut files = BTreeMap::new();
        for _ in 0..PAGES_MAX {
            let page = self.run(self.with_retries(async || self.json::<Vec<TreeItem>>(&url).await));
            let (items, next) = page.map_err(|error| error.failure(&subject))?;
            for item in items.into_iter().filter(|item| item.kind == "file") {
                files.insert(item.path.clone(), TreeEntry::from(item));
            }
            match next {
                Some(next) => url = next,
                None => return Ok(Tree::new(files)),
            }
        }
        let what =
            format!("`{id}` holds too many files: its listing has more than {PAGES_MAX} pages");
        Err(Failure::new(Class::Hub, what).into())
    }

    /// Requests the content of a file, or the part in `range`. Returns the length that the server
    /// announces, and the content. A server may ignore the range, which only the length shows.
    pub(super) async fn content(
        &self,
        id: &str,
        (commit, path): (&str, &str),
        range: Option<Range<u64>>,
    ) -> Result<
        (
            Option<u64>,
            impl Stream<Item = Chunk<impl AsRef<[u8]> + use<>>> + use<>,
        ),
        HubError,
    > {
        let patience = self.patience;
        let repository = self.repository(id);
        let opening = repository
            .download_file_stream()
            .filename(path)
            .revision(commit)
            .maybe_range(range)
            .send();
        let bound = (patience.connect + patience.silence) * OPENING_STEPS;
        let (announced, bytes) = timeout(bound, opening)
            .await
            .map_err(|_| HubError::Silent(bound))?
            .map_err(|error| HubError::of_hub(error, patience))?;
        let chunks = stream::unfold(bytes, move |mut bytes| async move {
            let chunk = match timeout(patience.silence, bytes.next()).await {
                Ok(chunk) => chunk?.map_err(|error| HubError::of_hub(error, patience)),
                Err(_) => Err(HubError::Silent(patience.silence)),
            };
            Some((chunk, bytes))
        });
        Ok((announced, chunks))
    }

    fn repository(&self, id: &str) -> HFRepository<RepoTypeModel> {
        let (owner, name) = hf_hub::split_id(id);
        self.hub.model(owner, name)
    }

    fn url(&self, path: &str) -> Result<Url> {
        let text = format!("{}/{path}", self.endpoint.as_str().trim_end_matches('/'));
        Url::parse(&text).with_context(|| format!("`{text}` is not a URL"))
    }

    /// Repeats a request until it succeeds or the attempts are used up. A Hub that cannot be reached at
    /// all is not tried again: most often there is no network, and the user wants to know at once.
    async fn with_retries<T>(
        &self,
        mut ask: impl AsyncFnMut() -> Result<T, HubError>,
    ) -> Result<T, HubError> {
        let mut attempt = 1;
        loop {
            match ask().await {
                Err(error) if error.may_pass_soon() && attempt < self.patience.attempts => {
                    sleep(self.pause(attempt, &error)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// The pause after `failed` failed attempts.
    pub(super) fn pause(&self, failed: u32, error: &HubError) -> Duration {
        let doubled = self.patience.pause * 2u32.saturating_pow(failed.saturating_sub(1).min(10));
        error.asks_to_wait().unwrap_or(doubled).min(PAUSE_MAX)
    }

    /// Sends one request and parses its answer; also returns the URL of the next page, if there is one.
    async fn json<T: DeserializeOwned>(&self, url: &Url) -> Result<(T, Option<Url>), HubError> {
        let broken = |error| HubError::of_request(error, self.patience);
        let mut request = self.http.get(url.clone());
        // The next page may be on another host, which must not get the token.
        if let Some(token) = &self.token
            && url.origin() == self.endpoint.origin()
        {
            request = request.bearer_auth(token.reveal());
        }
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                let what = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(HubError::Foreign(what));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(HubError::refused(status.as_u16(), &headers, &body));
        }
        let value = serde_json::from_slice(&body).map_err(|error| {
            HubError::Foreign(format!("the answer is not what a Hub says: {error}"))
        })?;
        Ok((value, next_page(&headers)))
    }
}

impl From<TreeItem> for TreeEntry {
    fn from(item: TreeItem) -> Self {
        let (lfs_sha256, lfs_size) = item.lfs.map(|lfs| (lfs.oid, lfs.size)).unzip();
        Self {
            size: item.size,
            blob_id: item.oid,
            lfs_sha256,
            lfs_size,
            xet_hash: item.xet_hash,
        }
    }
}

fn parse_endpoint(text: &str) -> Result<Url> {
    let refuse = |why: String| {
        Failure::usage("HF_ENDPOINT cannot be used")
            .why(why)
            .help(format!("it is a URL like {ENDPOINT}"))
    };
    let url = Url::parse(text).map_err(|error| refuse(format!("it is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse(format!("`{}` is not http or https", url.scheme())).into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it holds a user name or a password".to_owned())
            .help("pass the credential as HF_TOKEN")
            .into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it holds a `?` or a `#`".to_owned()).into());
    }
    Ok(url)
}

/// True for a host on this machine, which is asked without a proxy.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

/// Encodes a text as one segment of a URL, since a revision may hold `/`.
fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// The URL of `rel="next"` in a `Link` header.
fn next_page(headers: &HeaderMap) -> Option<Url> {
    let link = headers.get("link")?.to_str().ok()?;
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    Url::parse(address).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_one_segment_of_the_url() {
        assert_eq!(percent("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(percent("v1.0-rc_2~x"), "v1.0-rc_2~x");
    }

    #[test]
    fn an_endpoint_is_a_plain_address() {
        for good in ["https://huggingface.co", "http://127.0.0.1:80/hub/"] {
            assert!(parse_endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "huggingface.co",
            "ftp://x",
            "https://u:p@x",
            "https://x?y",
            "",
        ] {
            assert!(parse_endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn finds_the_next_page_among_the_links() {
        let mut headers = HeaderMap::new();
        let link = r#"<http://x/a>; rel="prev", <http://x/b?c=d>; rel="next""#;
        headers.insert("link", HeaderValue::from_static(link));
        assert_eq!(next_page(&headers).unwrap().as_str(), "http://x/b?c=d");
        assert_eq!(next_page(&HeaderMap::new()), None);
    }
}
