//! What a connection is doing, and until when it may: one place knows all times of a connection, so
//! that it needs one alarm and a request sets none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::http::Version;
use tokio::time::Instant;

use crate::serve::limits::Limits;

/// No such moment.
const NEVER: u64 = u64::MAX;

/// Before its first request.
const UNKNOWN: u8 = 0;
const HTTP_1_0: u8 = 1;
const HTTP_1_1: u8 = 2;
const HTTP_2: u8 = 3;

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Overdue {
    /// The head of a request took too long.
    Head,
    /// Nothing was asked for long.
    Idle,
    /// The client takes nothing of its answer.
    Unread,
    /// A request neither got on nor ended.
    Stuck,
}

/// Moments are milliseconds since `begun`.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    version: AtomicU8,
    /// BoundedTasks whose answer has not been handed over to its end.
    in_flight: AtomicUsize,
    /// Those of them that have no answer yet.
    computing: AtomicUsize,
    /// Those of them whose body has not come to its end.
    receiving: AtomicUsize,
    /// The rest of a body was not wanted.
    left_unread: AtomicBool,
    /// When a request began or ended last, or when a client went on to take its answer.
    moved: AtomicU64,
    /// When the first byte came that belongs to no request yet.
    head: AtomicU64,
    /// Since when the client takes nothing of what is sent.
    blocked: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            version: AtomicU8::new(UNKNOWN),
            in_flight: AtomicUsize::new(0),
            computing: AtomicUsize::new(0),
            receiving: AtomicUsize::new(0),
            left_unread: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            head: AtomicU64::new(NEVER),
            blocked: AtomicU64::new(NEVER),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(NEVER)
    }

    fn moment(&self, milliseconds: u64) -> Instant {
        self.begun + Duration::from_millis(milliseconds)
    }

    /// Until when the connection may go on as it is, and what it is guilty of then.
    pub(super) fn due(&self, limits: &Limits) -> (Instant, Overdue) {
        let head = self.head.load(Relaxed);
        let moved = self.moment(self.moved.load(Relaxed));
        let version = self.version.load(Relaxed);
        let due = if self.in_flight.load(Relaxed) > 0 {
            let whole = limits.body + limits.request + limits.body;
            (moved + whole, Overdue::Stuck)
        } else if version == UNKNOWN {
            (self.begun + limits.head, Overdue::Head)
        } else if version != HTTP_2 && head != NEVER {
            (self.moment(head) + limits.head, Overdue::Head)
        } else {
            (moved + limits.idle, Overdue::Idle)
        };
        match self.blocked.load(Relaxed) {
            NEVER => due,
            since => due.min((self.moment(since) + limits.body, Overdue::Unread)),
        }
    }

    /// Bytes came.
    pub(super) fn read(&self) {
        if self.in_flight.load(Relaxed) == 0 && self.head.load(Relaxed) == NEVER {
            self.head.store(self.now(), Relaxed);
        }
    }

    /// The client did not take what was sent, or did so again.
    pub(super) fn wrote(&self, is_blocked: bool) {
        let was_blocked = self.is_blocked();
        if is_blocked && !was_blocked {
            self.blocked.store(self.now(), Relaxed);
        } else if !is_blocked && was_blocked {
            self.blocked.store(NEVER, Relaxed);
            self.moved.store(self.now(), Relaxed);
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed) != NEVER
    }

    pub(super) fn left_unread(&self) -> bool {
        self.left_unread.load(Relaxed)
    }

    /// True while there are requests for whose answers a client can wait that sends nothing more.
    pub(super) fn is_asked(&self) -> bool {
        self.version.load(Relaxed) != HTTP_2
            && (self.in_flight.load(Relaxed) > 0 || self.is_blocked())
    }

    /// True while the client can have nothing more to send for them.
    pub(super) fn owes_answer(&self) -> bool {
        self.is_asked() && self.receiving.load(Relaxed) == 0
    }

    /// True while an interim answer can be sent: nothing of the answer has been.
    pub(super) fn takes_interim(&self) -> bool {
        self.version.load(Relaxed) == HTTP_1_1
            && self.computing.load(Relaxed) > 0
            && self.receiving.load(Relaxed) == 0
            && !self.is_blocked()
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> (InFlight, Computing) {
        let version = match version {
            Version::HTTP_2 => HTTP_2,
            Version::HTTP_11 => HTTP_1_1,
            _ => HTTP_1_0,
        };
        self.version.store(version, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        self.computing.fetch_add(1, Relaxed);
        self.head.store(NEVER, Relaxed);
        self.moved.store(self.now(), Relaxed);
        (InFlight(Arc::clone(self)), Computing(Arc::clone(self)))
    }

    /// The body of a request begins.
    pub(super) fn receive(self: &Arc<Self>) -> Receiving {
        self.receiving.fetch_add(1, Relaxed);
        Receiving(Arc::clone(self))
    }
}

/// A request whose answer has not been handed over to its end.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.moved.store(self.0.now(), Relaxed);
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A request that has no answer yet.
#[derive(Debug)]
pub(super) struct Computing(Arc<Activity>);

impl Drop for Computing {
    fn drop(&mut self) {
        self.0.computing.fetch_sub(1, Relaxed);
    }
}

/// A body that has not come to its end.
#[derive(Debug)]
pub(super) struct Receiving(Arc<Activity>);

impl Receiving {
    /// The rest of it will not be read.
    pub(super) fn leave(self) {
        self.0.left_unread.store(true, Relaxed);
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.receiving.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until when, from now on, in whole seconds.
    fn due(activity: &Activity) -> (u64, Overdue) {
        let (until, why) = activity.due(&Limits::STANDARD);
        let left = until.saturating_duration_since(Instant::now());
        ((left.as_secs_f64()).round() as u64, why)
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_of_a_connection_has_its_time() {
        let activity = Activity::new();
        assert_eq!(due(&activity), (10, Overdue::Head));
        tokio::time::advance(Duration::from_secs(4)).await;
        activity.read();
        assert_eq!(due(&activity), (6, Overdue::Head), "bytes gain no time");
        let (in_flight, computing) = activity.begin(Version::HTTP_11);
        assert_eq!(due(&activity), (90, Overdue::Stuck));
        assert!(activity.owes_answer() && activity.takes_interim());
        drop(computing);
        assert!(activity.owes_answer() && !activity.takes_interim());
        activity.wrote(true);
        tokio::time::advance(Duration::from_secs(1)).await;
        activity.wrote(true);
        assert_eq!(due(&activity), (29, Overdue::Unread));
        drop(in_flight);
        assert!(activity.owes_answer(), "what is written is not yet taken");
        tokio::time::advance(Duration::from_secs(1)).await;
        activity.wrote(false);
        assert_eq!(due(&activity), (75, Overdue::Idle));
        assert!(!activity.owes_answer());
        tokio::time::advance(Duration::from_secs(70)).await;
        activity.read();
        assert_eq!(due(&activity), (10, Overdue::Head));
        tokio::time::advance(Duration::from_secs(3)).await;
        activity.read();
        assert_eq!(due(&activity), (7, Overdue::Head));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_between_requests_are_no_heads() {
        let activity = Activity::new();
        drop(activity.begin(Version::HTTP_2));
        activity.read();
        assert_eq!(due(&activity), (75, Overdue::Idle));
        let _held = activity.begin(Version::HTTP_2);
        assert!(!activity.owes_answer());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_owed_for_a_request_that_is_cut_off() {
        let activity = Activity::new();
        let _held = activity.begin(Version::HTTP_11);
        let body = activity.receive();
        assert!(!activity.owes_answer());
        body.leave();
        assert!(activity.left_unread() && activity.owes_answer());
    }
}
