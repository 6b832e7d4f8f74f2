//! The bytes between a load generator and a server, with TLS or without.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How a server is reached.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) address: SocketAddr,
    /// And the name that its certificate must have.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Way {
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    pub(super) fn tls(
        address: SocketAddr,
        name: ServerName<'static>,
        client: ClientConfig,
    ) -> Self {
        Self {
            address,
            tls: Some((TlsConnector::from(Arc::new(client)), name)),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) async fn open(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Stream::Plain(stream)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.tls.as_ref().map(|(_, name)| name);
        f.debug_tuple("Way")
            .field(&self.address)
            .field(&name)
            .finish()
    }
}

impl Stream {
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.write_all(bytes).await,
            Stream::Tls(stream) => {
                stream.write_all(bytes).await?;
                // What was taken need not have been sent.
                stream.flush().await
            }
        }
    }

    /// Appends what has come; 0 at the end.
    pub(super) async fn receive(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read_buf(to).await,
            Stream::Tls(stream) => stream.read_buf(to).await,
        }
    }
}
