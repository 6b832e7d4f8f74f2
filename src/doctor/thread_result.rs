//! The results of threads that examine something while others wait.

use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

/// The result of a thread; a panic in it goes on in the caller.
pub(super) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
