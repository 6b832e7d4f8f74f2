//! The account of connections and requests: how many there are, and how they were answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::serve::core::histogram::{Histogram, SECONDS};

/// The connections and requests of a server.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Requests that are not yet answered.
    open: AtomicUsize,
    connections: AtomicUsize,
    account: Mutex<Account>,
}

/// The counts, by names of ours and of operators, so that clients cannot make them grow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    /// By route and status.
    pub(crate) answered: BTreeMap<String, BTreeMap<u16, u64>>,
    /// By code.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// By model: seconds from the head of a request to that of its answer.
    pub(crate) durations: BTreeMap<Arc<str>, Histogram>,
}

/// A request that was answered.
pub(crate) struct AnsweredRequest<'a> {
    /// The template of its route, such as `/predict/{model}`.
    pub(crate) route: &'a str,
    pub(crate) status: u16,
    /// The code of its refusal, if it was refused.
    pub(crate) refusal: Option<&'static str>,
    /// The model whose rows it has run.
    pub(crate) model: Option<Arc<str>>,
    pub(crate) seconds: f64,
}

impl Traffic {
    /// The number of requests that are not yet answered.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The number of open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a request as not yet answered until the guard is dropped.
    pub(crate) fn begin(&self) -> GaugeGuard<'_> {
        GaugeGuard::new(&self.open)
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn connected(&self) -> GaugeGuard<'_> {
        GaugeGuard::new(&self.connections)
    }

    /// Counts a client that was refused before it could ask for anything.
    pub(crate) fn refused(&self, code: &'static str) {
        *self.lock().refused.entry(code).or_default() += 1;
    }

    pub(crate) fn account(&self) -> Account {
        self.lock().clone()
    }

    pub(crate) fn answered(&self, request: AnsweredRequest<'_>) {
        let mut account = self.lock();
        let status = request.status;
        match account.answered.get_mut(request.route) {
            Some(statuses) => *statuses.entry(status).or_default() += 1,
            None => {
                let statuses = BTreeMap::from([(status, 1)]);
                account.answered.insert(request.route.to_owned(), statuses);
            }
        }
        if let Some(code) = request.refusal {
            *account.refused.entry(code).or_default() += 1;
        }
        if let Some(model) = request.model {
            let durations = account.durations.entry(model);
            let durations = durations.or_insert_with(|| Histogram::new(SECONDS));
            durations.observe(request.seconds);
        }
    }

    /// Only numbers are changed while it is held: a panic leaves them valid.
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more in a gauge for as long as it lives: also a request whose client hangs up is dropped.
pub(crate) struct GaugeGuard<'a>(&'a AtomicUsize);

impl<'a> GaugeGuard<'a> {
    fn new(gauge: &'a AtomicUsize) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
