//! The options of `neuronc serve` that say who may connect and ask.

use std::path::PathBuf;

use anyhow::Result;

use crate::serve::config::Config;
use crate::serve::{Gate, Keys, Tls};

/// Who may connect, and what is noted of it.
#[derive(Debug, clap::Args)]
pub(super) struct GateFlags {
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
    #[arg(long, help_heading = "Access")]
    log_requests: bool,
}

impl GateFlags {
    /// Reads the files that these options name, or those of `config`.
    pub(super) fn open(&self, config: &Config) -> Result<Gate> {
        let given = self.tls_cert.clone().zip(self.tls_key.clone());
        let tls = given.or_else(|| config.tls());
        let keys = self.api_keys.clone().or_else(|| config.api_keys());
        Ok(Gate {
            tls: tls.map(|(cert, key)| Tls::open(&cert, &key)).transpose()?,
            keys: keys.map(|file| Keys::open(&file)).transpose()?,
            log_requests: self.log_requests || config.listen.log_requests,
        })
    }
}
