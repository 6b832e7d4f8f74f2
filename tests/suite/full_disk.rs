//! A disk that is full: the exit code says that resources ran out, and the message where.

use std::fs;
use std::process::Command;

use crate::hub_server::HubServer;
use crate::support::{Workplace, fixture, skip};

const SMALL: [&str; 4] = ["--batch-size", "1", "--sequence-length", "16"];

/// Runs neuronc with a tmpfs of `size` mounted at `full` in the workplace, in a mount namespace.
fn run_on_small_disk(place: &Workplace, size: &str, args: &[&str]) -> Option<std::process::Output> {
    fs::create_dir_all(place.path("full")).unwrap();
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        skip("`unshare -rm` cannot make a mount namespace here");
        return None;
    }
    let script = format!("mount -t tmpfs -o size={size} tmpfs full && exec \"$@\"");
    let program = place.command(args);
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c", &script, "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(place.path(""))
        .env("HOME", place.path(""));
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    Some(command.output().unwrap())
}

#[test]
fn a_full_disk() {
    let place = Workplace::new();
    let model = fixture("fill-mask").display().to_string();
    for size in ["16k", "100k"] {
        let args = [&["trace", &model, "-o", "full/b"], &SMALL[..]].concat();
        let Some(output) = run_on_small_disk(&place, size, &args) else {
            return;
        };
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{stderr}");
        assert!(
            stderr.contains("No space left") || stderr.contains("disk"),
            "{stderr}"
        );
    }
}

#[test]
fn a_full_disk_under_the_hub_cache() {
    let mut place = Workplace::new();
    let server = HubServer::start(&fixture("fill-mask"), "org/model");
    let cache = place.path("full/cache").display().to_string();
    place
        .set("HF_ENDPOINT", &server.endpoint())
        .set("HF_HUB_CACHE", &cache);
    let args = [&["trace", "org/model"], &SMALL[..]].concat();
    let Some(output) = run_on_small_disk(&place, "40k", &args) else {
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(
        stderr.contains("model.safetensors") || stderr.contains("cache"),
        "{stderr}"
    );
}
