//! A collector of OpenTelemetry on loopback: it keeps the spans that it is sent.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// What was sent: each body, as it came.
#[derive(Clone)]
pub(super) struct Collector {
    pub(super) url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    pub(super) fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self {
            url: format!("http://{}", socket.local_addr().unwrap()),
            bodies: Arc::default(),
        };
        let own = collector.clone();
        thread::spawn(move || {
            for stream in socket.incoming() {
                let own = own.clone();
                thread::spawn(move || own.answer(&stream.unwrap()));
            }
        });
        collector
    }

    /// Takes requests until the sender closes the connection.
    fn answer(&self, mut stream: &TcpStream) {
        let mut from = BufReader::new(stream);
        while let Some(body) = read(&mut from) {
            self.bodies.lock().unwrap().push(body);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).unwrap();
        }
    }

    /// True when `text` is somewhere in what was sent.
    pub(super) fn has(&self, text: &str) -> bool {
        let bodies = self.bodies.lock().unwrap();
        let mut windows = bodies.iter().flat_map(|body| body.windows(text.len()));
        windows.any(|window| window == text.as_bytes())
    }

    /// Names and values of the service that sent the spans, and the spans.
    pub(super) fn received(&self) -> (Vec<(String, String)>, Vec<Span>) {
        let (mut service, mut spans) = (Vec::new(), Vec::new());
        for body in self.bodies.lock().unwrap().iter() {
            let request = ExportTraceServiceRequest::decode(&**body).unwrap();
            for resource in request.resource_spans {
                service = attributes(&resource.resource.unwrap().attributes);
                spans.extend(
                    resource
                        .scope_spans
                        .into_iter()
                        .flat_map(|scope| scope.spans),
                );
            }
        }
        (service, spans)
    }
}

/// The body of the next request for traces.
fn read(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let head: Vec<String> = from
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    assert_eq!(head.first()?, "POST /v1/traces HTTP/1.1");
    let length = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap()];
    from.read_exact(&mut body).unwrap();
    Some(body)
}

/// Names with their values as text.
pub(super) fn attributes(of: &[KeyValue]) -> Vec<(String, String)> {
    let text = |value: &AnyValue| match value.value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    of.iter()
        .map(|pair| (pair.key.clone(), text(pair.value.as_ref().unwrap())))
        .collect()
}
