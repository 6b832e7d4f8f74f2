//! Requests are traced for OpenTelemetry where that is asked for, and served as well where nobody listens.

use std::net::TcpListener;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rustix::process::Signal;
use serde_json::json;

use crate::serve::collector::{Collector, attributes};
use crate::serve::server::{Running, Server, shapes};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

const NAME: &str = "feature-extraction";

/// The example of the W3C: its trace, the span of the caller, and that it is sampled.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn server(mut place: Workplace, args: &[&str], environment: &[(&str, &str)]) -> Running {
    for (name, value) in environment {
        place.set(name, value);
    }
    place.traced(&fixture(NAME), NAME, &shapes(NAME));
    let args = [&[NAME, "--cores", "1"], args].concat();
    let server = Server::start_with(&place, &args);
    server.wait_ready(1);
    Running { server, place }
}

/// The server ends well, and with it everything is sent.
fn end(mut server: Running) {
    server.signal(Signal::TERM);
    assert!(server.wait_exit().success(), "{}", server.log());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("{name}: {spans:?}"));
    assert!(found.next().is_none(), "{name} twice");
    span
}

fn says(span: &Span, name: &str) -> Option<String> {
    let all = attributes(&span.attributes);
    all.into_iter()
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[test]
fn a_request_is_a_span_with_the_parts_of_its_time() {
    let collector = Collector::start();
    let server = server(Workplace::new(), &["--otlp-endpoint", &collector.url], &[]);
    let secret = "museum";
    let headers = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\nx-request-id: mine\r\n");
    let body = json!({"inputs": [secret, "the cat"]});
    let path = server.path();
    let answered = server.client().ask("POST", &path, &headers, &body).unwrap();
    assert_eq!(answered.status, 200);
    server.wait_ready(1);
    end(server);
    let (service, spans) = collector.received();
    assert!(service.contains(&("service.name".to_owned(), "neuronc".to_owned())));
    // None of them for the probes of `wait_ready`.
    assert_eq!(spans.len(), 4, "{spans:?}");
    let request = named(&spans, "POST /predict/{model}");
    assert_eq!(request.kind, SpanKind::Server as i32);
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), CALLER);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/predict/{model}"),
        ("http.response.status_code", "200"),
        ("neuronc.request_id", "mine"),
    ] {
        assert_eq!(says(request, name).as_deref(), Some(value), "{name}");
    }
    let mut before = request.start_time_unix_nano;
    for part in ["prepare", "queue", "run"] {
        let part = named(&spans, part);
        assert_eq!(part.trace_id, request.trace_id);
        assert_eq!(part.parent_span_id, request.span_id);
        assert!(before <= part.start_time_unix_nano, "{spans:?}");
        assert!(
            part.start_time_unix_nano < part.end_time_unix_nano,
            "{spans:?}"
        );
        before = part.end_time_unix_nano;
    }
    assert!(before <= request.end_time_unix_nano, "{spans:?}");
    let run = named(&spans, "run");
    for (name, value) in [
        ("neuronc.model", NAME),
        ("neuronc.rows", "2"),
        ("neuronc.bucket", "2x12"),
        ("neuronc.core", "0"),
    ] {
        assert_eq!(says(run, name).as_deref(), Some(value), "{name}");
    }
    assert!(!collector.has(secret));
}

#[test]
fn refusals_are_traced_and_the_callers_choice_is_kept() {
    let collector = Collector::start();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
        ("OTEL_SERVICE_NAME", "search"),
        // So that what is sent does not wait for the end.
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let server = server(Workplace::new(), &["--log-requests"], &environment);
    let ask = |path: &str, trace: &str| {
        let mut client = server.client();
        client
            .ask("POST", path, trace, &json!({"inputs": "cat"}))
            .unwrap()
    };
    let not_sampled = format!("traceparent: 00-{TRACE}-{CALLER}-00\r\n");
    assert_eq!(ask(&server.path(), &not_sampled).status, 200);
    let broken = "traceparent: 00-1-2-01\r\n";
    assert_eq!(ask("/predict/nobody", broken).status, 404);
    let spans = wait_until("the span of the refusal", || {
        let (service, spans) = collector.received();
        (!spans.is_empty()).then(|| {
            assert!(service.contains(&("service.name".to_owned(), "search".to_owned())));
            spans
        })
    });
    let refused = named(&spans, "POST /predict/{model}");
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert!(refused.parent_span_id.is_empty());
    assert_eq!(
        says(refused, "error.type").as_deref(),
        Some("unknown_model")
    );
    // A client's mistake is not the server's.
    let status = refused.status.as_ref().map_or(0, |status| status.code);
    assert_eq!(status, StatusCode::Unset as i32);
    // The log knows a request by the span that the collector has.
    let own = format!("00-{}-{}-01", hex(&refused.trace_id), hex(&refused.span_id));
    wait_until("the log has the span", || {
        server.log().contains(&own).then_some(())
    });
    end(server);
}

#[test]
fn a_collector_that_is_gone_costs_no_answer() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    drop(socket);
    let environment = [("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let server = server(Workplace::new(), &["--otlp-endpoint", &url], &environment);
    server.answer(&json!("cat"));
    wait_until("the log says that spans are lost", || {
        server.log().contains("export").then_some(())
    });
    server.answer(&json!("cat"));
    end(server);
}
