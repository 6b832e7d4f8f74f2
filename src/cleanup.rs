//! What must not outlive an interrupted run: child processes and half-made folders.
//!
//! Values that own such a thing remove it when they are dropped. A signal ends the process without
//! dropping anything, so they are also registered here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

static NEXT: AtomicU64 = AtomicU64::new(0);
static REMAINS: Mutex<BTreeMap<u64, Remains>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
enum Remains {
    Process(u32),
    Folder(PathBuf),
}

/// Keeps something registered; dropping it says that its owner took care.
#[derive(Debug)]
pub struct Registration(u64);

/// A child process that must be killed, with all processes of its group.
pub fn process(id: u32) -> Registration {
    register(Remains::Process(id))
}

/// A folder that must be removed.
pub fn folder(path: &Path) -> Registration {
    register(Remains::Folder(path.to_owned()))
}

/// Kills and removes everything that is registered; for a process that is about to end.
pub fn run() {
    let remains = std::mem::take(&mut *remains());
    for thing in remains.values() {
        // Nothing can be done about what cannot be killed or removed.
        match thing {
            Remains::Process(id) => kill_group(*id),
            Remains::Folder(path) => {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }
}

/// Kills the process group that the process `id` leads: the compiler that an interpreter started ends
/// with it.
pub fn kill_group(id: u32) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    // A group that is gone already cannot be killed.
    let _ = pid.map(|pid| kill_process_group(pid, Signal::KILL));
}

fn register(thing: Remains) -> Registration {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    remains().insert(id, thing);
    Registration(id)
}

fn remains() -> MutexGuard<'static, BTreeMap<u64, Remains>> {
    REMAINS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Registration {
    fn drop(&mut self) {
        remains().remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_owner_took_care_of_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let (kept, removed) = (parent.path().join("kept"), parent.path().join("removed"));
        std::fs::create_dir(&kept).unwrap();
        std::fs::create_dir(&removed).unwrap();
        drop(folder(&kept));
        let _still = folder(&removed);
        run();
        assert!(kept.exists() && !removed.exists());
    }
}
