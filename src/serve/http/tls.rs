//! TLS: the server's certificate and key, which are taken over anew when their files change.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::failure::Failure;
use crate::serve::http::reloaded::{FileContent, Reloaded};

/// What clients may speak, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Makes connections secret.
#[derive(Debug)]
pub struct Tls(Reloaded<ServerConfig>);

impl Tls {
    /// Reads a certificate, with those that vouch for it, and its key; both as PEM.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self> {
        Reloaded::open(&[certificate, key], configured).map(Self)
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.current()).accept(stream).await
    }

    pub(in crate::serve::http) fn refresh(&self) {
        self.0.refresh();
    }
}

fn configured(files: &[FileContent], _old: Option<&ServerConfig>) -> Result<ServerConfig> {
    let [certificate, key] = files else {
        return Err(Failure::usage("TLS needs a certificate and a key").into());
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate.bytes).collect();
    let chain = chain.map_err(|error| unreadable(certificate, &error.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable(certificate, "it has no `BEGIN CERTIFICATE`").into());
    }
    let secret = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|error| {
        use rustls::pki_types::pem::Error::NoItemsFound;
        match error {
            NoItemsFound => unreadable(key, "it has no `BEGIN PRIVATE KEY`"),
            error => unreadable(key, &error.to_string()),
        }
    })?;
    key.warn_if_others_read();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| {
            Failure::usage(format!(
                "`{}` and `{}` cannot be used for TLS",
                certificate.path.display(),
                key.path.display()
            ))
            .why(match error {
                rustls::Error::InconsistentKeys(_) => {
                    "the key is not that of the first certificate".to_owned()
                }
                error => error.to_string(),
            })
            .help("give the certificate of the server first, then those that vouch for it")
        })?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn unreadable(file: &FileContent, why: &str) -> Failure {
    Failure::usage(format!("`{}` cannot be used for TLS", file.path.display()))
        .why(why)
        .help("both files are PEM: `--tls-cert` the certificates, `--tls-key` the private key")
}
