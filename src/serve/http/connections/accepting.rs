//! Taking connections from listeners: never more than there are places, and never without pause when
//! the system has none to give.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::serve::http::connections::early::NO_PLACE;
use crate::serve::http::connections::places::{MANAGEMENT_MAX, REFUSALS_MAX};
use crate::serve::http::connections::serving::Connections;

/// Connections that the system holds for us until we take them.
const BACKLOG: i32 = 4096;

/// How long nothing is taken when the system has no descriptor left, unless a connection ends before.
const PAUSE: Duration = Duration::from_millis(200);

/// All listeners of a server.
#[derive(Clone)]
pub(in crate::serve::http) struct Accepting {
    connections: Arc<Connections>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    /// A connection has ended.
    ended: Arc<Notify>,
    stopped: watch::Receiver<bool>,
}

impl Accepting {
    pub(in crate::serve::http) fn new(
        connections: Connections,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            places: Arc::new(Semaphore::new(connections.limits.connections)),
            connections: Arc::new(connections),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            ended: Arc::new(Notify::new()),
            stopped,
        }
    }

    /// For those who manage: until another moment, and with places that nobody else can take.
    pub(in crate::serve::http) fn managing(&self, stopped: watch::Receiver<bool>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(MANAGEMENT_MAX)),
            stopped,
            ..self.clone()
        }
    }

    /// Serves `app` on a listener until the server is told to stop, and its connections until they end.
    pub(in crate::serve::http) async fn run(
        mut self,
        listener: std::net::TcpListener,
        app: Router,
    ) -> Result<()> {
        // It listens already; this only makes room for many clients that come at once.
        rustix::net::listen(&listener, BACKLOG).context("listening")?;
        let listener = TcpListener::from_std(listener).context("handing over the listener")?;
        // Nothing is sent: the channel ends with the last connection.
        let (alive, mut all_ended) = mpsc::channel::<Infallible>(1);
        let mut stopped = self.stopped.clone();
        let mut is_short = false;
        loop {
            let accepted = tokio::select! {
                biased;
                // An error means that nobody can tell us any more.
                _ = stopped.wait_for(|stopping| *stopping) => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    is_short = false;
                    self.admit(stream, peer, &app, &alive);
                }
                Err(error) if is_of_client(&error) => {}
                Err(error) => {
                    if !is_short {
                        tracing::error!("no connection can be taken for now: {error}");
                    }
                    is_short = true;
                    self.pause().await;
                }
            }
        }
        drop((listener, alive));
        all_ended.recv().await;
        Ok(())
    }

    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        app: &Router,
        alive: &mpsc::Sender<Infallible>,
    ) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.connections.frontend.traffic.refused(NO_PLACE.code);
            // There is a place for being refused, too; without one the connection is just closed.
            if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned()
                && self.connections.options.tls.is_none()
            {
                tokio::spawn(async move {
                    NO_PLACE.send(stream).await;
                    drop(place);
                });
            }
            return;
        };
        let held = (place, alive.clone());
        let (connections, app) = (Arc::clone(&self.connections), app.clone());
        let (stopped, ended) = (self.stopped.clone(), Arc::clone(&self.ended));
        tokio::spawn(async move {
            connections.serve(stream, peer, app, stopped).await;
            drop(held);
            ended.notify_one();
        });
    }

    async fn pause(&mut self) {
        tokio::select! {
            () = self.ended.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
            _ = self.stopped.wait_for(|stopping| *stopping) => {}
        }
    }
}

/// Errors of one connection that was gone before it was taken.
fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
