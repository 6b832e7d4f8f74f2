//! A timer that is exact to some microseconds. That of the async runtime counts whole milliseconds, and many
//! answers take less.

use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel.
#[derive(Debug)]
pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    pub(super) fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).context("making a timer")?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that may close their file early; an OwnedFd does not"
        )]
        let timer = AsyncFd::new(timer).context("watching a timer")?;
        Ok(Self(timer))
    }

    /// Waits until `until`. A time in the past still lets other tasks run.
    pub(super) async fn wait(&mut self, until: Instant) -> Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let once = Itimerspec {
            it_interval: zero,
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs()).context("a time beyond the clock")?,
                tv_nsec: i64::from(left.subsec_nanos()),
            },
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?));
            // Readiness may be false; then the read would block, and the loop waits again.
            if let Ok(read) = read {
                return read.map(drop).context("reading a timer");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_waits_no_less_than_asked() {
        crate::bench::load::block_on(async {
            let mut timer = Timer::new().unwrap();
            for micros in [0, 300, 1500] {
                let until = Instant::now() + Duration::from_micros(micros);
                timer.wait(until).await.unwrap();
                assert!(Instant::now() >= until);
            }
        })
        .unwrap();
    }
}
