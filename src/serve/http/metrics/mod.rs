//! `GET /metrics`: everything that is counted, for Prometheus. `docs/metrics.md` has all of it.
//!
//! Nothing is counted here: the ledgers of the cores, the account of the requests, the queue and the
//! kernel are asked when a scrape comes, so that all pages of the server tell the same numbers.

mod families;

use std::fmt;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::serve::http::metrics::families::Scrape;
use crate::serve::http::protocol::Protocols;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::view::ServerView;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What Prometheus read before there was OpenMetrics, and what other programs still do.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families, in the form that the client reads.
pub(super) async fn serve(
    protocols: &'static Protocols,
    State(view): State<ServerView>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let accepted = headers.get(header::ACCEPT);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    let is_open = accepted.is_some_and(|value| value.contains("application/openmetrics-text"));
    // It reads files below /proc.
    let written = tokio::task::spawn_blocking(move || write(protocols, view)).await;
    let written = written.map_err(|error| error.to_string());
    let text = written.and_then(|written| written.map_err(|error| error.to_string()));
    let text = text.map_err(|why| {
        tracing::error!("the metrics could not be written: {why}");
        Refusal::new(Code::Internal, "the metrics could not be written")
    })?;
    let (form, text) = match is_open {
        true => (OPEN_METRICS, text),
        false => (CLASSIC, classic(&text)),
    };
    Ok(([(header::CONTENT_TYPE, form)], text).into_response())
}

/// Everything as OpenMetrics.
fn write(protocols: &'static Protocols, view: ServerView) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { protocols, view }));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// The same in the older form, in which a counter is named as its samples are, and nothing has a unit.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            let help = help.take().map_or("", |(_, help)| help);
            text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_names_counters_by_their_samples() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{x=\"y\"} 1.5\n# HELP b Now.\n# TYPE b gauge\nb 2\n# EOF\n";
        let expected = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\n\
                        a_seconds_total{x=\"y\"} 1.5\n# HELP b Now.\n# TYPE b gauge\nb 2\n";
        assert_eq!(classic(open), expected);
    }
}
