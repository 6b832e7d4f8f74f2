//! What is downloaded, where it lies, and what is not asked for again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use neuronc::files;
use neuronc::hub::{self, DownloadProgress};

use super::{SMALL, WEIGHTS, WEIGHTS_BYTES, World, at, weights, write};

#[test]
fn downloads_only_what_is_named_and_records_the_commit() {
    let world = World::new();
    let snapshot = world.open();
    assert_eq!(
        snapshot.commit.as_deref(),
        Some(world.server.commit().as_str())
    );
    assert!(snapshot.has("pytorch_model.bin") && !snapshot.has("modules.json"));
    assert!(!snapshot.is_on_disk("config.json"));

    let paths = snapshot.fetch(&SMALL, &mut |_| {}).unwrap();
    assert_eq!(files::read(&paths[2]).unwrap(), b"{\"pooling\": 1}");
    assert!(snapshot.is_on_disk("config.json") && !snapshot.is_on_disk(WEIGHTS));
    assert!(world.server.requests_for(WEIGHTS).is_empty());

    let paths = snapshot.fetch(&[WEIGHTS], &mut |_| {}).unwrap();
    assert_eq!(files::read(&paths[0]).unwrap(), weights());
    assert_eq!(
        snapshot.sha256(WEIGHTS).unwrap(),
        files::sha256_of(&weights())
    );
    assert_eq!(
        snapshot.sha256("config.json").unwrap(),
        files::sha256(&snapshot.folder.join("config.json")).unwrap()
    );
    assert_eq!(
        world.server.requests_for("config.json").len(),
        2,
        "one for each of that name"
    );
}

#[test]
fn lays_the_cache_out_as_python_does() {
    let world = World::new();
    world.fetch(&["1_Pooling/config.json", WEIGHTS]).unwrap();
    let commit = world.server.commit();
    let root = world.repository();
    assert_eq!(files::read_text(&root.join("refs/main")).unwrap(), commit);
    let snapshot = root.join("snapshots").join(&commit);
    let link = fs::read_link(snapshot.join(WEIGHTS)).unwrap();
    assert_eq!(
        link,
        Path::new("../../blobs").join(files::sha256_of(&weights()))
    );
    let link = fs::read_link(snapshot.join("1_Pooling/config.json")).unwrap();
    // By `git hash-object` of that content.
    assert_eq!(
        link,
        Path::new("../../../blobs/3c8246f640496d6395011a6da183785d254ff845")
    );
    let tree: serde_json::Value =
        files::load_json(&root.join(format!("trees/{commit}.json"))).unwrap();
    assert_eq!(tree["format_version"], 1);
    assert_eq!(tree["files"][WEIGHTS]["lfs_size"], WEIGHTS_BYTES);
    assert_eq!(
        files::list(&root.join("blobs")).unwrap().len(),
        2,
        "nothing is left over"
    );
}

#[test]
fn uses_the_files_that_python_downloaded() {
    let world = World::new();
    let snapshot = world
        .repository()
        .join("snapshots")
        .join(world.server.commit());
    let sha256 = files::sha256_of(&weights());
    write(&world.repository(), &format!("blobs/{sha256}"), &weights());
    files::create_folder(&snapshot).unwrap();
    symlink(format!("../../blobs/{sha256}"), snapshot.join(WEIGHTS)).unwrap();

    let paths = world.fetch(&[WEIGHTS]).unwrap();
    assert_eq!(paths, [snapshot.join(WEIGHTS)]);
    assert!(world.server.requests_for(WEIGHTS).is_empty());
}

#[test]
fn a_new_commit_costs_only_what_changed() {
    let world = World::new();
    world.fetch(&["config.json", WEIGHTS]).unwrap();
    write(world.model.path(), "config.json", b"{\"changed\": true}");
    let commit = world.server.push(world.model.path());
    world.server.forget_requests();

    let paths = world.fetch(&["config.json", WEIGHTS]).unwrap();
    assert_eq!(files::read(&paths[0]).unwrap(), b"{\"changed\": true}");
    assert_eq!(files::read(&paths[1]).unwrap(), weights());
    assert!(world.server.requests_for(WEIGHTS).is_empty());
    assert_eq!(
        files::read_text(&world.repository().join("refs/main")).unwrap(),
        commit
    );
}

#[test]
fn a_pinned_commit_that_is_here_needs_no_request() {
    let world = World::new();
    world.fetch(&["config.json", WEIGHTS]).unwrap();
    world.server.forget_requests();
    let pinned = at(Some(&world.server.commit()));
    let snapshot = hub::open(&pinned, &world.access()).unwrap();
    snapshot
        .fetch(&["config.json", WEIGHTS], &mut |_| {})
        .unwrap();
    assert!(
        world.server.requests().is_empty(),
        "{:?}",
        world.server.requests()
    );
}

#[test]
fn a_branch_that_is_here_needs_one_request_for_its_commit() {
    let world = World::new();
    world.fetch(&["config.json", WEIGHTS]).unwrap();
    world.server.forget_requests();
    world.fetch(&["config.json", WEIGHTS]).unwrap();
    let requests = world.server.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].path, "/api/models/org/name/revision/main");
}

#[test]
fn reads_a_listing_of_several_pages() {
    let world = World::new();
    world.server.set_page(2);
    assert_eq!(world.open().files.len(), 6);
}

#[test]
fn a_file_without_content_is_a_file() {
    let world = World::new();
    let paths = world.fetch(&["empty.txt"]).unwrap();
    assert_eq!(files::read(&paths[0]).unwrap(), b"");
}

#[test]
fn progress_adds_up_to_the_size() {
    let world = World::new();
    let (mut announced, mut received, mut finished) = (0, 0, 0);
    let mut watch = |progress: DownloadProgress<'_>| match progress {
        DownloadProgress::Started { bytes, .. } => announced = bytes,
        DownloadProgress::Advanced { bytes, .. } => received += bytes,
        DownloadProgress::Finished { .. } => finished += 1,
        _ => {}
    };
    world.open().fetch(&[WEIGHTS], &mut watch).unwrap();
    assert_eq!(
        (announced, received, finished),
        (WEIGHTS_BYTES as u64, WEIGHTS_BYTES as u64, 1)
    );
}
