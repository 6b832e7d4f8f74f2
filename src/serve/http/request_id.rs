//! Names of requests: the client's where it is sane, else one that no other request has.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where a client says which trace a request belongs to.
const TRACE_PARENT: &str = "traceparent";

/// A longer name is not repeated.
const CHARACTERS_MAX: usize = 128;

/// The name of a request.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    let is_sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=CHARACTERS_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    let given = headers.get(REQUEST_ID).filter(is_sane);
    given.cloned().unwrap_or_else(made)
}

/// What is the same in all names of this process, then a number.
fn made() -> HeaderValue {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| {
        // Names only have to differ: without randomness, the process and its number will do.
        getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
    });
    let mut name = String::with_capacity(32);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Writing to a string does not fail, and hexadecimal digits are fit for a header.
    let _ = write!(name, "{process:016x}{number:016x}");
    HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("unnamed"))
}

/// The trace of a request, where it is one as W3C defines them.
pub(super) fn trace_parent(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(TRACE_PARENT)?.to_str().ok()?;
    let is_hex = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let parts: Vec<&str> = value.split('-').take(5).collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    (lengths == [2, 32, 16, 2] && parts.iter().all(|part| is_hex(part))).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_bytes(value.as_bytes()).unwrap())])
    }

    #[test]
    fn only_sane_names_are_taken() {
        for name in ["a", "01J9Z-x/y=", &"x".repeat(128)] {
            assert_eq!(of(&headers(REQUEST_ID, name)), name);
        }
        let strange = ["", "a b", "ü", &"x".repeat(129)];
        let made: BTreeSet<String> = strange
            .iter()
            .map(|name| of(&headers(REQUEST_ID, name)).to_str().unwrap().to_owned())
            .collect();
        assert_eq!(made.len(), strange.len());
        assert!(made.iter().all(|name| name.len() == 32), "{made:?}");
    }

    #[test]
    fn a_trace_is_one_or_none() {
        let trace =
            |value: &str| trace_parent(&headers(TRACE_PARENT.parse().unwrap(), value)).is_some();
        let good = format!("00-{}-{}-01", "4b".repeat(16), "00f067aa0ba902b7");
        assert!(trace(&good));
        for bad in [
            "",
            "00-1-2-01",
            &format!("{good}-x"),
            &good.replace("4b", "xy"),
        ] {
            assert!(!trace(bad), "{bad}");
        }
    }
}
