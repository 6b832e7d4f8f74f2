//! Asks the management port of a server for its status.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Client, StatusCode, Url};
use tokio::runtime::Runtime;

use crate::failure::{Class, Failure};
use crate::http_error::refusal_reason;
use crate::hub::Secret;
use crate::serve::status::ServerStatus;
use crate::trust::Trust;

/// A server that takes longer counts as not answering.
const PATIENCE: Duration = Duration::from_secs(5);

/// The management port of a server, and how it is asked.
#[derive(Debug)]
pub struct ManagementPort {
    address: Url,
    client: Client,
    runtime: Runtime,
    /// The API key, where the server asks for one.
    key: Option<Secret>,
    trust: Trust,
}

impl ManagementPort {
    /// `address` is a URL, or a host and a port; `trust` says which certificates an https server may
    /// have.
    pub fn new(address: &str, key: Option<Secret>, trust: Trust) -> Result<Self> {
        let text = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        let wrong = |why: String| {
            Failure::usage(format!("`{address}` is not the address of a server"))
                .why(why)
                .help("such as http://127.0.0.1:8081")
        };
        let address = Url::parse(&text).map_err(|error| wrong(error.to_string()))?;
        if !["http", "https"].contains(&address.scheme()) || address.host().is_none() {
            return Err(wrong("it is neither http nor https".to_owned()).into());
        }
        let client = Client::builder().no_proxy().timeout(PATIENCE);
        let client = match address.scheme() {
            "https" => client.tls_backend_preconfigured(trust.client()?),
            _ => client,
        };
        let runtime = tokio::runtime::Builder::new_current_thread();
        Ok(Self {
            key,
            trust,
            address,
            client: client.build().context("preparing an HTTP client")?,
            runtime: { runtime }
                .enable_all()
                .build()
                .context("starting the async runtime")?,
        })
    }

    pub fn address(&self) -> &str {
        self.address.as_str().trim_end_matches('/')
    }

    /// True when the address is one of this machine; a tunnel may still lead elsewhere.
    pub fn is_local(&self) -> bool {
        let host = self.address.host_str().unwrap_or_default();
        let number = host.trim_matches(['[', ']']).parse();
        number.is_ok_and(|ip: IpAddr| ip.is_loopback() || ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED))
            || host == "localhost"
    }

    /// The status of the server now.
    pub fn status(&self) -> Result<ServerStatus> {
        let answered = self.runtime.block_on(self.fetch());
        let (status, body) = answered.map_err(|error| {
            let error = error.without_url();
            if let Some(failure) = self.trust.failure(Class::Hub, self.address(), &error) {
                return failure;
            }
            let why = anyhow::Error::from(error);
            Failure::new(
                Class::Hub,
                format!("no server answers at {}", self.address()),
            )
            .why(format!("{why:#}"))
            .help("give the management port: that of `neuronc serve --management-port PORT`")
        })?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|error| {
                self.not_management(format!("its status cannot be read: {error}"))
                    .help("is it a neuronc of another version?")
                    .into()
            }),
            StatusCode::NOT_FOUND => Err(self
                .not_management("it has no `/admin/status`".to_owned())
                .help("give the management port: that of `neuronc serve --management-port PORT`")
                .into()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let what = format!("{} asks for the API key of an admin", self.address());
                let why = match (status, &self.key) {
                    (StatusCode::FORBIDDEN, _) => "the role of this one is not enough",
                    (_, Some(_)) => "it does not know this one",
                    (_, None) => "it got none",
                };
                let help = "give the file of one: `--api-key-file FILE`";
                Err(Failure::usage(what).why(why).help(help).into())
            }
            other => {
                let said = refusal_reason(&body).map(|reason| format!(": {reason}"));
                let said = said.unwrap_or_default();
                let why = format!("it answers with status {}{said}", other.as_u16());
                Err(self.not_management(why).into())
            }
        }
    }

    fn not_management(&self, why: String) -> Failure {
        let what = format!("{} is not the management port of a server", self.address());
        Failure::usage(what).why(why)
    }

    async fn fetch(&self) -> reqwest::Result<(StatusCode, Vec<u8>)> {
        let url = format!("{}/admin/status", self.address());
        let mut request = self.client.get(url);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.reveal());
        }
        let response = request.send().await?;
        let status = response.status();
        Ok((status, response.bytes().await?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_recognised() {
        let trust = || Trust::new(None).unwrap();
        for (address, local) in [
            ("127.0.0.1:8081", true),
            ("http://localhost:1/", true),
            ("http://[::1]:8081", true),
            ("http://10.0.0.7:8081", false),
        ] {
            assert_eq!(
                ManagementPort::new(address, None, trust())
                    .unwrap()
                    .is_local(),
                local,
                "{address}"
            );
        }
        for wrong in ["", "ftp://a", "http://", "a b"] {
            let error = ManagementPort::new(wrong, None, trust()).unwrap_err();
            assert_eq!(Failure::class_of(&error), Class::Usage, "{wrong}");
        }
    }
}
