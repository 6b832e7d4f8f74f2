//! `serve.yaml`: a whole deployment in a file. `docs/serve.md` documents each key.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use crate::failure::Failure;
use crate::files;
use crate::placement::cores::{CoreList, Cores};
use crate::serve::limits::Limits;

/// What the file says; what it does not say is left to the command line and its defaults.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// By the name under which each is served.
    pub models: BTreeMap<String, ModelConfig>,
    cores: Option<NumberOrText>,
    pub models_per_core: Option<NonZeroUsize>,
    pub listen: ListenConfig,
    limits: LimitsConfig,
    /// The folder of the file; bundles are relative to it.
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    bundle: PathBuf,
    #[serde(default)]
    cores: Option<NumberOrText>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    pub host: Option<ListenHost>,
    pub port: Option<u16>,
    pub per_core: Option<u16>,
    pub management_host: Option<ListenHost>,
    pub management_port: Option<u16>,
    tls: Option<TlsConfig>,
    api_keys: Option<PathBuf>,
    pub log_requests: bool,
    pub otlp_endpoint: Option<String>,
}

/// Where a listener is: an address, or `localhost` for that of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ListenHost(pub IpAddr);

impl ListenHost {
    /// Only this machine reaches it.
    pub const LOCAL: Self = Self(IpAddr::V4(Ipv4Addr::LOCALHOST));
}

impl FromStr for ListenHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self::LOCAL);
        }
        let address = text.parse().map(Self);
        address.map_err(|_| format!("`{text}` is neither an IP address nor `localhost`"))
    }
}

impl TryFrom<String> for ListenHost {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Relative to the file, as bundles are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsConfig {
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsConfig {
    connections: Option<NonZeroUsize>,
    requests_per_connection: Option<NonZeroUsize>,
    head_seconds: Option<Seconds>,
    body_seconds: Option<Seconds>,
    idle_seconds: Option<Seconds>,
    body_bytes: Option<NonZeroUsize>,
    bodies_bytes: Option<NonZeroUsize>,
    queue_rows: Option<NonZeroUsize>,
    request_seconds: Option<Seconds>,
    run_seconds: Option<Seconds>,
    notice_seconds: Option<Seconds<true>>,
    drain_seconds: Option<Seconds>,
    close_seconds: Option<Seconds>,
}

/// No limit is longer than a day.
const SECONDS_MAX: f64 = 86_400.0;

/// A time that something may take: not forever, and more than nothing unless it may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
struct Seconds<const MAY_BE_NONE: bool = false>(Duration);

impl<const MAY_BE_NONE: bool> TryFrom<f64> for Seconds<MAY_BE_NONE> {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        let (is_enough, least) = match MAY_BE_NONE {
            true => (seconds >= 0.0, "at least 0"),
            false => (seconds > 0.0, "more than 0"),
        };
        match is_enough && seconds <= SECONDS_MAX {
            true => Ok(Self(Duration::from_secs_f64(seconds))),
            false => Err(format!(
                "a limit of {seconds} seconds: it must be {least} and at most {SECONDS_MAX}"
            )),
        }
    }
}

/// `4`, `0-3` and `0,2` are all written without quotes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u32),
    Text(String),
}

impl NumberOrText {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Config {
    /// Reads a file; a key that is not known is refused with its place.
    pub fn read(path: &Path) -> Result<Self> {
        let mut config: Self =
            files::parse_yaml(&files::read_text(path)?, &path.display().to_string())?;
        config.folder = files::parent(path).to_owned();
        Ok(config)
    }

    /// How many cores, or which.
    pub fn cores(&self) -> Result<Option<Cores>> {
        let cores = self.cores.as_ref();
        cores
            .map(|cores| Cores::parse(&cores.text(), "cores"))
            .transpose()
    }

    /// The bundle of a model, and the cores that it has for itself.
    pub fn model(&self, name: &str) -> Result<Option<(PathBuf, Option<CoreList>)>> {
        let Some(model) = self.models.get(name) else {
            return Ok(None);
        };
        let origin = format!("cores of model `{name}`:");
        let cores = model.cores.as_ref();
        let cores = cores.map(|cores| CoreList::parse(&cores.text(), &origin));
        Ok(Some((self.folder.join(&model.bundle), cores.transpose()?)))
    }

    /// The certificate and the key of TLS.
    pub fn tls(&self) -> Option<(PathBuf, PathBuf)> {
        let tls = self.listen.tls.as_ref()?;
        Some((self.folder.join(&tls.cert), self.folder.join(&tls.key)))
    }

    /// The file of API keys.
    pub fn api_keys(&self) -> Option<PathBuf> {
        let keys = self.listen.api_keys.as_ref()?;
        Some(self.folder.join(keys))
    }

    /// The number of connections that is asked for.
    pub fn connections(&self) -> Option<NonZeroUsize> {
        self.limits.connections
    }

    /// The limits, with those of `standard` that the file does not name.
    pub fn limits(&self, standard: Limits) -> Result<Limits> {
        let own = &self.limits;
        let body_bytes = own
            .body_bytes
            .map_or(standard.body_bytes, NonZeroUsize::get);
        let bodies_bytes = own
            .bodies_bytes
            .map_or(standard.bodies_bytes, NonZeroUsize::get);
        if bodies_bytes < body_bytes {
            let what = format!("limit `bodies_bytes` is {bodies_bytes}");
            let why = format!("a single body may have {body_bytes}");
            return Err(Failure::usage(what).why(why).into());
        }
        let seconds = |own: Option<Seconds>, standard: Duration| own.map_or(standard, |own| own.0);
        let request = seconds(own.request_seconds, standard.request);
        if let Some(Seconds(run)) = own.run_seconds {
            check_run(run, request)?;
        }
        Ok(Limits {
            connections: own
                .connections
                .map_or(standard.connections, NonZeroUsize::get),
            requests_per_connection: own
                .requests_per_connection
                .map_or(standard.requests_per_connection, NonZeroUsize::get),
            head: seconds(own.head_seconds, standard.head),
            body: seconds(own.body_seconds, standard.body),
            idle: seconds(own.idle_seconds, standard.idle),
            body_bytes,
            bodies_bytes,
            queue_rows: own
                .queue_rows
                .map_or(standard.queue_rows, NonZeroUsize::get),
            request,
            run: seconds(own.run_seconds, standard.run),
            notice: own
                .notice_seconds
                .map_or(standard.notice, |notice| notice.0),
            drain: seconds(own.drain_seconds, standard.drain),
            close: seconds(own.close_seconds, standard.close),
        })
    }
}

/// A run that is said to hang leaves time for another one.
fn check_run(run: Duration, request: Duration) -> Result<()> {
    if 2 * run < request {
        return Ok(());
    }
    let why = format!(
        "it must be less than half of `request_seconds`, which is {}: what a worker hangs on is run once \
         more by another one",
        request.as_secs_f64()
    );
    Err(
        Failure::usage(format!("limit `run_seconds` is {}", run.as_secs_f64()))
            .why(why)
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config> {
        files::parse_yaml(text, "serve.yaml")
    }

    #[test]
    fn cores_are_read_with_and_without_quotes() {
        let cores = |text: &str| {
            config(&format!("cores: {text}\n"))
                .unwrap()
                .cores()
                .unwrap()
                .unwrap()
        };
        assert_eq!(cores("4"), Cores::Count(4));
        assert_eq!(cores("'4'"), Cores::Count(4));
        for list in ["0-3", "0,2", "'0,2'", "5-5"] {
            assert_eq!(
                cores(list),
                Cores::parse(list.trim_matches('\''), "it").unwrap()
            );
        }
        let config = config("models: {a: {bundle: b, cores: 5}}\n").unwrap();
        let (_, cores) = config.model("a").unwrap().unwrap();
        assert_eq!(cores.unwrap().to_string(), "5");
    }

    #[test]
    fn hosts_are_addresses_or_localhost() {
        let host = |text: &str| config(&format!("listen: {{host: '{text}'}}\n"));
        for (text, address) in [
            ("localhost", "127.0.0.1"),
            ("::1", "::1"),
            ("0.0.0.0", "0.0.0.0"),
        ] {
            let read = host(text).unwrap().listen.host;
            assert_eq!(read, Some(ListenHost(address.parse().unwrap())));
        }
        let error = host("example.org").unwrap_err().to_string();
        assert!(error.contains("`example.org` is neither"), "{error}");
    }

    #[test]
    fn unknown_keys_are_refused_with_line_and_column() {
        for (text, parts) in [
            (
                "cores: 2\nmodel_per_core: 2\n",
                ["line 2", "model_per_core"],
            ),
            ("limits:\n  body: 1\n", ["line 2", "body"]),
            ("models:\n  a:\n    bundel: b\n", ["line 3", "bundel"]),
            (
                "listen: {port: 70000}\n",
                ["--> serve.yaml:1", "from 0 to 65535"],
            ),
            ("limits: {queue_rows: 0}\n", ["line 1", "at least 1"]),
            ("cores: 1\ncores: 2\n", ["line 2", "duplicate"]),
        ] {
            let error = format!("{:#}", config(text).unwrap_err());
            for part in parts {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn limits_that_mean_nothing_are_refused_with_line_and_column() {
        for (limit, least) in [
            ("request_seconds: 0", "more than 0"),
            ("run_seconds: -1", "more than 0"),
            ("drain_seconds: .nan", "more than 0"),
            ("close_seconds: 1e9", "more than 0"),
            ("notice_seconds: -1", "at least 0"),
        ] {
            let error = config(&format!("limits:\n  {limit}\n")).unwrap_err();
            let error = format!("{error:#}");
            for part in ["line 2", least, "at most 86400"] {
                assert!(error.contains(part), "{limit}: {error}");
            }
        }
        assert!(config("limits: {queue_rows: 0}\n").is_err());
        let config_of_bodies = config("limits: {bodies_bytes: 1000}\n").unwrap();
        let error = config_of_bodies.limits(Limits::STANDARD).unwrap_err();
        assert!(error.to_string().contains("`bodies_bytes` is 1000"));
        let config_of_runs = config("limits: {run_seconds: 3, request_seconds: 6}\n").unwrap();
        let error = config_of_runs.limits(Limits::STANDARD).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("less than half of `request_seconds`, which is 6")
        );
        let config = config("limits: {run_seconds: 0.5, notice_seconds: 0}\n").unwrap();
        let limits = config.limits(Limits::STANDARD).unwrap();
        assert_eq!(limits.run, Duration::from_millis(500));
        assert_eq!(limits.notice, Duration::ZERO);
        assert_eq!(limits.request, Limits::STANDARD.request);
    }
}
