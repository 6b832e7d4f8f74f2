//! The room that the bodies of all requests have together, so that many large ones cannot take all memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that are taken, of those that there are.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicUsize,
    bytes: usize,
}

/// The part of one request; kept for as long as there is work on it.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<Room>,
    bytes: AtomicUsize,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            bytes,
        })
    }

    /// Nothing of it yet.
    pub(crate) fn hold(self: &Arc<Self>) -> Arc<Held> {
        Arc::new(Held {
            room: Arc::clone(self),
            bytes: AtomicUsize::new(0),
        })
    }
}

impl Held {
    /// Takes so many bytes more, if they are there.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let room = &self.room;
        let has_room = room.taken.fetch_add(bytes, Relaxed) + bytes <= room.bytes;
        match has_room {
            true => self.bytes.fetch_add(bytes, Relaxed),
            false => room.taken.fetch_sub(bytes, Relaxed),
        };
        has_room
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.room.taken.fetch_sub(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_and_no_more() {
        let room = Room::new(10);
        let (one, other) = (room.hold(), room.hold());
        assert!(one.take(4) && one.take(2));
        assert!(!other.take(5), "6 are taken");
        assert!(other.take(4));
        drop(one);
        assert!(other.take(6) && !other.take(1));
        drop(other);
        assert!(room.hold().take(10));
    }
}
