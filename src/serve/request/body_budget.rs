//! The memory that the bodies of all requests have together, so that many large ones cannot take all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The memory for all bodies, in bytes.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    taken: AtomicUsize,
    bytes: usize,
}

/// The part of the memory that one request has; it comes back when this is dropped, with the work on it.
#[derive(Debug)]
pub(crate) struct BodyShare {
    budget: Arc<BodyBudget>,
    bytes: AtomicUsize,
}

impl BodyBudget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            bytes,
        })
    }

    /// A share that has nothing yet.
    pub(crate) fn share(self: &Arc<Self>) -> Arc<BodyShare> {
        Arc::new(BodyShare {
            budget: Arc::clone(self),
            bytes: AtomicUsize::new(0),
        })
    }
}

impl BodyShare {
    /// Takes more bytes, if there are as many; false where not.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let budget = &self.budget;
        // Added first and taken back: two bodies must not both be given the same last bytes.
        let is_there = budget.taken.fetch_add(bytes, Relaxed) + bytes <= budget.bytes;
        if is_there {
            self.bytes.fetch_add(bytes, Relaxed);
        } else {
            budget.taken.fetch_sub(bytes, Relaxed);
        }
        is_there
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.budget.taken.fetch_sub(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_and_no_more() {
        let budget = BodyBudget::new(10);
        let (one, other) = (budget.share(), budget.share());
        assert!(one.take(4) && one.take(2));
        assert!(!other.take(5), "6 are taken");
        assert!(other.take(4));
        drop(one);
        assert!(other.take(6) && !other.take(1));
        drop(other);
        assert!(budget.share().take(10));
    }
}
