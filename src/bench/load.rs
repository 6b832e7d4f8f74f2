//! Load: so many clients that each wait for their answer (closed loop), or requests that come when they
//! come, whether or not the server keeps up (open loop).
//!
//! All of it runs in one thread, since the server needs the processors more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use tokio::sync::{Notify, watch};

use crate::bench::client::{Answer, Connection};
use crate::bench::processor::Snapshot;
use crate::bench::tally::Tally;
use crate::bench::target::Target;
use crate::bench::texts::{Random, Source};
use crate::bench::timer::Timer;

/// Requests of an open loop that may wait for a connection; beyond that they count as errors.
const WAITING_MAX: usize = 1 << 16;

/// The pause of a client whose connection failed.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// So many clients; each sends its next request when it has the answer to the last one.
    Concurrency(usize),
    /// So many a second, independently of one another and of the server.
    Rate(f64),
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Load::Concurrency(clients) => write!(f, "concurrency {clients}"),
            Load::Rate(rate) => write!(f, "{rate:.0} requests/s"),
        }
    }
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    After(Duration),
    Requests(u64),
}

/// What all runs have in common.
#[derive(Debug)]
pub struct Options {
    pub source: Source,
    pub seed: u64,
    /// The same load before, which is not counted.
    pub warm_up: Duration,
    pub until: Until,
    /// A request that takes longer counts as an error.
    pub timeout: Duration,
    /// Connections of an open loop.
    pub connections: usize,
    /// The server's process, where it is on this machine.
    pub server: Option<u32>,
    /// True when a run is to end as it is, and none is to begin any more.
    pub interrupted: watch::Receiver<bool>,
}

impl Options {
    pub fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }

    /// Done when the benchmark is interrupted.
    async fn interruption(&self) {
        let mut interrupted = self.interrupted.clone();
        if interrupted.wait_for(|is_so| *is_so).await.is_err() {
            // Nobody can interrupt it any more.
            std::future::pending::<()>().await;
        }
    }
}

/// What a run gave.
#[derive(Debug)]
pub struct Measured {
    pub tally: Tally,
    /// From the first counted request until the last one was answered.
    pub elapsed: Duration,
    pub before: Option<Snapshot>,
    pub after: Option<Snapshot>,
}

struct Run<'a> {
    target: &'a Target,
    options: &'a Options,
    begins: Instant,
    tally: RefCell<Tally>,
    /// Requests so far, with those of the warm-up.
    sent: Cell<u64>,
    counted: Cell<u64>,
    last: Cell<Instant>,
    before: Cell<Option<Snapshot>>,
    broken: RefCell<Option<anyhow::Error>>,
}

/// A client's connection and the request that it writes, which are used again.
#[derive(Default)]
struct Client {
    connection: Option<Connection>,
    request: Request,
}

#[derive(Default)]
struct Request {
    text: String,
    bytes: Vec<u8>,
}

/// Puts `load` on `target`. `first` numbers the first text, so that runs do not repeat one another.
pub async fn run(target: &Target, options: &Options, load: Load, first: u64) -> Result<Measured> {
    let begins = Instant::now() + options.warm_up;
    let run = Run {
        target,
        options,
        begins,
        tally: RefCell::new(Tally::new()?),
        sent: Cell::new(first),
        counted: Cell::new(0),
        last: Cell::new(begins),
        before: Cell::new(None),
        broken: RefCell::new(None),
    };
    let is_whole = tokio::select! {
        outcome = run.put(load) => outcome.map(|()| true)?,
        // Requests that are on their way are neither answered nor failed.
        () = options.interruption() => false,
    };
    let after = options.server.and_then(Snapshot::take);
    let answered = run.last.get().saturating_duration_since(begins);
    match run.broken.into_inner() {
        Some(error) => Err(error),
        None => Ok(Measured {
            tally: run.tally.into_inner(),
            elapsed: match options.until {
                Until::After(duration) if is_whole => duration.max(answered),
                _ if is_whole => answered,
                _ => begins.elapsed(),
            },
            before: run.before.get(),
            after,
        }),
    }
}

impl Run<'_> {
    async fn put(&self, load: Load) -> Result<()> {
        match load {
            Load::Concurrency(clients) => {
                all((0..clients).map(|_| self.closed())).await;
                Ok(())
            }
            Load::Rate(rate) => self.open(rate).await,
        }
    }

    /// True when no request may begin any more.
    fn is_over(&self, now: Instant) -> bool {
        self.broken.borrow().is_some()
            || match self.options.until {
                Until::After(duration) => now >= self.begins + duration,
                Until::Requests(count) => self.counted.get() >= count,
            }
    }

    async fn closed(&self) {
        let mut client = Client::default();
        loop {
            let now = Instant::now();
            if self.is_over(now) {
                return;
            }
            self.one(&mut client, now).await;
        }
    }

    /// Sends the next request, which was to be sent at `intended`.
    async fn one(&self, client: &mut Client, intended: Instant) {
        let is_counted = intended >= self.begins;
        if is_counted {
            if self.counted.get() == 0 {
                self.before
                    .set(self.options.server.and_then(Snapshot::take));
            }
            self.counted.set(self.counted.get() + 1);
        }
        let index = self.sent.get();
        self.sent.set(index + 1);
        client.request.text.clear();
        let (source, seed) = (&self.options.source, self.options.seed);
        source.write(seed, index, &mut client.request.text);
        let Request { text, bytes } = &mut client.request;
        self.target.write_request(text, bytes);
        let asked = ask(&mut client.connection, self.target, bytes);
        let outcome = tokio::time::timeout(self.options.timeout, asked).await;
        let now = Instant::now();
        let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let failed = outcome.is_err();
        if is_counted {
            self.last.set(now);
            self.count(outcome, now - intended);
        }
        if failed {
            client.connection = None;
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
    }

    fn count(&self, outcome: io::Result<Answer>, latency: Duration) {
        let mut tally = self.tally.borrow_mut();
        match outcome {
            Err(error) => tally.failed(&describe(&error)),
            Ok(answer) => {
                if let Err(error) = tally.answered(answer, latency) {
                    *self.broken.borrow_mut() = Some(error);
                }
            }
        }
    }
}

impl Run<'_> {
    /// Sends requests at the times of a Poisson process. One whose time has come and that finds no
    /// connection waits, and its latency counts from that time.
    async fn open(&self, rate: f64) -> Result<()> {
        let pool = Pool::default();
        let mut timer = Timer::new()?;
        let mut random = Random::new(self.options.seed ^ 0x5eed);
        let mut intended = Instant::now();
        let arrivals = async {
            loop {
                intended += Duration::from_secs_f64(random.pause(rate));
                // Looked at ahead of the pause, which at a low rate is longer than the run.
                if self.is_over(intended) {
                    pool.ended.set(true);
                    pool.arrived.notify_waiters();
                    return Ok::<(), anyhow::Error>(());
                }
                timer.wait(intended).await?;
                self.arrive(&pool, intended);
            }
        };
        let served = all((0..self.options.connections).map(|_| self.serve(&pool)));
        let (outcome, ()) = tokio::join!(arrivals, served);
        outcome
    }

    fn arrive(&self, pool: &Pool, intended: Instant) {
        let mut waiting = pool.waiting.borrow_mut();
        if waiting.len() < WAITING_MAX {
            waiting.push_back(intended);
            // The one that came last: idle connections stay closed.
            pool.arrived.notify_last();
        } else if intended >= self.begins {
            self.counted.set(self.counted.get() + 1);
            self.tally
                .borrow_mut()
                .failed("not sent: too many requests wait for a connection");
        }
    }

    /// One connection: takes what waits until nothing comes any more.
    async fn serve(&self, pool: &Pool) {
        let mut client = Client::default();
        loop {
            let next = pool.waiting.borrow_mut().pop_front();
            match next {
                Some(intended) => self.one(&mut client, intended).await,
                None if pool.ended.get() => return,
                None => pool.arrived.notified().await,
            }
        }
    }
}

/// Runs clients side by side; each is looked at only when something happened to it.
async fn all(clients: impl Iterator<Item: Future<Output = ()>>) {
    let clients: FuturesUnordered<_> = clients.collect();
    clients.collect::<()>().await;
}

/// Requests of an open loop whose time has come.
#[derive(Default)]
struct Pool {
    waiting: RefCell<VecDeque<Instant>>,
    arrived: Notify,
    ended: Cell<bool>,
}

async fn ask(
    connection: &mut Option<Connection>,
    target: &Target,
    request: &[u8],
) -> io::Result<Answer> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(&target.way).await?),
    };
    let answer = open.ask(request, None).await?;
    if answer.closes {
        *connection = None;
    }
    Ok(answer)
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the server reset the connection".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Runs `work` to its end in this thread.
pub fn block_on<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build();
    Ok(runtime
        .context("starting the async runtime")?
        .block_on(work))
}
