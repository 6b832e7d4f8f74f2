//! Puts load on a server: a number of clients that each wait for their answer (closed loop), or requests at
//! times of their own, whether or not the server keeps up (open loop).
//!
//! All of it runs in one thread, to leave the processors to the server; so plain cells hold the state.

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

use crate::bench::client::{Connection, HttpAnswer};
use crate::bench::processor::ProcessorSnapshot;
use crate::bench::tally::RunTally;
use crate::bench::target::BenchTarget;
use crate::bench::texts::{Random, TextSource};
use crate::bench::timer::Timer;

/// Number of requests of an open loop that may wait for a connection; further ones count as errors.
const WAITING_MAX: usize = 1 << 16;

/// Pause of a client after a failure, so that a dead server is not asked in a tight loop.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);

/// The pattern of requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadPattern {
    /// Closed loop with this number of clients; each sends its next request when it has its answer.
    Concurrency(usize),
    /// Open loop with this number of requests per second, at random times that do not depend on the server.
    Rate(f64),
}

impl fmt::Display for LoadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadPattern::Concurrency(clients) => write!(f, "concurrency {clients}"),
            LoadPattern::Rate(rate) => write!(f, "{rate:.0} requests/s"),
        }
    }
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    After(Duration),
    Requests(u64),
}

/// Options that all runs have in common.
#[derive(Debug)]
pub struct BenchOptions {
    pub source: TextSource,
    pub seed: u64,
    /// Time of the same load before the run, which is not counted.
    pub warm_up: Duration,
    pub until: Until,
    /// A request that takes longer counts as an error.
    pub timeout: Duration,
    /// Number of connections of an open loop.
    pub connections: usize,
    /// Process id of the server, where it is on this machine.
    pub server: Option<u32>,
    /// Becomes true when the benchmark is interrupted: the run ends as it is, and no other begins.
    pub interrupted: watch::Receiver<bool>,
}

impl BenchOptions {
    pub fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }

    /// Completes when the benchmark is interrupted.
    async fn interruption(&self) {
        let mut interrupted = self.interrupted.clone();
        if interrupted.wait_for(|is_so| *is_so).await.is_err() {
            // The sender is gone, so nothing can interrupt it any more.
            std::future::pending::<()>().await;
        }
    }
}

/// The raw results of a run.
#[derive(Debug)]
pub struct RunMeasurement {
    pub tally: RunTally,
    /// Time of the run until the last counted request was answered, or until the interruption.
    pub elapsed: Duration,
    pub before: Option<ProcessorSnapshot>,
    pub after: Option<ProcessorSnapshot>,
}

/// A run under way.
struct LoadRun<'a> {
    target: &'a BenchTarget,
    options: &'a BenchOptions,
    /// End of the warm-up: requests from here on are counted.
    begins: Instant,
    tally: RefCell<RunTally>,
    /// Number of the next text; the warm-up takes numbers too.
    sent: Cell<u64>,
    /// Number of counted requests that were begun.
    counted: Cell<u64>,
    /// Time of the last counted answer.
    last: Cell<Instant>,
    /// Processor time at the first counted request.
    before: Cell<Option<ProcessorSnapshot>>,
    /// A failure of the load generator itself, which ends the run.
    broken: RefCell<Option<anyhow::Error>>,
}

/// A client: its connection and the buffers of its request, which are used again.
#[derive(Default)]
struct LoadClient {
    connection: Option<Connection>,
    request: RequestBuffer,
}

#[derive(Default)]
struct RequestBuffer {
    text: String,
    bytes: Vec<u8>,
}

/// Puts `load` on `target`. `first` is the number of the first text, so that no run repeats the texts of
/// another.
pub async fn run(
    target: &BenchTarget,
    options: &BenchOptions,
    load: LoadPattern,
    first: u64,
) -> Result<RunMeasurement> {
    let begins = Instant::now() + options.warm_up;
    let run = LoadRun {
        target,
        options,
        begins,
        tally: RefCell::new(RunTally::new()?),
        sent: Cell::new(first),
        counted: Cell::new(0),
        last: Cell::new(begins),
        before: Cell::new(None),
        broken: RefCell::new(None),
    };
    let is_whole = tokio::select! {
        outcome = run.put(load) => outcome.map(|()| true)?,
        // Requests without an answer so far count neither as answered nor as failed.
        () = options.interruption() => false,
    };
    let after = options.server.and_then(ProcessorSnapshot::take);
    let answered = run.last.get().saturating_duration_since(begins);
    match run.broken.into_inner() {
        Some(error) => Err(error),
        None => Ok(RunMeasurement {
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

impl LoadRun<'_> {
    async fn put(&self, load: LoadPattern) -> Result<()> {
        match load {
            LoadPattern::Concurrency(clients) => {
                all((0..clients).map(|_| self.closed())).await;
                Ok(())
            }
            LoadPattern::Rate(rate) => self.open(rate).await,
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

    /// A client of a closed loop.
    async fn closed(&self) {
        let mut client = LoadClient::default();
        loop {
            let now = Instant::now();
            if self.is_over(now) {
                return;
            }
            self.one(&mut client, now).await;
        }
    }

    /// Sends the next request, whose time was `intended`, and counts its outcome. The latency counts from that
    /// time, so that a request that had to wait for a connection shows it.
    async fn one(&self, client: &mut LoadClient, intended: Instant) {
        let is_counted = intended >= self.begins;
        if is_counted {
            // The warm-up must not appear in the processor time of the run.
            if self.counted.get() == 0 {
                self.before
                    .set(self.options.server.and_then(ProcessorSnapshot::take));
            }
            self.counted.set(self.counted.get() + 1);
        }
        let index = self.sent.get();
        self.sent.set(index + 1);
        client.request.text.clear();
        let (source, seed) = (&self.options.source, self.options.seed);
        source.write(seed, index, &mut client.request.text);
        let RequestBuffer { text, bytes } = &mut client.request;
        self.target.write_request(text, bytes);
        let answer = ask(&mut client.connection, self.target, bytes);
        let outcome = tokio::time::timeout(self.options.timeout, answer).await;
        let now = Instant::now();
        let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let failed = outcome.is_err();
        if is_counted {
            self.last.set(now);
            self.count(outcome, now - intended);
        }
        if failed {
            // An answer that comes too late must not be taken for that of the next request.
            client.connection = None;
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
    }

    fn count(&self, outcome: io::Result<HttpAnswer>, latency: Duration) {
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

impl LoadRun<'_> {
    /// Begins requests at the times of a Poisson process. A request that finds no free connection waits.
    async fn open(&self, rate: f64) -> Result<()> {
        let pool = Pool::default();
        let mut timer = Timer::new()?;
        let mut random = Random::new(self.options.seed ^ 0x5eed);
        let mut intended = Instant::now();
        let arrivals = async {
            loop {
                intended += Duration::from_secs_f64(random.pause(rate));
                // Tested before the pause, since at a low rate the pause may outlast the run.
                if self.is_over(intended) {
                    pool.ended.set(true);
                    // Idle connections wait for requests; now they end.
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
            // Wakes the connection that went idle last. So only as many connections are ever opened as the rate
            // needs, and the others stay unopened.
            pool.arrived.notify_last();
        } else if intended >= self.begins {
            self.counted.set(self.counted.get() + 1);
            self.tally
                .borrow_mut()
                .failed("not sent: too many requests wait for a connection");
        }
    }

    /// A connection of an open loop: sends the requests that wait, until no more will come.
    async fn serve(&self, pool: &Pool) {
        let mut client = LoadClient::default();
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

/// Runs clients concurrently. Unlike a join, it polls only the client whose connection is ready: with
/// thousands of clients, polling all for every answer would take more time than the answers.
async fn all(clients: impl Iterator<Item: Future<Output = ()>>) {
    let clients: FuturesUnordered<_> = clients.collect();
    clients.collect::<()>().await;
}

/// Requests of an open loop whose time has come, for the connections to send.
#[derive(Default)]
struct Pool {
    /// The times at which they were to be sent.
    waiting: RefCell<VecDeque<Instant>>,
    arrived: Notify,
    /// True when no more will come.
    ended: Cell<bool>,
}

/// Sends a request over the connection, which is opened where there is none.
async fn ask(
    connection: &mut Option<Connection>,
    target: &BenchTarget,
    request: &[u8],
) -> io::Result<HttpAnswer> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(&target.address).await?),
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

/// Runs `future` to its end in this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build();
    Ok(runtime
        .context("starting the async runtime")?
        .block_on(future))
}
