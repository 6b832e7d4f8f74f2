//! `neuronc top` and `neuronc bench` of a server with TLS: which certificates they believe.

use std::fs;
use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::serve::server::{Server, shapes};
use crate::serve::wait_until;
use crate::support::{Run, Workplace, fixture};

const NAME: &str = "feature-extraction";

/// What a certificate is for.
fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

/// As `openssl req -x509` makes them: it may sign others.
fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Writes a self-signed certificate to `cert.pem`, and its key.
fn write_self_signed(place: &Workplace, params: &CertificateParams) {
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    fs::write(place.path("cert.pem"), made.pem()).unwrap();
    fs::write(place.path("key.pem"), key.serialize_pem()).unwrap();
}

/// A simulated server with the certificate that lies in `place`, and its management port.
fn server(place: &Workplace, more: &[&str]) -> (Server, SocketAddr) {
    place.traced(&fixture(NAME), NAME, &shapes(NAME));
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let runtime = [
        "--runtime",
        "simulated",
        "--timings",
        "inf2/bert-base-uncased",
    ];
    let args = [
        &[NAME, "--management-port", "0"],
        &tls[..],
        &runtime[..],
        more,
    ]
    .concat();
    let mut server = Server::start_with(place, &args);
    let management = server.management();
    (server, management)
}

fn top(place: &Workplace, management: SocketAddr, more: &[&str]) -> Run {
    let url = format!("https://{management}");
    let args = ["top", &url, "--once", "--interval", "100ms"];
    place.run(&[&args[..], more].concat())
}

fn bench(place: &Workplace, server: &Server, more: &[&str]) -> Run {
    let url = format!("https://{}", server.address);
    let args = [
        "bench",
        &url,
        "--requests",
        "40",
        "--concurrency",
        "4",
        "--warm-up",
        "1ms",
    ];
    place.run(&[&args[..], &["--words", "4", "--format", "json"], more].concat())
}

fn wait_ready(place: &Workplace, management: SocketAddr, more: &[&str]) {
    wait_until("the server is ready", || {
        let shown = top(place, management, more).stdout();
        shown.contains("simulated), ready").then_some(())
    });
}

#[test]
fn a_certificate_that_is_given_is_believed_whoever_signed_it() {
    for may_sign in [false, true] {
        let place = Workplace::new();
        let made = match may_sign {
            false => params("127.0.0.1"),
            true => authority("127.0.0.1"),
        };
        write_self_signed(&place, &made);
        let (server, management) = server(&place, &[]);
        wait_ready(&place, management, &["--ca-cert", "cert.pem"]);
        let url = format!("https://{management}");
        let untrusted = format!("the certificate of {url} is not trusted");
        top(&place, management, &[]).fails(3, &[&untrusted, "why:", "`--ca-cert FILE`"]);
        let url = format!("https://{}/", server.address);
        let untrusted = format!("the certificate of {url} is not trusted");
        bench(&place, &server, &[]).fails(1, &[&untrusted, "why:", "`--ca-cert FILE`"]);

        let report = bench(&place, &server, &["--ca-cert", "cert.pem"]);
        let report = report.succeeds().json();
        assert_eq!(report["runs"][0]["requests"], 40, "{report}");
        assert_eq!(report["url"], format!("{url}predict/{NAME}"));

        // Another one of the same name.
        fs::rename(place.path("cert.pem"), place.path("served.pem")).unwrap();
        write_self_signed(&place, &made);
        let parts = [untrusted.as_str(), "`cert.pem`"];
        bench(&place, &server, &["--ca-cert", "cert.pem"]).fails(1, &parts);
    }
}

#[test]
fn a_private_ca_is_believed_and_names_and_times_count() {
    let place = Workplace::new();
    let signer = KeyPair::generate().unwrap();
    let ca = authority("a private CA");
    fs::write(place.path("ca.pem"), ca.self_signed(&signer).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, signer);
    let write = |params: &CertificateParams| {
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &issuer).unwrap();
        fs::write(place.path("cert.pem"), made.pem()).unwrap();
        fs::write(place.path("key.pem"), key.serialize_pem()).unwrap();
    };
    let with_ca = ["--ca-cert", "ca.pem"];

    write(&params("127.0.0.1"));
    let (one, management) = server(&place, &[]);
    wait_ready(&place, management, &with_ca);
    bench(&place, &one, &with_ca).succeeds();
    // The file of the server itself does as well, without who signed it.
    bench(&place, &one, &["--ca-cert", "cert.pem"]).succeeds();
    bench(&place, &one, &[]).fails(1, &["nobody whom this machine trusts has signed it"]);
    drop(one);

    write(&params("another.name"));
    let (other, management) = server(&place, &[]);
    for file in ["ca.pem", "cert.pem"] {
        let parts = [
            "it is for",
            "another.name",
            "and not for 127.0.0.1",
            "by a name",
        ];
        top(&place, management, &["--ca-cert", file]).fails(3, &parts);
    }
    drop(other);

    let mut old = params("127.0.0.1");
    (old.not_before, old.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    write(&old);
    let (_old, management) = server(&place, &[]);
    for file in ["ca.pem", "cert.pem"] {
        let parts = ["it has expired", "give the server a new certificate"];
        top(&place, management, &["--ca-cert", file]).fails(3, &parts);
    }
}

#[test]
fn a_self_signed_one_of_another_name_or_time_is_not_believed() {
    let place = Workplace::new();
    write_self_signed(&place, &authority("another.name"));
    let (other, management) = server(&place, &[]);
    let with_it = ["--ca-cert", "cert.pem"];
    top(&place, management, &with_it).fails(3, &["it is for another.name, and not for 127.0.0.1"]);
    drop(other);
    let mut old = authority("127.0.0.1");
    (old.not_before, old.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    write_self_signed(&place, &old);
    let (_old, management) = server(&place, &[]);
    top(&place, management, &with_it).fails(3, &["it has expired"]);
}

#[test]
fn a_server_with_keys_is_measured_with_one() {
    let place = Workplace::new();
    write_self_signed(&place, &params("127.0.0.1"));
    let made = place
        .run(&["key", "caller", "--format", "json"])
        .succeeds()
        .json();
    let sha256 = made["sha256"].as_str().unwrap();
    fs::write(
        place.path("keys.yaml"),
        format!("- name: caller\n  sha256: {sha256}\n"),
    )
    .unwrap();
    let (server, _) = server(&place, &["--api-keys", "keys.yaml"]);
    wait_until("the server is ready", || {
        let ready = bench(&place, &server, &["--ca-cert", "cert.pem"]).stderr();
        ready.contains("status 401").then_some(())
    });
    let header = format!("authorization: Bearer {}", made["key"].as_str().unwrap());
    let with_key = ["--ca-cert", "cert.pem", "--header", &header];
    bench(&place, &server, &with_key).succeeds();
}

#[test]
fn what_is_no_certificate_and_who_speaks_no_tls_are_named() {
    let place = Workplace::new();
    fs::write(place.path("text.pem"), "hello").unwrap();
    let run = |command: &str, url: &str, file: &str| place.run(&[command, url, "--ca-cert", file]);
    for command in ["top", "bench"] {
        let parts = [
            "`text.pem` has no certificate to trust",
            "BEGIN CERTIFICATE",
        ];
        run(command, "https://127.0.0.1:1", "text.pem").fails(2, &parts);
        run(command, "https://127.0.0.1:1", "gone.pem").fails(2, &["`gone.pem`", "No such file"]);
    }
    write_self_signed(&place, &params("127.0.0.1"));
    let plain = crate::serve::server::shared(NAME);
    let url = format!("https://{}", plain.address);
    let parts = ["does not speak TLS", "http:// in place of https://"];
    run("top", &url, "cert.pem").fails(3, &parts);
    run("bench", &url, "cert.pem").fails(1, &parts);
    // The other way round the server says so.
    let (server, management) = server(&place, &[]);
    let parts = ["begin the URL with https://"];
    place
        .run(&["top", &management.to_string()])
        .fails(2, &parts);
    let url = format!("http://{}", server.address);
    place.run(&["bench", &url]).fails(2, &parts);
}
