//! The options of `neuronc serve` for TLS, API keys, the log of requests, and traces.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use crate::cli::environment::Environment;
use crate::serve::config::Config;
use crate::serve::{Keys, ListenerOptions, Tls, Traces};

/// Who may connect and ask, and how requests are recorded.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AccessFlags {
    /// The certificate of the server as PEM, with those that vouch for it: connections are TLS.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Access"
    )]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate as PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Access"
    )]
    tls_key: Option<PathBuf>,

    /// Who may ask: a file that `neuronc key` makes the lines for; without it everybody may.
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    api_keys: Option<PathBuf>,

    /// Write a line for every request into the log, without its text.
    #[arg(long, help_heading = "Log and traces")]
    log_requests: bool,

    /// Send a trace of every request to the OpenTelemetry collector at this URL, with OTLP over HTTP
    /// [default: `OTEL_EXPORTER_OTLP_ENDPOINT`, if that is set].
    #[arg(long, value_name = "URL", help_heading = "Log and traces")]
    otlp_endpoint: Option<String>,
}

impl AccessFlags {
    /// Opens the files that these options name, or those of `config`.
    pub(in crate::cli) fn open(
        &self,
        config: &Config,
        environment: &Environment,
    ) -> Result<ListenerOptions> {
        let given = self.tls_cert.clone().zip(self.tls_key.clone());
        let tls = given.or_else(|| config.tls());
        let keys = self.api_keys.clone().or_else(|| config.api_keys());
        let collector = self.otlp_endpoint.clone();
        let collector = collector
            .or_else(|| config.listen.otlp_endpoint.clone())
            .or_else(|| environment.text("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let traces = collector.map(|url| Traces::open(&url)).transpose()?;
        Ok(ListenerOptions {
            tls: tls.map(|(cert, key)| Tls::open(&cert, &key)).transpose()?,
            keys: keys.map(|file| Keys::open(&file)).transpose()?,
            log_requests: self.log_requests || config.listen.log_requests,
            traces: traces.map(Arc::new),
        })
    }
}
