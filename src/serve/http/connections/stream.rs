//! The bytes of a connection, plain or through TLS: what they say of it is noted, and a client that has
//! ended its side still gets the answers that it is owed.
//!
//! That a client sends nothing more can mean two things: it has said all it had to say and waits, or it
//! has gone. An interim answer tells them apart: the system of a client that has gone refuses it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

use crate::serve::http::connections::activity::Activity;

/// What every client of HTTP/1.1 has to be able to skip.
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How often it is looked whether a client that sends nothing more is still there.
const GONE_EVERY: Duration = Duration::from_millis(50);

/// How long a client may take to see that the rest of its request is not wanted: a connection that is
/// closed before has its answer taken away.
const LINGER: Duration = Duration::from_secs(1);

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Does the same with either.
macro_rules! either {
    ($transport:expr, $stream:ident => $does:expr) => {
        match $transport {
            Transport::Plain($stream) => $does,
            Transport::Tls($stream) => $does,
        }
    };
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// The end of what a client sends, while it is kept from HTTP.
struct Ended {
    is_interim_said: bool,
    alarm: Pin<Box<Sleep>>,
}

pub(super) struct ClientStream {
    transport: Transport,
    activity: Arc<Activity>,
    /// The client sends nothing more.
    ended: Option<Ended>,
    /// What is read is thrown away until then.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    pub(super) fn new(transport: Transport, activity: Arc<Activity>) -> Self {
        Self {
            transport,
            activity,
            ended: None,
            lingering: None,
        }
    }

    /// Keeps the end of what the client sends from HTTP while it is owed an answer and is still there.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(ended) = self.ended.as_mut().filter(|_| self.activity.is_asked()) else {
            return Poll::Ready(Ok(()));
        };
        if !ended.is_interim_said && self.activity.takes_interim() {
            ended.is_interim_said = true;
            self.say_interim(cx)?;
        }
        let Some(ended) = &mut self.ended else {
            return Poll::Ready(Ok(()));
        };
        loop {
            if let Some(error) = self.transport.tcp().take_error()? {
                return Poll::Ready(Err(error));
            }
            ready!(ended.alarm.as_mut().poll(cx));
            // The last of a body may still be on its way to its reader, but not for so long.
            if !self.activity.owes_answer() {
                return Poll::Ready(Ok(()));
            }
            ended.alarm.as_mut().reset(Instant::now() + GONE_EVERY);
        }
    }

    fn say_interim(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let sent =
            either!(&mut self.transport, stream => Pin::new(stream).poll_write(cx, INTERIM))?;
        match sent {
            // The buffers of a connection that is not blocked have room for it.
            Poll::Ready(count) if count < INTERIM.len() => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(_) => {
                let flushed =
                    either!(&mut self.transport, stream => Pin::new(stream).poll_flush(cx))?;
                // What waits goes out with the answer.
                let (Poll::Ready(()) | Poll::Pending) = flushed;
                Ok(())
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ended.is_some() {
            return this.poll_ended(cx);
        }
        let before = buf.filled().len();
        ready!(either!(&mut this.transport, stream => Pin::new(stream).poll_read(cx, buf)))?;
        if buf.filled().len() > before {
            this.activity.read();
            return Poll::Ready(Ok(()));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        this.ended = Some(Ended {
            is_interim_said: false,
            alarm: Box::pin(sleep(GONE_EVERY)),
        });
        this.poll_ended(cx)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = either!(&mut self.transport, stream => Pin::new(stream).poll_write(cx, buf));
        self.activity.wrote(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written =
            either!(&mut self.transport, stream => Pin::new(stream).poll_write_vectored(cx, bufs));
        self.activity.wrote(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        either!(&self.transport, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = either!(&mut self.transport, stream => Pin::new(stream).poll_flush(cx));
        self.activity.wrote(flushed.is_pending());
        flushed
    }

    /// Ends our side. Where the client may still be sending what was refused, it is given the time to
    /// read why.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(either!(&mut this.transport, stream => Pin::new(stream).poll_shutdown(cx)))?;
            if !this.activity.left_unread() || this.ended.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        let until = this
            .lingering
            .get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let tcp = match &mut this.transport {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_mut().0,
        };
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut thrown_away = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut thrown_away);
            ready!(Pin::new(&mut *tcp).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
