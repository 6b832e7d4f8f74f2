//! The socket to a worker: a request can be sent while an answer comes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::executor::wire::{self, Frame, Reply, Request};
use crate::tensor::HostTensor;

/// No more answers are kept: a worker has at most two runs.
const EARLY_MAX: usize = 2;

/// The socket to a worker.
#[derive(Debug)]
pub(super) struct Exchange {
    socket: UnixStream,
    /// Answers that came while a request was sent.
    early: VecDeque<Frame<Reply>>,
}

impl Exchange {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            early: VecDeque::new(),
        }
    }

    /// Sends a request, which may take until `ends`.
    pub(super) fn send(
        &mut self,
        request: &Request,
        tensors: &[HostTensor],
        ends: Instant,
    ) -> Result<()> {
        let mut sending = Sending {
            exchange: self,
            ends,
        };
        wire::send(&mut sending, request, tensors)
    }

    /// The next answer, which may take until `ends`; `None` when the worker closed the socket.
    pub(super) fn receive(&mut self, ends: Instant) -> Result<Option<Frame<Reply>>> {
        if let Some(early) = self.early.pop_front() {
            return Ok(Some(early));
        }
        let left = ends.saturating_duration_since(Instant::now());
        // The socket takes no limit of zero.
        let left = left.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left))?;
        wire::receive(&mut self.socket)
    }

    /// Waits until `moment` at most; true when there is an answer, or never will be.
    pub(super) fn is_answered_before(&self, moment: Instant) -> Result<bool> {
        if !self.early.is_empty() {
            return Ok(true);
        }
        let ready = wait(&self.socket, PollFlags::IN, moment);
        Ok(!ready.context("waiting for a worker")?.is_empty())
    }

    /// A worker ends by itself when its socket is closed.
    pub(super) fn close(&self) {
        // It may have closed it already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// What the socket is ready for, of `what`; nothing when `moment` comes first.
fn wait(socket: &UnixStream, what: PollFlags, moment: Instant) -> Result<PollFlags, Errno> {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let mut ready = [PollFd::new(socket, what)];
        match poll(&mut ready, Some(&left)) {
            Err(Errno::INTR) => {}
            outcome => return outcome.map(|_| ready[0].revents()),
        }
    }
}

/// Writes to a worker. One that is writing a large answer does not read: it is taken meanwhile, or both
/// would wait for each other.
struct Sending<'a> {
    exchange: &'a mut Exchange,
    ends: Instant,
}

impl Sending<'_> {
    fn keep_answer(&mut self) -> Result<()> {
        let Exchange { socket, early } = &mut *self.exchange;
        if early.len() == EARLY_MAX {
            bail!("a worker answered what it was not asked");
        }
        let left = self.ends.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let answer = wire::receive(socket)?;
        early.push_back(answer.context("it closed its socket")?);
        Ok(())
    }
}

impl Write for Sending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let socket = &self.exchange.socket;
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(socket, bytes, flags) {
                Err(Errno::AGAIN) => {}
                Err(Errno::INTR) => continue,
                sent => return Ok(sent?),
            }
            let ready = wait(socket, PollFlags::IN | PollFlags::OUT, self.ends)?;
            if ready.is_empty() {
                return Err(ErrorKind::TimedOut.into());
            }
            if ready.contains(PollFlags::IN) {
                self.keep_answer().map_err(|error| {
                    let io = error.chain().find_map(|cause| cause.downcast_ref());
                    let kind = io.map_or(ErrorKind::Other, io::Error::kind);
                    io::Error::new(kind, format!("{error:#}"))
                })?;
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const MINUTE: Duration = Duration::from_secs(60);

    /// More than a socket holds.
    fn large() -> HostTensor {
        HostTensor::from_i64(&[1 << 18], &[7; 1 << 18]).unwrap()
    }

    fn run(id: u64) -> Request {
        Request::Run { id, artifact: 0 }
    }

    #[test]
    fn large_frames_in_both_directions_do_not_wait_for_each_other() {
        let (front, mut back) = UnixStream::pair().unwrap();
        let worker = thread::spawn(move || {
            while let Some(frame) = wire::receive::<Request>(&mut back).unwrap() {
                let Request::Run { id, .. } = frame.message else {
                    panic!("{:?}", frame.message)
                };
                wire::send(&mut back, &Reply::Output { id, micros: 1 }, &[large()]).unwrap();
            }
        });
        let mut exchange = Exchange::new(front);
        let ends = Instant::now() + MINUTE;
        exchange.send(&run(1), &[large()], ends).unwrap();
        for id in 1..20 {
            exchange.send(&run(id + 1), &[large()], ends).unwrap();
            assert!(exchange.is_answered_before(ends).unwrap());
            let frame = exchange.receive(ends).unwrap().unwrap();
            assert_eq!(frame.message, Reply::Output { id, micros: 1 });
            assert_eq!(frame.tensors, [large()]);
        }
        exchange.receive(ends).unwrap().unwrap();
        exchange.close();
        worker.join().unwrap();
    }

    #[test]
    fn a_worker_that_neither_reads_nor_writes_is_not_waited_for_longer() {
        let (front, _back) = UnixStream::pair().unwrap();
        let mut exchange = Exchange::new(front);
        let ends = Instant::now() + Duration::from_millis(50);
        let error = exchange.send(&run(1), &[large()], ends).unwrap_err();
        let io: &io::Error = error
            .chain()
            .find_map(|cause| cause.downcast_ref())
            .unwrap();
        assert_eq!(io.kind(), ErrorKind::TimedOut);
        assert!(!exchange.is_answered_before(Instant::now()).unwrap());
        assert!(exchange.receive(Instant::now()).is_err());
    }

    #[test]
    fn answers_that_nobody_asked_for_are_not_kept_without_end() {
        let (front, mut back) = UnixStream::pair().unwrap();
        let flood = thread::spawn(move || {
            let answer = Reply::Output { id: 1, micros: 1 };
            while wire::send(&mut back, &answer, &[]).is_ok() {}
        });
        let mut exchange = Exchange::new(front);
        let ends = Instant::now() + MINUTE;
        let error = exchange.send(&run(1), &[large()], ends).unwrap_err();
        assert!(format!("{error:#}").contains("was not asked"), "{error:#}");
        exchange.close();
        flood.join().unwrap();
    }
}
