//! Compilations run side by side as far as memory and `--jobs` allow.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::{Bench, THREE};

/// A machine that says it has `gib` GiB, with a compiler that notes when it starts and ends. With
/// `meet`, each waits until another has started, or for a minute.
fn machine(gib: u64, meet: bool) -> Option<(Bench, PathBuf)> {
    let mut bench = Bench::new("inf2")?;
    let root = bench.place.path("root");
    fs::create_dir_all(root.join("proc")).unwrap();
    let kib = gib << 20;
    fs::write(
        root.join("proc/meminfo"),
        format!("MemAvailable: {kib} kB\n"),
    )
    .unwrap();
    bench.place.set("NEURONC_ROOT", &root.display().to_string());
    let notes = bench.place.path("notes");
    let compiler = bench.place.path("sdk/bin/neuronx-cc");
    let real = bench.place.path("sdk/bin/neuronx-cc.real");
    fs::rename(&compiler, &real).unwrap();
    let wait = match meet {
        true => {
            "n=0; while [ $(grep -c start \"$notes\") -lt 2 ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done"
        }
        false => ":",
    };
    let text = format!(
        "#!/bin/sh\nnotes='{}'\necho start >> \"$notes\"\n{wait}\n\"$0.real\" \"$@\"\nstatus=$?\n\
         echo end >> \"$notes\"\nexit $status\n",
        notes.display()
    );
    fs::write(&compiler, text).unwrap();
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
    Some((bench, notes))
}

/// The largest number of compilers that ran at the same time, and how many there were.
fn at_once(notes: &PathBuf) -> (usize, usize) {
    let text = fs::read_to_string(notes).unwrap();
    let (mut running, mut most, mut all) = (0usize, 0, 0);
    for line in text.lines() {
        match line {
            "start" => {
                running += 1;
                all += 1;
            }
            _ => running -= 1,
        }
        most = most.max(running);
    }
    assert_eq!(running, 0, "{text}");
    (most, all)
}

fn traced_at_once(gib: u64, meet: bool, jobs: &str) -> Option<(usize, usize)> {
    let (bench, notes) = machine(gib, meet)?;
    bench
        .trace(&[&THREE[..], &["--jobs", jobs]].concat())
        .succeeds();
    Some(at_once(&notes))
}

#[test]
fn one_at_a_time_where_memory_is_short() {
    // The profile expects 4 GiB and more of each.
    if let Some(found) = traced_at_once(6, false, "3") {
        assert_eq!(found, (1, 3));
    }
}

#[test]
fn one_at_a_time_where_not_even_one_fits() {
    if let Some(found) = traced_at_once(1, false, "3") {
        assert_eq!(found, (1, 3));
    }
}

#[test]
fn two_at_a_time_where_memory_is_there() {
    if let Some(found) = traced_at_once(10, true, "3") {
        assert_eq!(found, (2, 3));
    }
}

#[test]
fn jobs_bound_what_memory_would_allow() {
    if let Some(found) = traced_at_once(1000, false, "1") {
        assert_eq!(found, (1, 3));
    }
}
