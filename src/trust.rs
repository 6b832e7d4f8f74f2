//! The certificates that neuronc trusts when it asks a server.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::failure::{Class, Failure};
use crate::files;

/// The certificates that are trusted.
#[derive(Debug, Clone)]
pub struct Trust(Option<TrustedFile>);

/// The certificates of a file, which replace those of the system.
#[derive(Debug, Clone)]
struct TrustedFile {
    path: PathBuf,
    certificates: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Trusts the certificates in the PEM `file`, of CAs or of servers themselves; without a file, those of the
    /// system.
    pub fn new(file: Option<&Path>) -> Result<Self> {
        let Some(path) = file else {
            return Ok(Self(None));
        };
        let unusable = |why: String| {
            Failure::usage(format!("`{}` has no certificate to trust", path.display()))
                .why(why)
                .help("give a PEM file: lines from `BEGIN CERTIFICATE` to `END CERTIFICATE`")
        };
        let bytes = files::read(path)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let certificates = certificates.map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("it has no `BEGIN CERTIFICATE`".to_owned()).into());
        }
        let given = TrustedFile {
            path: path.to_owned(),
            certificates,
        };
        // Certificates that cannot be used are refused now rather than at the first connection.
        given.verifier().map_err(unusable)?;
        Ok(Self(Some(given)))
    }

    /// TLS settings of a client that trusts them and speaks HTTP/1.1.
    pub fn client(&self) -> Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .context("preparing TLS")?;
        let builder = match &self.0 {
            None => builder
                .with_platform_verifier()
                .context("reading the certificates that this machine trusts")?,
            Some(given) => {
                let verifier = given.verifier().map_err(anyhow::Error::msg)?;
                { builder.dangerous() }.with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let mut client = builder.with_no_client_auth();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(client)
    }

    /// The failure of a connection to `url`, if `error` comes from TLS.
    pub fn failure(
        &self,
        class: Class,
        url: &str,
        error: &(dyn StdError + 'static),
    ) -> Option<Failure> {
        match cause(error)? {
            rustls::Error::InvalidCertificate(why) => {
                let what = format!("the certificate of {url} is not trusted");
                Some(
                    { Failure::new(class, what) }
                        .why(self.reason(why))
                        .help(self.remedy(why)),
                )
            }
            rustls::Error::InvalidMessage(_) => {
                let what = format!("the server at {url} does not speak TLS");
                Some(Failure::new(class, what).help("ask it with http:// in place of https://"))
            }
            _ => None,
        }
    }

    fn reason(&self, error: &CertificateError) -> String {
        match error {
            // The second comes of a CA with the name of a trusted one and another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => match &self.0 {
                None => "nobody whom this machine trusts has signed it".to_owned(),
                Some(given) => format!(
                    "it is not in `{0}`, and nobody in it has signed it",
                    given.path.display()
                ),
            },
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet, by the clock of this machine".to_owned()
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => {
                let expected = expected.to_str();
                match presented.as_slice() {
                    [] => format!("it has no name, and is asked for as {expected}"),
                    names => {
                        let names: Vec<&str> = names.iter().map(|name| bare(name)).collect();
                        format!("it is for {}, and not for {expected}", names.join(", "))
                    }
                }
            }
            CertificateError::Other(other) if is_of_a_ca(&other.to_string()) => match &self.0 {
                None => "it is self-signed, or that of a CA".to_owned(),
                Some(given) => format!(
                    "it is self-signed, or that of a CA, and not the one in `{}`",
                    given.path.display()
                ),
            },
            other => other.to_string(),
        }
    }

    fn remedy(&self, error: &CertificateError) -> &'static str {
        match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "ask the server by a name that its certificate has, or give it one with this name"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "give the server a new certificate"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "set the clock, or give the server another certificate"
            }
            _ => {
                "give the certificate of the CA that signed it, or the server's own: `--ca-cert FILE`"
            }
        }
    }
}

/// The name in `DnsName("localhost")` or `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inside = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

/// True for the verifier's error about a certificate that may sign others, and so is not for a server.
fn is_of_a_ca(error: &str) -> bool {
    error.contains("CaUsedAsEndEntity")
}

/// The error of TLS among the causes of `error`.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // `source()` of an I/O error skips the error that it wraps.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

impl TrustedFile {
    fn verifier(&self) -> Result<Verifier, String> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.certificates {
            let added = roots.add(certificate.clone());
            added.map_err(|error| error.to_string())?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        Ok(Verifier {
            chains: chains.build().map_err(|error| error.to_string())?,
            certificates: self.certificates.clone(),
        })
    }
}

/// Trusts servers whose certificate is signed by a given one, and servers whose own certificate is given. A
/// self-signed certificate that may sign others, as `openssl req -x509` makes them, is refused by the usual
/// verifier of chains as that of a server.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{BadSignature, Other, UnknownIssuer};
        use rustls::Error::InvalidCertificate;
        let checked = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match checked {
            // The verifier tests the dates before it returns one of these errors, so they are known to be right.
            Err(InvalidCertificate(UnknownIssuer | BadSignature | Other(_)))
                if self.certificates.iter().any(|given| given == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        { &self.chains }.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        { &self.chains }.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
