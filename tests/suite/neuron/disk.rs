//! A full disk where compilations work.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use super::{Bench, ONE, THREE};
use crate::support::skip;

/// Runs in a mount namespace with a tmpfs as the work folder: `script` gets neuronc and its arguments
/// as `"$@"`. `None`, with a printed reason, where this machine does not allow that.
fn on_small_disk(bench: &Bench, size: &str, script: &str, more: &[&str]) -> Option<(i32, String)> {
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        skip("`unshare -rm` cannot make a mount namespace here");
        return None;
    }
    let work = bench.place.path(".cache/neuronc/work");
    fs::create_dir_all(&work).unwrap();
    let arguments = bench.arguments(more);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let program = bench.place.command(&words);
    let text = format!(
        "work='{}'; mount -t tmpfs -o size={size} tmpfs \"$work\" || exit 99; {script}",
        work.display()
    );
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &text, "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(bench.place.path(""))
        .env("HOME", bench.place.path(""))
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), None);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Some((output.status.code().unwrap(), stderr))
}

#[test]
fn a_disk_that_is_full_from_the_start() {
    for size in ["4k", "64k", "400k"] {
        let Some(bench) = Bench::new("inf1") else {
            return;
        };
        let Some((code, stderr)) = on_small_disk(&bench, size, "exec \"$@\"", &ONE) else {
            return;
        };
        assert_eq!(code, 6, "{size}: {stderr}");
        assert!(
            stderr.contains("No space left") || stderr.contains("disk"),
            "{stderr}"
        );
        assert!(!bench.place.path("b").exists());
        bench.trace(&ONE).succeeds();
    }
}

#[test]
fn what_is_compiled_when_the_disk_fills_up_is_kept() {
    let Some(bench) = Bench::new("inf1") else {
        return;
    };
    // A compiler that fills the disk, in place of the real one, for the last of the buckets.
    let compiler = bench.place.path("sdk/bin/neuron-cc");
    fs::rename(&compiler, bench.place.path("sdk/bin/neuron-cc.real")).unwrap();
    let text = "#!/bin/sh\nif [ -e \"${0%/*}/../full\" ] && [ \"$(ls -d \"$TMPDIR\"/../../b*/done.json | wc -l)\" = 2 ]; then\n\
                dd if=/dev/zero of=\"$TMPDIR/filler\" bs=64k 2>/dev/null; fi\nexec \"$0.real\" \"$@\"\n";
    fs::write(&compiler, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&compiler, mode).unwrap();
    fs::write(bench.place.path("sdk/full"), "").unwrap();
    let script = "\"$@\" && exit 98; first=$?; rm sdk/full; \"$@\" --format json > answer; second=$?; \
                  [ $second = 0 ] || exit $second; exit $first";
    let more = [&THREE[..], &["--jobs", "1"]].concat();
    let Some((code, stderr)) = on_small_disk(&bench, "24m", script, &more) else {
        return;
    };
    assert_eq!(code, 6, "{stderr}");
    assert!(
        stderr.contains("disk") && stderr.contains("kept"),
        "{stderr}"
    );
    let answer = bench.read_json("answer");
    assert_eq!(super::buckets(&answer).len(), 1, "{answer}");
}
