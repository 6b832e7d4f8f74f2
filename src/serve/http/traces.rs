//! OpenTelemetry: a span for each request, and under it one for each part of its time, sent to a
//! collector when that is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, SpanRef, Status, TraceContextExt as _, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use reqwest::Url;

use crate::failure::Failure;
use crate::serve::http::error::Reason;
use crate::serve::http::protocol::Protocols;
use crate::serve::http::request_id;
use crate::serve::http::traffic::method_name;
use crate::serve::request::record::{self, RunRecord};

/// What OTLP over HTTP adds to the address of a collector
/// (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>).
const PATH: &str = "v1/traces";

/// The name of the service where `OTEL_SERVICE_NAME` gives none.
const SERVICE: &str = "neuronc";

/// One moment on both clocks: times are measured on the one, and told on the other.
#[derive(Debug, Clone, Copy)]
struct ClockPair {
    instant: Instant,
    system: SystemTime,
}

impl ClockPair {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            system: SystemTime::now(),
        }
    }

    fn of(self, later: Instant) -> SystemTime {
        self.system + later.saturating_duration_since(self.instant)
    }
}

/// Where spans go.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

impl Traces {
    /// Spans go to the collector at `endpoint`, an `http` or `https` URL such as `http://127.0.0.1:4318`.
    /// What else there is to say the SDK reads from the standard's `OTEL_` variables.
    pub fn open(endpoint: &str) -> Result<Self> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(address(endpoint)?)
            .build()
            .map_err(|error| refused(endpoint, &error.to_string()))?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(exporter)
            .build();
        Ok(Self {
            tracer: provider.tracer(SERVICE),
            provider,
            propagator: TraceContextPropagator::new(),
        })
    }

    /// Sends what is left, for at most `limit`.
    pub(in crate::serve) fn close(&self, limit: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(limit) {
            tracing::warn!("the last spans were not sent: {error}");
        }
    }

    /// A span of the request's trace, or of a new one.
    fn begin(&self, request: &Request, route: Option<&str>, clock: ClockPair) -> Context {
        // The SDK would take one whose numbers are too short.
        let parent = match request_id::trace_parent(request.headers()) {
            Some(_) => self.propagator.extract(&HeaderExtractor(request.headers())),
            None => Context::new(),
        };
        let method = method_name(request.method());
        let name = match route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        let mut attributes = vec![KeyValue::new("http.request.method", method.to_owned())];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        let span = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Server)
            .with_start_time(clock.system)
            .with_attributes(attributes);
        let span = self.tracer.build_with_context(span, &parent);
        parent.with_span(span)
    }

    /// Where the time of a request went: its preparation, its wait for a core, its batch on the core.
    fn parts(&self, request: &Context, run: &RunRecord, clock: ClockPair) {
        if !request.span().is_recording() {
            return;
        }
        let (submitted, taken) = (
            clock.of(run.submitted),
            clock.of(run.submitted + run.waited),
        );
        let part = |name: &'static str, from: SystemTime, took: Duration, attributes| {
            let part = SpanBuilder::from_name(name)
                .with_start_time(from)
                .with_attributes(attributes);
            let mut part = self.tracer.build_with_context(part, request);
            part.end_with_timestamp(from + took);
        };
        part("prepare", submitted - run.prepared, run.prepared, vec![]);
        part("queue", submitted, run.waited, vec![]);
        let rows = i64::try_from(run.rows).unwrap_or(i64::MAX);
        let attributes = vec![
            KeyValue::new("neuronc.model", Arc::clone(&run.model)),
            KeyValue::new("neuronc.rows", rows),
            KeyValue::new("neuronc.bucket", run.bucket.clone()),
            KeyValue::new("neuronc.core", Arc::clone(&run.core)),
        ];
        part("run", taken, run.ran, attributes);
    }
}

fn address(endpoint: &str) -> Result<String> {
    let url = Url::parse(endpoint).map_err(|error| refused(endpoint, &error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(refused(endpoint, "it must begin with http:// or https://"));
    }
    let base = url.as_str().trim_end_matches('/');
    Ok(format!("{base}/{PATH}"))
}

fn refused(endpoint: &str, why: &str) -> anyhow::Error {
    Failure::usage(format!("`{endpoint}` is not the address of a collector"))
        .why(why.to_owned())
        .help("give the one for OTLP over HTTP, such as `http://127.0.0.1:4318`")
        .into()
}

/// What the SDK finds in the environment, and our name where that gives none.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get(&Key::from_static_str("service.name"));
    // The SDK calls a service that has no name so.
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    match is_named {
        true => resource.build(),
        false => resource.with_service_name(SERVICE).build(),
    }
}

/// Makes the spans of a request. What comes after this finds the request's own span in `traceparent`.
pub(super) async fn traced(
    State((traces, protocols)): State<(Arc<Traces>, &'static Protocols)>,
    route: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = route.as_ref().map(MatchedPath::as_str);
    // Probes come every second and say nothing of requests; nor do the files of a page.
    let is_probe = route.is_some_and(|route| protocols.is_probe(route));
    if request.method() == Method::GET && is_probe {
        return next.run(request).await;
    }
    let clock = ClockPair::now();
    let context = traces.begin(&request, route, clock);
    let mut headers = HeaderInjector(request.headers_mut());
    traces.propagator.inject_context(&context, &mut headers);
    let answer = next.run(request);
    let response = record::with_run(answer, |run| traces.parts(&context, run, clock)).await;
    tell_answer(&context.span(), &response);
    context.span().end();
    response
}

fn tell_answer(span: &SpanRef<'_>, response: &Response) {
    let status = response.status();
    let number = i64::from(status.as_u16());
    span.set_attribute(KeyValue::new("http.response.status_code", number));
    if let Some(id) = response.headers().get(request_id::REQUEST_ID) {
        let id = id.to_str().unwrap_or_default().to_owned();
        span.set_attribute(KeyValue::new("neuronc.request_id", id));
    }
    if let Some(Reason(code)) = response.extensions().get() {
        span.set_attribute(KeyValue::new("error.type", *code));
    }
    // What a client did wrong is no error of a server's span
    // (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status>).
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
}
