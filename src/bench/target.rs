//! The target of a benchmark: a URL, and the form of the requests.

use std::io;
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use anyhow::Result;
use rustls::pki_types::ServerName;
use serde_json::Value;

use crate::bench::client::Connection;
use crate::bench::stream::ServerAddress;
use crate::failure::{Class, Failure, name_list, printable};
use crate::trust::Trust;

/// Placeholder of the text in a body.
const PLACEHOLDER: &str = "{text}";

/// The body of a request of the native protocol.
pub const BODY: &str = r#"{"inputs": "{text}"}"#;

/// Limit for the server to answer what it serves.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server, the route and the parts of a request.
#[derive(Debug, Clone)]
pub struct BenchTarget {
    pub(super) address: ServerAddress,
    trust: Trust,
    authority: String,
    pub path: String,
    /// Parts of the body before, between and after the texts.
    body: Vec<String>,
    /// Extra lines of the head, each with its end.
    headers: String,
}

impl BenchTarget {
    /// The target of `url`, such as `http://127.0.0.1:8080/predict/my-model`; `trust` says which
    /// certificates an https server may have. `body` has `{text}` where the text goes, within quotes;
    /// `headers` are lines such as `authorization: Bearer ...`.
    pub fn parse(url: &str, trust: Trust, body: &str, headers: &[String]) -> Result<Self> {
        let (address, authority, path) = server_address(url, &trust)?;
        if !body.contains(PLACEHOLDER) {
            return Err(Failure::usage("`--body` has no place for the text")
                .help(format!("write {PLACEHOLDER} where it goes, such as {BODY}"))
                .into());
        }
        Ok(Self {
            address,
            trust,
            authority: authority.to_owned(),
            path: path.to_owned(),
            body: body.split(PLACEHOLDER).map(str::to_owned).collect(),
            headers: lines(headers)?,
        })
    }

    /// The whole URL.
    pub fn url(&self) -> String {
        let scheme = if self.address.is_tls() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}{}", self.authority, self.path)
    }

    /// Writes the request that carries `text`.
    pub fn write_request(&self, text: &str, to: &mut Vec<u8>) {
        let quoted = Value::from(text).to_string();
        let escaped = &quoted[1..quoted.len() - 1];
        let places = self.body.len() - 1;
        let parts = self.body.iter().map(String::len).sum::<usize>();
        let length = parts + places * escaped.len();
        to.clear();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\n{}content-type: application/json\r\n\
             content-length: {length}\r\n\r\n",
            self.path, self.authority, self.headers
        );
        to.extend_from_slice(head.as_bytes());
        for (index, part) in self.body.iter().enumerate() {
            if index > 0 {
                to.extend_from_slice(escaped.as_bytes());
            }
            to.extend_from_slice(part.as_bytes());
        }
    }

    /// Completes a URL without a path, which names a server: the route becomes that of the one model that it
    /// serves.
    pub async fn resolve(&mut self) -> Result<()> {
        if self.path != "/" {
            return Ok(());
        }
        let health = self.get("/health/ready").await?;
        let models = health["models"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = models.iter().filter_map(Value::as_str).collect();
        match names.as_slice() {
            [name] => {
                self.path = format!("/predict/{name}");
                Ok(())
            }
            [] => {
                let failure =
                    Failure::usage(format!("`{}` does not say what it serves", self.url()));
                let failure = match health["error"].as_str() {
                    Some(error) => failure.why(printable(error)),
                    None => failure.help("give the whole URL of its route"),
                };
                Err(failure.into())
            }
            several => Err(
                Failure::usage(format!("`{}` serves several models", self.url()))
                    .help(format!(
                        "add `/predict/` and one of {}",
                        name_list(several.iter().copied())
                    ))
                    .into(),
            ),
        }
    }

    /// True when a neuronc server says that it is ready; an error where no server answers.
    pub async fn is_ready(&self) -> Result<bool> {
        Ok(self.get("/health/ready").await?["status"] == "ready")
    }

    /// The JSON at `path`; null for what is not JSON.
    async fn get(&self, path: &str) -> Result<Value> {
        let authority = &self.authority;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {authority}\r\n{}\r\n",
            self.headers
        );
        let mut body = Vec::new();
        let answer = async {
            let mut connection = Connection::open(&self.address).await?;
            connection.ask(request.as_bytes(), Some(&mut body)).await
        };
        let answered = tokio::time::timeout(PATIENCE, answer).await;
        answered
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| self.no_answer(&error))?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Fails when no connection can be made.
    pub async fn check(&self) -> Result<()> {
        let opened = tokio::time::timeout(PATIENCE, Connection::open(&self.address)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        opened.map(drop).map_err(|error| self.no_answer(&error))
    }

    fn no_answer(&self, error: &io::Error) -> anyhow::Error {
        if let Some(failure) = self.trust.failure(Class::Negative, &self.url(), error) {
            return failure.into();
        }
        Failure::new(
            Class::Negative,
            format!("no server answers at {}", self.url()),
        )
        .why(error.to_string())
        .help("start one with `neuronc serve`, or give a bundle in place of the URL")
        .into()
    }
}

/// Splits `url` into the address of its server, host and port as text, and the path.
fn server_address<'a>(url: &'a str, trust: &Trust) -> Result<(ServerAddress, &'a str, &'a str)> {
    let refuse = |why: &str| {
        Failure::usage(format!("`{url}` cannot be measured"))
            .why(why)
            .help("give a URL such as http://127.0.0.1:8080/predict/my-model, or a bundle")
    };
    let (rest, is_tls, port) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (rest, false, 80),
        (_, Some(rest)) => (rest, true, 443),
        _ => return Err(refuse("it does not begin with http:// or https://").into()),
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let given = authority.rsplit_once(':');
    let given = given.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let (host, port) = given.unwrap_or((authority, port));
    // Only URLs have brackets around IPv6 addresses.
    let host = host.trim_matches(['[', ']']);
    let address = (host, port).to_socket_addrs();
    let address = address.ok().and_then(|mut all| all.next());
    let address = address.ok_or_else(|| refuse("its host has no address"))?;
    let address = if is_tls {
        let name = ServerName::try_from(host.to_owned());
        let name =
            name.map_err(|_| refuse("its host is not a name that a certificate can have"))?;
        ServerAddress::tls(address, name, trust.client()?)
    } else {
        ServerAddress::plain(address)
    };
    Ok((address, authority, path))
}

/// The headers as lines of a head, each with its end.
fn lines(headers: &[String]) -> Result<String> {
    let mut lines = String::new();
    for header in headers {
        match header.split_once(':') {
            Some((name, _)) if !name.is_empty() && !header.contains(['\r', '\n']) => {
                lines.push_str(header);
                lines.push_str("\r\n");
            }
            _ => {
                return Err(Failure::usage(format!("`{header}` is not a header"))
                    .help("write it as `name: value`")
                    .into());
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, body: &str, headers: &[String]) -> Result<BenchTarget> {
        BenchTarget::parse(url, Trust::new(None)?, body, headers)
    }

    fn request(body: &str, text: &str) -> String {
        let target = target("http://127.0.0.1:1/p", body, &["a: b".to_owned()]);
        let mut bytes = Vec::new();
        target.unwrap().write_request(text, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn texts_are_escaped_and_lengths_are_those_of_the_body() {
        let whole = request(BODY, "a \"b\"\n");
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, r#"{"inputs": "a \"b\"\n"}"#);
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{head}"
        );
        assert!(head.contains("\r\nhost: 127.0.0.1:1\r\na: b\r\n"), "{head}");
        let twice = request(r#"["{text}","{text}"]"#, "x");
        assert!(
            twice.ends_with("content-length: 9\r\n\r\n[\"x\",\"x\"]"),
            "{twice}"
        );
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for url in [
            "127.0.0.1:1",
            "ftp://127.0.0.1",
            "http://no.such.host.invalid/",
        ] {
            assert!(target(url, BODY, &[]).is_err(), "{url}");
        }
        let url = "http://127.0.0.1:1";
        assert!(target(url, "{}", &[]).is_err());
        assert!(target(url, BODY, &["a\r\nb: c".to_owned()]).is_err());
        assert_eq!(target(url, BODY, &[]).unwrap().url(), "http://127.0.0.1:1/");
        for (url, address) in [
            ("https://127.0.0.1/p", "127.0.0.1:443"),
            ("http://[::1]/p", "[::1]:80"),
            ("https://[::1]:8443/p", "[::1]:8443"),
        ] {
            let target = target(url, BODY, &[]).unwrap();
            assert_eq!(
                (target.url().as_str(), target.address.socket),
                (url, address.parse().unwrap())
            );
        }
    }
}
