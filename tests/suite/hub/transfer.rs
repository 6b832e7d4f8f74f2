//! Downloads that break, and several at a time.

use std::fs::{self, File};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use neuronc::files;
use neuronc::hub::{self, DownloadProgress, HubAccess, Patience};

use super::{
    IMPATIENT, WEIGHTS, WEIGHTS_BYTES, World, assert_says, at, file_name, hub_error, main, weights,
    write,
};
use crate::hub_server::Fault;

#[test]
fn resumes_a_cut_download_where_it_stopped() {
    let world = World::new();
    world
        .server
        .fail(Fault::cut_after(100_000).on(WEIGHTS).times(1));
    let mut retries = 0;
    let mut watch = |progress: DownloadProgress<'_>| {
        retries += usize::from(matches!(progress, DownloadProgress::Retrying { .. }));
    };
    let paths = world.open().fetch(&[WEIGHTS], &mut watch).unwrap();
    assert_eq!(files::read(&paths[0]).unwrap(), weights());
    let requests = world.server.requests_for(WEIGHTS);
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!(requests[0].range, None);
    assert_eq!(requests[1].range.as_deref(), Some("bytes=100000-299999"));
    assert_eq!(retries, 1);
}

#[test]
fn gives_up_after_some_attempts_and_the_next_run_continues() {
    let world = World::new();
    world.server.fail(Fault::cut_after(1000).on(WEIGHTS));
    let text = hub_error(world.fetch(&[WEIGHTS]));
    assert_says(
        &text,
        &[
            "broke off",
            "4000 of 300000 bytes are kept",
            "attempts without progress: 4",
        ],
    );
    assert_eq!(fs::metadata(world.partial()).unwrap().len(), 4000);

    world.server.heal();
    world.server.forget_requests();
    let mut resumed = None;
    let mut watch = |progress: DownloadProgress<'_>| {
        if let DownloadProgress::Started { resumed_from, .. } = progress {
            resumed = Some(resumed_from);
        }
    };
    let paths = world.open().fetch(&[WEIGHTS], &mut watch).unwrap();
    assert_eq!(files::read(&paths[0]).unwrap(), weights());
    assert_eq!(resumed, Some(4000));
    let requests = world.server.requests_for(WEIGHTS);
    assert_eq!(requests[0].range.as_deref(), Some("bytes=4000-299999"));
    assert!(!world.partial().exists());
}

#[test]
fn starts_over_where_the_server_ignores_ranges() {
    let world = World::new();
    let partial = world.partial();
    write(
        files::parent(&partial),
        &file_name(&partial),
        &weights()[..1000],
    );
    world.server.fail(Fault::ignore_range().on(WEIGHTS));
    let mut starts = Vec::new();
    let mut watch = |progress: DownloadProgress<'_>| {
        if let DownloadProgress::Started { resumed_from, .. } = progress {
            starts.push(resumed_from);
        }
    };
    let paths = world.open().fetch(&[WEIGHTS], &mut watch).unwrap();
    assert_eq!(files::read(&paths[0]).unwrap(), weights());
    assert_eq!(starts, [1000, 0]);
}

#[test]
fn what_was_there_before_is_not_trusted() {
    for leftover in [
        vec![7; 1000],
        vec![7; WEIGHTS_BYTES],
        vec![7; WEIGHTS_BYTES + 1],
    ] {
        let world = World::new();
        let partial = world.partial();
        write(files::parent(&partial), &file_name(&partial), &leftover);
        let paths = world.fetch(&[WEIGHTS]).unwrap();
        assert_eq!(
            files::read(&paths[0]).unwrap(),
            weights(),
            "{}",
            leftover.len()
        );
    }
}

#[test]
fn a_blob_of_the_wrong_size_is_downloaded_again() {
    let world = World::new();
    let path = world.fetch(&[WEIGHTS]).unwrap().remove(0);
    files::write(&world.blob(WEIGHTS), b"truncated").unwrap();
    world.fetch(&[WEIGHTS]).unwrap();
    assert_eq!(files::read(&path).unwrap(), weights());
}

#[test]
fn refuses_content_that_is_not_that_of_the_listing() {
    for name in [WEIGHTS, "tokenizer.json"] {
        let world = World::new();
        world.server.fail(Fault::wrong_content().on(name));
        let text = hub_error(world.fetch(&[name]));
        assert_says(&text, &["arrived damaged", name, "the listing says"]);
        assert_eq!(
            files::list(&world.repository().join("blobs")).unwrap(),
            [""; 0]
        );
        assert!(!world.open().is_on_disk(name));
    }
}

#[test]
fn refuses_content_longer_than_the_listing_says() {
    let world = World::new();
    world.server.fail(Fault::wrong_length().on(WEIGHTS));
    let text = hub_error(world.fetch(&[WEIGHTS]));
    assert_says(&text, &["announces 300001 bytes, the listing says 300000"]);
}

#[test]
fn a_server_that_falls_silent_is_an_error() {
    let silent = |fault: Fault, expected: &str| {
        let world = World::new();
        world.server.fail(fault);
        let access = HubAccess {
            patience: IMPATIENT,
            ..world.access()
        };
        let fetched = hub::open(&main(), &access)
            .and_then(|snapshot| snapshot.fetch(&[WEIGHTS], &mut |_| {}));
        assert_says(&hub_error(fetched), &[expected, "no answer for 2 s"]);
    };
    thread::scope(|scope| {
        scope.spawn(|| silent(Fault::stall_after(0).on("/revision/"), "does not answer"));
        scope.spawn(|| silent(Fault::stall_after(5).on("/tree/"), "does not answer"));
        scope.spawn(|| {
            silent(
                Fault::stall_after(1000).on(WEIGHTS),
                "1000 of 300000 bytes are kept",
            )
        });
    });
}

#[test]
fn passing_failures_pass_and_lasting_ones_end_after_some_attempts() {
    for place in ["/revision/", "/tree/", WEIGHTS] {
        let world = World::new();
        world.server.fail(Fault::status(503).on(place).times(2));
        world.fetch(&[WEIGHTS]).unwrap();

        let world = World::new();
        world.server.fail(Fault::status(500).on(place));
        let text = hub_error(
            hub::open(&main(), &world.access())
                .and_then(|snapshot| snapshot.fetch(&[WEIGHTS], &mut |_| {})),
        );
        assert_says(&text, &["status 500", "--offline"]);
        let asked = world
            .server
            .requests()
            .iter()
            .filter(|request| request.path.contains(place))
            .count();
        assert_eq!(asked, 4, "{place}");
    }
}

#[test]
fn waits_for_another_process_and_uses_what_it_brought() {
    let world = World::new();
    let blob = world.blob(WEIGHTS);
    let locks = world.home.path().join("hub/.locks/models--org--name");
    files::create_folder(&locks).unwrap();
    let lock = File::create(locks.join(format!("{}.lock", file_name(&blob)))).unwrap();
    lock.lock().unwrap();

    let snapshot = world.open();
    let (waits, waiting) = mpsc::channel();
    thread::scope(|scope| {
        let download = scope.spawn(move || {
            snapshot.fetch(&[WEIGHTS], &mut |progress| {
                if matches!(progress, DownloadProgress::Waiting { .. }) {
                    waits.send(()).unwrap();
                }
            })
        });
        waiting.recv().unwrap();
        write(files::parent(&blob), &file_name(&blob), &weights());
        lock.unlock().unwrap();
        download.join().unwrap().unwrap();
    });
    assert!(world.server.requests_for(WEIGHTS).is_empty());
}

#[test]
fn many_at_once_download_a_file_once() {
    let world = World::new();
    thread::scope(|scope| {
        let downloads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.fetch(&[WEIGHTS])))
            .collect();
        for download in downloads {
            let paths = download.join().unwrap().unwrap();
            assert_eq!(files::read(&paths[0]).unwrap(), weights());
        }
    });
    assert_eq!(world.server.requests_for(WEIGHTS).len(), 1);
}

#[test]
fn does_not_wait_forever_for_another_process() {
    let world = World::new();
    let locks = world.home.path().join("hub/.locks/models--org--name");
    files::create_folder(&locks).unwrap();
    let lock = File::create(locks.join(format!("{}.lock", files::sha256_of(&weights())))).unwrap();
    lock.lock().unwrap();
    let patience = Patience {
        connect: Duration::from_millis(100),
        silence: Duration::from_millis(100),
        attempts: 1,
        pause: Duration::ZERO,
    };
    world.fetch(&["config.json"]).unwrap();
    let pinned = at(Some(&world.server.commit()));
    let access = HubAccess {
        patience,
        ..world.access()
    };
    let snapshot = hub::open(&pinned, &access).unwrap();
    let text = hub_error(snapshot.fetch(&[WEIGHTS], &mut |_| {}));
    assert_says(&text, &["stays locked", ".lock", "end that process"]);
}
