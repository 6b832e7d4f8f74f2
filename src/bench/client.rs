//! A connection that is kept open, with the part of HTTP/1.1 that a load generator needs. It shares the
//! processors with the server that it measures, so it copies only the bytes that it needs.

use std::io;

use memchr::memmem;

use crate::bench::stream::{ServerAddress, ServerStream};

/// Longer heads, and longer lines between chunks, are errors.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Longer bodies are errors.
const BODY_BYTES_MAX: usize = 1 << 30;

const READ_BYTES: usize = 32 << 10;

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Connection {
    stream: ServerStream,
    /// Bytes that were received; the next answer begins at the start.
    buffer: Vec<u8>,
}

/// The head of an answer, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpAnswer {
    pub status: u16,
    /// The model, cores and buckets that answered, from neuronc's headers.
    pub model: Option<String>,
    pub cores: Option<String>,
    pub buckets: Option<String>,
    /// `simulated` where no device computed the answer.
    pub runtime: Option<String>,
    /// True when the server closes the connection after this answer.
    pub closes: bool,
    /// The body of an answer without a status of success.
    pub refusal: Option<Vec<u8>>,
}

/// How the end of a body is found.
enum BodyLength {
    Length(usize),
    Chunks,
    /// The body ends with the connection.
    Rest,
}

impl Connection {
    pub(super) async fn open(server: &ServerAddress) -> io::Result<Self> {
        Ok(Self {
            stream: server.open().await?,
            buffer: Vec::with_capacity(READ_BYTES),
        })
    }

    /// Sends a whole request and receives its answer; the body is appended to `body`, if there is one.
    pub(super) async fn ask(
        &mut self,
        request: &[u8],
        body: Option<&mut Vec<u8>>,
    ) -> io::Result<HttpAnswer> {
        self.stream.send(request).await?;
        let head = self.read_until(0, b"\r\n\r\n").await?;
        let (mut answer, length) = parse(&self.buffer[..head])?;
        let end = match length {
            BodyLength::Length(length) if length <= BODY_BYTES_MAX => {
                self.read_to(head + length).await?;
                if let Some(body) = body {
                    body.extend_from_slice(&self.buffer[head..head + length]);
                }
                head + length
            }
            BodyLength::Length(_) => return Err(invalid("an answer is too long")),
            BodyLength::Chunks => self.read_chunks(head, body).await?,
            BodyLength::Rest => {
                answer.closes = true;
                while self.read_some().await? > 0 {}
                if let Some(body) = body {
                    body.extend_from_slice(&self.buffer[head..]);
                }
                self.buffer.len()
            }
        };
        if !(200..300).contains(&answer.status) {
            answer.refusal = Some(self.buffer[head..end].to_vec());
        }
        self.buffer.drain(..end);
        Ok(answer)
    }

    /// Receives the chunks that begin at index `at`; returns the index after the last one.
    async fn read_chunks(
        &mut self,
        mut at: usize,
        mut body: Option<&mut Vec<u8>>,
    ) -> io::Result<usize> {
        loop {
            let line = self.read_until(at, b"\r\n").await?;
            let size = std::str::from_utf8(&self.buffer[at..line - 2]).ok();
            let size = size.and_then(|size| size.split(';').next());
            let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.filter(|size| *size <= BODY_BYTES_MAX);
            let size = size.ok_or_else(|| invalid("an answer has a chunk without a size"))?;
            if size == 0 {
                // The trailers end with an empty line; mostly there is no other.
                let mut end = line;
                loop {
                    let next = self.read_until(end, b"\r\n").await?;
                    if next == end + 2 {
                        return Ok(next);
                    }
                    end = next;
                }
            }
            self.read_to(line + size + 2).await?;
            if let Some(body) = body.as_deref_mut() {
                body.extend_from_slice(&self.buffer[line..line + size]);
            }
            at = line + size + 2;
        }
    }

    /// Receives until `end` is found at or after index `from`; returns the index behind it.
    async fn read_until(&mut self, from: usize, end: &[u8]) -> io::Result<usize> {
        let mut searched = from;
        loop {
            if let Some(found) = memmem::find(&self.buffer[searched..], end) {
                return Ok(searched + found + end.len());
            }
            if self.buffer.len() - from > HEAD_BYTES_MAX {
                return Err(invalid("an answer's head is too long"));
            }
            // `end` may be cut between two reads.
            searched = self.buffer.len().saturating_sub(end.len() - 1).max(from);
            self.read_more().await?;
        }
    }

    async fn read_to(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            self.read_more().await?;
        }
        Ok(())
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.read_some().await? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            )),
            _ => Ok(()),
        }
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        self.stream.receive(&mut self.buffer).await
    }
}

/// Parses a head: status line and headers.
fn parse(head: &[u8]) -> io::Result<(HttpAnswer, BodyLength)> {
    let text = std::str::from_utf8(head).map_err(|_| invalid("an answer's head is not text"))?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| code.parse().ok());
    let mut answer = HttpAnswer {
        status: status.ok_or_else(|| invalid("the server does not speak HTTP/1.1"))?,
        closes: first.starts_with("HTTP/1.0"),
        ..HttpAnswer::default()
    };
    // Without a length, the end of the connection is the end of the body.
    let mut body = BodyLength::Rest;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("content-length") {
            let length = value.parse();
            body = BodyLength::Length(
                length.map_err(|_| invalid("an answer's length is not a number"))?,
            );
        } else if is("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            body = BodyLength::Chunks;
        } else if is("connection") {
            answer.closes = value.eq_ignore_ascii_case("close");
        } else if is("x-neuronc-model") {
            answer.model = Some(value.to_owned());
        } else if is("x-neuronc-cores") {
            answer.cores = Some(value.to_owned());
        } else if is("x-neuronc-buckets") {
            answer.buckets = Some(value.to_owned());
        } else if is("x-neuronc-runtime") {
            answer.runtime = Some(value.to_owned());
        }
    }
    if answer.status == 204 || answer.status == 304 {
        body = BodyLength::Length(0);
    }
    Ok((answer, body))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    /// The answer that a client gets from a server that sends `pieces`, each in a write of its own, then closes.
    fn answer_of(pieces: &[&'static str]) -> io::Result<(HttpAnswer, String)> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pieces = pieces.to_vec();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            stream.read_exact(&mut [0; 3]).unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
                std::thread::yield_now();
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let outcome = runtime.block_on(async {
            let mut connection = Connection::open(&ServerAddress::plain(address)).await?;
            let mut body = Vec::new();
            let answer = connection.ask(b"ask", Some(&mut body)).await?;
            Ok((answer, String::from_utf8(body).unwrap()))
        });
        server.join().unwrap();
        outcome
    }

    #[test]
    fn lengths_chunks_and_bodies_to_the_end_are_read() {
        let head = "HTTP/1.1 200 OK\r\nX-Neuronc-Cores: 1\r\ncontent-le";
        let (answer, body) = answer_of(&[head, "ngth: 4\r\n\r", "\nab", "cd"]).unwrap();
        assert_eq!(
            (answer.status, body.as_str(), answer.closes),
            (200, "abcd", false)
        );
        assert_eq!(answer.cores.as_deref(), Some("1"));
        let chunked = "HTTP/1.1 429 No\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nabc\r\n1";
        let (answer, body) =
            answer_of(&[chunked, "0\r\n0123456789abcdef\r\n0\r\nt: 1\r\n\r\n"]).unwrap();
        assert_eq!((answer.status, body.as_str()), (429, "abc0123456789abcdef"));
        let (answer, body) = answer_of(&["HTTP/1.0 500 No\r\n\r\n", "why"]).unwrap();
        assert_eq!(
            (answer.status, body.as_str(), answer.closes),
            (500, "why", true)
        );
    }

    #[test]
    fn what_is_cut_off_or_not_http_is_an_error() {
        let cut = answer_of(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        let other = answer_of(&["SSH-2.0-OpenSSH\r\n\r\n"]).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::InvalidData);
        let chunk = answer_of(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"]);
        assert_eq!(chunk.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
