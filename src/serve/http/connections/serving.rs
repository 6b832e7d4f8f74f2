//! Serving a connection, from its first byte until it ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use axum::Router;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::{Builder, Connection};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::server::TlsStream;
use tower_service::Service as _;

use crate::serve::http::connections::activity::{Activity, Overdue};
use crate::serve::http::connections::body::{AnswerBody, TimedBody};
use crate::serve::http::connections::early::NO_TLS;
use crate::serve::http::connections::shared::BoundedTasks;
use crate::serve::http::connections::stream::{ClientStream, Transport};
use crate::serve::http::listener_options::ListenerOptions;
use crate::serve::http::tls::Tls;
use crate::serve::limits::Limits;
use crate::serve::request::frontend::Frontend;

/// The largest head of a request; the texts of the FastAPI server's protocol are in it.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(in crate::serve::http) struct Peer(pub(in crate::serve::http) SocketAddr);

/// What all connections have in common.
pub(in crate::serve::http) struct Connections {
    pub(super) frontend: Arc<Frontend>,
    pub(super) options: Arc<ListenerOptions>,
    pub(super) limits: Limits,
    http: Builder<BoundedTasks>,
}

impl Connections {
    pub(in crate::serve::http) fn new(
        frontend: Arc<Frontend>,
        options: Arc<ListenerOptions>,
    ) -> Self {
        let limits = frontend.served.limits;
        let mut http = Builder::new(BoundedTasks { time: limits.body });
        // `activity` has the times.
        http.http1()
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES_MAX);
        let streams = u32::try_from(limits.requests_per_connection).unwrap_or(u32::MAX);
        http.http2()
            .max_concurrent_streams(streams)
            .max_header_list_size(HEAD_BYTES_MAX as u32);
        Self {
            frontend,
            options,
            limits,
            http,
        }
    }

    /// Serves a connection until it ends.
    pub(super) async fn serve(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        app: Router,
        stopped: watch::Receiver<bool>,
    ) {
        let _open = self.frontend.traffic.connected();
        // An answer is one write, and nobody gains from waiting for another.
        let _ = tcp.set_nodelay(true);
        let transport = match &self.options.tls {
            None => Transport::Plain(tcp),
            Some(tls) => {
                let shaken = tokio::time::timeout(self.limits.head, self.shake(tls, tcp));
                let mut stopping = stopped.clone();
                let shaken = tokio::select! {
                    shaken = shaken => shaken,
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                };
                match shaken {
                    Ok(Ok(stream)) => Transport::Tls(Box::new(stream)),
                    // A client that does not trust us, speaks no TLS or is too slow.
                    Ok(Err(error)) => return tracing::debug!("no TLS with {peer}: {error}"),
                    Err(_) => return tracing::debug!("no TLS with {peer} in time"),
                }
            }
        };
        let activity = Activity::new();
        let io = TokioIo::new(ClientStream::new(transport, Arc::clone(&activity)));
        let service = service_fn(|request| self.answer(request, peer, &app, &activity));
        let connection = self.http.serve_connection(io, service);
        let end = |connection: Pin<&mut _>| Connection::graceful_shutdown(connection);
        self.watch(pin!(connection), end, &activity, stopped).await;
    }

    /// Begins TLS with a client that speaks it.
    async fn shake(&self, tls: &Tls, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        tcp.peek(&mut first).await?;
        // A method; a handshake begins with a byte that is no letter.
        if first[0].is_ascii_uppercase() {
            self.frontend.traffic.refused(NO_TLS.code);
            NO_TLS.send(tcp).await;
            return Err(io::Error::other("it speaks plain HTTP"));
        }
        tls.accept(tcp).await
    }

    /// Answers a request.
    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        app: &Router,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<> {
        let version = request.version();
        let (in_flight, computing) = activity.begin(version);
        if self.options.log_requests {
            request.extensions_mut().insert(Peer(peer));
        }
        let time = self.limits.body;
        let request = request.map(|body| TimedBody::new(body, version, activity, time));
        let response = app.clone().call(request);
        async move {
            let response = response.await?;
            drop(computing);
            Ok(response.map(|body| AnswerBody::new(body, in_flight, version)))
        }
    }

    /// BucketCounters a connection until it ends by itself, the server ends, or its time is over; `end` has it
    /// answer what it has begun to read, and nothing more.
    async fn watch<C: Future>(
        &self,
        mut connection: Pin<&mut C>,
        end: impl Fn(Pin<&mut C>),
        activity: &Activity,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut stopping = pin!(stopped.wait_for(|stopping| *stopping));
        let mut is_told = false;
        let mut set_to = activity.due(&self.limits).0;
        let mut alarm = pin!(sleep_until(set_to));
        // When an idle connection that was told to end has had its time for that, too.
        let mut ends = None;
        poll_fn(|cx| {
            if !is_told && stopping.as_mut().poll(cx).is_ready() {
                is_told = true;
                end(connection.as_mut());
            }
            loop {
                if connection.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                // An alarm that comes too early costs less than one that is set for each request.
                loop {
                    let (due, overdue) = activity.due(&self.limits);
                    let due = ends.map_or(due, |ends| due.max(ends));
                    if due < set_to {
                        set_to = due;
                        alarm.as_mut().reset(due);
                    }
                    ready!(alarm.as_mut().poll(cx));
                    let now = Instant::now();
                    if due > now {
                        set_to = due;
                        alarm.as_mut().reset(due);
                        continue;
                    }
                    tracing::debug!("a connection is ended: {overdue:?}");
                    if overdue != Overdue::Idle || ends.is_some() {
                        return Poll::Ready(());
                    }
                    ends = Some(now + self.limits.head);
                    end(connection.as_mut());
                    break;
                }
            }
        })
        .await;
    }
}
