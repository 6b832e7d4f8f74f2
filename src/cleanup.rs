//! Kills child processes and removes half-made folders when a run is interrupted.
//!
//! Values that own such a thing remove it when they are dropped. A signal ends the process without
//! dropping anything, so they are also registered here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

static REMAINS: Mutex<Remains> = Mutex::new(Remains::new());

/// Everything that is registered, by number.
#[derive(Debug)]
struct Remains {
    next: u64,
    things: BTreeMap<u64, Thing>,
    /// True when the process is about to end, so that newly registered things are removed at once.
    is_over: bool,
}

/// A thing that must be removed.
#[derive(Debug)]
enum Thing {
    Process(u32),
    Folder(PathBuf),
}

/// Keeps a thing registered; it is dropped when the owner has removed the thing itself.
#[derive(Debug)]
pub struct Registration(u64);

/// Registers a child process that must be killed, with all processes of its group.
pub fn process(id: u32) -> Registration {
    register(Thing::Process(id))
}

/// Registers a folder that must be removed.
pub fn folder(path: &Path) -> Registration {
    register(Thing::Folder(path.to_owned()))
}

/// Kills and removes everything that is registered, in a process that is about to end.
pub fn run() {
    remains().end();
}

/// Like [`run`], on a thread that ends the process. The other threads now see their children die. They must not
/// report that as a failure, so they stop as soon as they register or drop anything; children that they start
/// until then are killed at once.
pub fn run_and_stop_others() {
    let mut remains = remains();
    remains.is_over = true;
    remains.end();
}

/// Kills the process group of the child `id`: with an interpreter also the compiler that it started.
pub fn kill_group(id: u32) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    // It fails where the group has ended already.
    let _ = pid.map(|pid| kill_process_group(pid, Signal::KILL));
}

fn register(thing: Thing) -> Registration {
    let mut remains = remains();
    let id = remains.add(thing);
    stop_if_over(remains);
    Registration(id)
}

/// Stops this thread forever where another one is ending the process.
fn stop_if_over(remains: MutexGuard<'_, Remains>) {
    let is_over = remains.is_over;
    drop(remains);
    if is_over {
        loop {
            std::thread::park();
        }
    }
}

impl Remains {
    const fn new() -> Self {
        Self {
            next: 0,
            things: BTreeMap::new(),
            is_over: false,
        }
    }

    fn add(&mut self, thing: Thing) -> u64 {
        self.next += 1;
        if self.is_over {
            thing.end();
        } else {
            drop(self.things.insert(self.next, thing));
        }
        self.next
    }

    fn end(&mut self) {
        for thing in std::mem::take(&mut self.things).values() {
            thing.end();
        }
    }
}

impl Thing {
    fn end(&self) {
        // Failures are ignored: the process is about to end.
        match self {
            Thing::Process(id) => kill_group(*id),
            Thing::Folder(path) => {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }
}

fn remains() -> MutexGuard<'static, Remains> {
    REMAINS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut remains = remains();
        remains.things.remove(&self.0);
        stop_if_over(remains);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_owner_took_care_of_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (kept, removed, late) = (folder("kept"), folder("removed"), folder("late"));
        let mut remains = Remains::new();
        let first = remains.add(Thing::Folder(kept.clone()));
        remains.things.remove(&first);
        remains.add(Thing::Folder(removed.clone()));
        remains.is_over = true;
        remains.end();
        assert!(kept.exists() && !removed.exists());
        remains.add(Thing::Folder(late.clone()));
        assert!(!late.exists());
    }
}
