//! Pages of other sites: a browser that an operator uses lets any page send simple requests to the port
//! for management, though not read the answers. What such a request asks for is not done.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header, uri::Authority};
use axum::middleware::Next;
use axum::response::Response;

use crate::serve::http::protocol::Protocols;
use crate::serve::request::refusal::{Code, Refusal};

/// In which relation to this server the page stands that a browser sends a request for
/// (<https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>).
const FETCH_SITE: &str = "sec-fetch-site";

/// How a listener is reached.
#[derive(Debug, Clone, Copy)]
pub(in crate::serve) struct ListenerReach {
    /// By this machine alone.
    pub(in crate::serve) is_loopback: bool,
}

/// Lets requests that may change something pass only where no page of another site sent them.
pub(in crate::serve) async fn own_site(
    State((reach, protocols)): State<(ListenerReach, &'static Protocols)>,
    request: Request,
    next: Next,
) -> Response {
    let only_looks = [Method::GET, Method::HEAD].contains(request.method());
    if only_looks || !is_foreign(request.headers(), request.uri(), reach) {
        return next.run(request).await;
    }
    let message = "the page of another site sent this request";
    let refusal = Refusal::new(Code::Forbidden, message);
    protocols.refuse(request.uri().path(), refusal)
}

fn is_foreign(headers: &HeaderMap, uri: &Uri, reach: ListenerReach) -> bool {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let site = headers.get(FETCH_SITE).map(text);
    if site.is_some_and(|site| !["same-origin", "none"].contains(&&*site)) {
        return true;
    }
    // Programs that are no browsers send none.
    let Some(origin) = headers.get(header::ORIGIN).map(text) else {
        return false;
    };
    let asked = headers.get(header::HOST).map(text);
    let asked = asked.or_else(|| uri.authority().map(Authority::to_string));
    let Some((_, origin)) = origin.split_once("://") else {
        return true;
    };
    if asked.is_none_or(|asked| !asked.eq_ignore_ascii_case(origin)) {
        return true;
    }
    // A name that any site can have point to this machine.
    reach.is_loopback && !is_of_this_machine(origin)
}

/// An address, or the one name that browsers resolve themselves.
fn is_of_this_machine(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let own = "127.0.0.1:8081";
        for (host, origin, site, is_loopback, foreign) in [
            (own, "", "", true, false),
            (own, "http://127.0.0.1:8081", "same-origin", true, false),
            (own, "", "none", true, false),
            (own, "", "cross-site", true, true),
            (own, "", "same-site", true, true),
            (own, "http://127.0.0.1:8081", "cross-site", true, true),
            (own, "http://evil.example", "", true, true),
            (own, "http://127.0.0.1:9000", "", true, true),
            (own, "null", "", true, true),
            ("localhost:9", "http://localhost:9", "", true, false),
            ("[::1]:8081", "http://[::1]:8081", "", true, false),
            (
                "evil.example:8081",
                "http://evil.example:8081",
                "",
                true,
                true,
            ),
            ("ops.internal", "https://ops.internal", "", false, false),
            ("", "http://evil.example", "", false, true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("host", host), ("origin", origin), (FETCH_SITE, site)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let reach = ListenerReach { is_loopback };
            let found = is_foreign(&headers, &Uri::from_static("/admin"), reach);
            assert_eq!(found, foreign, "{host} {origin} {site}");
        }
        // HTTP/2 names the host elsewhere.
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static("http://127.0.0.1:8081"));
        let uri = Uri::from_static("http://127.0.0.1:8081/admin");
        let reach = ListenerReach { is_loopback: true };
        assert!(!is_foreign(&headers, &uri, reach));
    }
}
