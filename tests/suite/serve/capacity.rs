//! Many connections, too many, and no file descriptor left for another.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use serde_json::json;

use crate::serve::client::Client;
use crate::serve::connections::{NAME, limited};
use crate::serve::server::serve;
use crate::serve::wait_until;

/// Raises our limit of open files and gives it.
fn files() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    maximum.unwrap_or(u64::MAX)
}

#[test]
fn ten_thousand_connections_are_served() {
    // Other tests of this process need some, and the server has the same limit.
    let room = files().saturating_sub(2000);
    let count = usize::try_from(room).unwrap_or(usize::MAX).min(10_000);
    if count < 10_000 {
        println!("the limit of open files has place for {count} connections only");
    }
    let server = limited("head_seconds: 60");
    let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
    for round in 0..2 {
        let begun = Instant::now();
        for client in &mut clients {
            client
                .write(b"GET /health/live HTTP/1.1\r\nhost: t\r\n\r\n")
                .unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.read().unwrap().status, 200);
        }
        println!("round {round}: {count} answers in {:?}", begun.elapsed());
    }
    for client in clients.iter_mut().step_by(100) {
        let response = client
            .post(&server.path(), &json!({"inputs": "the cat"}))
            .unwrap();
        assert_eq!(response.status, 200);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let memory = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    println!("with {count} connections: {memory}");
}

#[test]
fn one_connection_too_many_is_told_so_and_none_is_lost() {
    let mut server = limited("connections: 4");
    let management = server.management();
    let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/health/live").unwrap().status, 200);
    }
    for _ in 0..200 {
        let refused = server.get("/health/live");
        assert_eq!(refused.status, 503);
        assert_eq!(refused.json()["code"], "too_many_connections");
        assert_eq!(
            (
                &*refused.headers["retry-after"],
                &*refused.headers["connection"]
            ),
            ("1", "close")
        );
    }
    // An operator has a place all the same, and so have probes there.
    let mut operator = Client::connect(management).unwrap();
    assert_eq!(operator.get("/admin/status").unwrap().status, 200);
    for client in &mut clients {
        assert_eq!(client.get("/health/live").unwrap().status, 200);
    }
    clients.pop();
    wait_until("the place is free", || {
        (server.get("/health/live").status == 200).then_some(())
    });
}

#[test]
fn a_worker_needs_no_more_descriptors_than_are_kept_for_it() {
    let descriptors = |cores: usize| {
        let server = serve(NAME, cores);
        let folder = format!("/proc/{}/fd", server.process_id());
        // Connections of those who just asked may still be there: what is kept is there at any time.
        let (mut fewest, mut looks) = (usize::MAX, 0);
        wait_until("fifty looks", || {
            fewest = fewest.min(fs::read_dir(&folder).unwrap().count());
            looks += 1;
            (looks == 50).then_some(fewest)
        })
    };
    let of_worker = (descriptors(4) - descriptors(1)).div_ceil(3);
    println!("{of_worker} descriptors for each worker");
    // Twice while one worker follows another, and a port: `connections/places.rs` keeps 9.
    assert!((1..=4).contains(&of_worker), "{of_worker}");
}

/// Processor time of a process, in clock ticks.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_server_without_file_descriptors_keeps_what_it_has_and_goes_on_when_there_are_some() {
    let server = limited("");
    let process = Pid::from_raw(server.process_id().try_into().unwrap());
    let mut kept = server.client();
    assert_eq!(kept.get("/health/live").unwrap().status, 200);
    let open = || {
        fs::read_dir(format!("/proc/{}/fd", server.process_id()))
            .unwrap()
            .count()
    };
    let before = prlimit(
        process,
        Resource::Nofile,
        Rlimit {
            current: Some(open() as u64),
            maximum: Some(20_000),
        },
    );
    let before = before.unwrap();
    let mut waiting: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for client in &mut waiting {
        client
            .write(b"GET /health/live HTTP/1.1\r\nhost: t\r\n\r\n")
            .unwrap();
    }
    wait_until("the log says it", || {
        server
            .log()
            .contains("no connection can be taken")
            .then_some(())
    });
    // For two seconds the one that is connected is answered, and nothing spins.
    let (begun, used) = (Instant::now(), ticks(server.process_id()));
    let mut asked = 0;
    wait_until("two seconds", || {
        if asked < 50 {
            assert_eq!(kept.get("/health/live").unwrap().status, 200);
            asked += 1;
        }
        (begun.elapsed() > Duration::from_secs(2)).then_some(())
    });
    let used = ticks(server.process_id()) - used;
    assert!(used < 60, "{used} of 200 ticks");
    let said = server.log().matches("no connection can be taken").count();
    assert!(said <= 2, "{said} lines");
    prlimit(process, Resource::Nofile, before).unwrap();
    for client in &mut waiting {
        assert_eq!(client.read().unwrap().status, 200);
    }
}
