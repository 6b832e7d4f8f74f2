//! Clients that are refused before their request is read, in words that every client of HTTP can show.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a client may take to read that it is refused.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why, as a code of `docs/serve.md` and in words, and the head of the answer.
pub(super) struct EarlyRefusal {
    pub(super) code: &'static str,
    error: &'static str,
    head: &'static str,
}

/// There are as many connections as there is place for.
pub(super) const NO_PLACE: EarlyRefusal = EarlyRefusal {
    code: "too_many_connections",
    error: "the server has as many connections as it can hold",
    head: "503 Service Unavailable\r\nretry-after: 1",
};

/// The server speaks TLS, and the client does not.
pub(super) const NO_TLS: EarlyRefusal = EarlyRefusal {
    code: "no_tls",
    error: "this port speaks TLS: begin the URL with https://",
    head: "400 Bad Request",
};

impl EarlyRefusal {
    /// Says so, and waits until that was read: what is closed before may never be.
    pub(super) async fn send(&self, stream: TcpStream) {
        // A client that does not read it has only itself to blame.
        let _ = tokio::time::timeout(PATIENCE, self.send_all(stream)).await;
    }

    async fn send_all(&self, mut stream: TcpStream) -> io::Result<()> {
        let Self { code, error, head } = self;
        let body = format!(r#"{{"code":"{code}","error":"{error}"}}"#);
        let answer = format!(
            "HTTP/1.1 {head}\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut thrown_away = [0; 1024];
        while stream.read(&mut thrown_away).await? > 0 {}
        Ok(())
    }
}
