//! Without a Hub: offline, disks that do not cooperate, and plain folders.

use std::fs;
use std::os::unix::fs::symlink;

use neuronc::failure::{Class, Failure};
use neuronc::files;
use neuronc::hub::{self, Listing, ModelSource};

use super::{WEIGHTS, World, assert_says, at, hub_error, main, weights, write};

#[test]
fn offline_uses_the_cache_and_opens_no_socket() {
    let world = World::new();
    world.fetch(&["config.json", WEIGHTS]).unwrap();
    world.server.forget_requests();
    let mut access = world.offline();
    // Online, this endpoint is refused before anything is sent.
    access.endpoint = Some("not a URL".to_owned());
    let snapshot = hub::open(&main(), &access).unwrap();
    assert_eq!(snapshot.listing, Listing::Whole);
    assert_eq!(
        snapshot.commit.as_deref(),
        Some(world.server.commit().as_str())
    );
    snapshot
        .fetch(&["config.json", WEIGHTS], &mut |_| {})
        .unwrap();
    assert!(!snapshot.has("modules.json"));
    // The content is there, as if another commit had brought it.
    fs::remove_file(snapshot.folder.join(WEIGHTS)).unwrap();
    let paths = snapshot.fetch(&[WEIGHTS], &mut |_| {}).unwrap();
    assert_eq!(files::read(&paths[0]).unwrap(), weights());

    let text = hub_error(snapshot.fetch(&["config.json", "tokenizer.json"], &mut |_| {}));
    let place = snapshot.folder.join("tokenizer.json");
    assert_says(
        &text,
        &[
            "`tokenizer.json` of `org/name`",
            &place.display().to_string(),
            "--offline",
        ],
    );
    assert!(world.server.requests().is_empty());
}

#[test]
fn offline_reads_a_cache_without_a_listing() {
    let world = World::new();
    world.fetch(&["1_Pooling/config.json", WEIGHTS]).unwrap();
    fs::remove_dir_all(world.repository().join("trees")).unwrap();
    let snapshot = hub::open(&main(), &world.offline()).unwrap();
    assert_eq!(snapshot.listing, Listing::Cached);
    assert!(snapshot.has("1_Pooling/config.json") && !snapshot.has("config.json"));
    snapshot
        .fetch(&["1_Pooling/config.json", WEIGHTS], &mut |_| {})
        .unwrap();
    assert_eq!(
        snapshot.sha256(WEIGHTS).unwrap(),
        files::sha256_of(&weights())
    );
    let text = hub_error(snapshot.fetch(&["config.json"], &mut |_| {}));
    assert_says(&text, &["`config.json` of `org/name`", "not in the cache"]);
}

#[test]
fn a_snapshot_with_one_file_is_not_taken_for_complete() {
    let world = World::new();
    world.fetch(&["config.json"]).unwrap();
    let snapshot = hub::open(&main(), &world.offline()).unwrap();
    assert!(snapshot.is_on_disk("config.json") && !snapshot.is_on_disk(WEIGHTS));
    assert_says(
        &hub_error(snapshot.fetch(&["config.json", WEIGHTS], &mut |_| {})),
        &[WEIGHTS],
    );
}

#[test]
fn offline_says_what_is_missing_and_where_it_looked() {
    let world = World::new();
    let text = hub_error(hub::open(&main(), &world.offline()));
    let place = world.repository().join("refs/main");
    assert_says(
        &text,
        &[
            "`org/name` is not in the cache",
            &place.display().to_string(),
            "folder",
        ],
    );
    let commit = world.server.commit();
    let text = hub_error(hub::open(&at(Some(&commit)), &world.offline()));
    assert_says(&text, &["not in the cache", &format!("snapshots/{commit}")]);
    assert!(world.server.requests().is_empty());
    assert!(
        !world.home.path().join("hub").exists(),
        "looking writes nothing"
    );
}

#[test]
fn a_full_disk_is_a_matter_of_resources_and_says_so() {
    let world = World::new();
    let partial = world.partial();
    files::create_folder(files::parent(&partial)).unwrap();
    symlink("/dev/full", &partial).unwrap();
    let error = world.fetch(&[WEIGHTS]).unwrap_err();
    assert_eq!(Failure::class_of(&error), Class::Resources);
    assert_says(
        &error.to_string(),
        &["no space is left", "HF_HOME", "incomplete"],
    );
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let world = World::new();
    write(world.home.path(), "hub", b"a file in place of the folder");
    let error = world.fetch(&["config.json"]).unwrap_err();
    assert_eq!(Failure::class_of(&error), Class::Usage);
    let hub = world.home.path().join("hub");
    assert_says(&error.to_string(), &[&hub.display().to_string(), "HF_HOME"]);
}

#[test]
fn a_folder_is_listed_and_read_in_place() {
    let world = World::new();
    write(world.model.path(), ".git/config", b"hidden");
    let source = ModelSource::Folder(world.model.path().to_owned());
    let snapshot = hub::open(&source, &world.offline()).unwrap();
    assert_eq!(
        (snapshot.commit.as_deref(), snapshot.listing),
        (None, Listing::Whole)
    );
    let names: Vec<&str> = snapshot
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "1_Pooling/config.json",
            "config.json",
            "empty.txt",
            WEIGHTS,
            "pytorch_model.bin",
            "tokenizer.json"
        ]
    );
    let paths = snapshot
        .fetch(&["1_Pooling/config.json", WEIGHTS], &mut |_| {})
        .unwrap();
    assert_eq!(paths[1], world.model.path().join(WEIGHTS));
    assert_eq!(
        snapshot.sha256(WEIGHTS).unwrap(),
        files::sha256_of(&weights())
    );
    assert!(snapshot.is_on_disk(WEIGHTS) && !snapshot.is_on_disk("modules.json"));
    for name in ["modules.json", "../hub", "pytorch_model.bin"] {
        let error = snapshot.fetch(&[name], &mut |_| {}).unwrap_err();
        assert_eq!(Failure::class_of(&error), Class::Usage);
        assert_says(&error.to_string(), &[name]);
    }
    assert!(world.server.requests().is_empty());
}

#[test]
fn a_folder_that_is_none_is_a_usage_error() {
    let world = World::new();
    for (path, why) in [
        ("missing", "does not exist"),
        ("config.json", "it is a file"),
    ] {
        let source = ModelSource::Folder(world.model.path().join(path));
        let error = hub::open(&source, &world.access()).unwrap_err();
        assert_eq!(Failure::class_of(&error), Class::Usage);
        assert_says(&error.to_string(), &[path, why, "config.json"]);
    }
}
