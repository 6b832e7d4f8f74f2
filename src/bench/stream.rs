//! The transport between a load generator and a server, with or without TLS.

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

/// The address of a server, with the TLS settings where it is https.
#[derive(Clone)]
pub(super) struct ServerAddress {
    pub(super) socket: SocketAddr,
    /// TLS settings, and the name that the server's certificate must have.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// An open connection.
#[derive(Debug)]
pub(super) enum ServerStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ServerAddress {
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self {
            socket: address,
            tls: None,
        }
    }

    pub(super) fn tls(
        address: SocketAddr,
        name: ServerName<'static>,
        client: ClientConfig,
    ) -> Self {
        Self {
            socket: address,
            tls: Some((TlsConnector::from(Arc::new(client)), name)),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) async fn open(&self) -> io::Result<ServerStream> {
        let stream = TcpStream::connect(self.socket).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(ServerStream::Plain(stream)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(ServerStream::Tls(Box::new(stream)))
            }
        }
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.tls.as_ref().map(|(_, name)| name);
        f.debug_tuple("ServerAddress")
            .field(&self.socket)
            .field(&name)
            .finish()
    }
}

impl ServerStream {
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            ServerStream::Plain(stream) => stream.write_all(bytes).await,
            ServerStream::Tls(stream) => {
                stream.write_all(bytes).await?;
                // The TLS layer may have buffered the bytes that it took.
                stream.flush().await
            }
        }
    }

    /// Appends the bytes that have arrived and returns their number; 0 at the end of the connection.
    pub(super) async fn receive(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            ServerStream::Plain(stream) => stream.read_buf(to).await,
            ServerStream::Tls(stream) => stream.read_buf(to).await,
        }
    }
}
