//! What a [`super::HubServer`] answers to a request.

use std::io::{self, Write};

use serde_json::json;

use super::fault::Kind;
use super::repository::Blob;
use super::{Host, Request, Shared, State};

/// A status, headers and a body.
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// The answer to `request`, spoilt by `fault`.
pub(super) fn to(
    request: &Request,
    state: &State,
    shared: &Shared,
    fault: Option<&Kind>,
) -> Answer {
    match fault {
        Some(Kind::Status(status, code)) => {
            let mut answer = Answer::new(*status, Vec::new());
            if let Some(code) = code {
                answer = answer.header("X-Error-Code", *code);
            }
            return answer;
        }
        Some(Kind::RetryAfter(seconds)) => {
            return Answer::new(429, Vec::new()).header("Retry-After", seconds.to_string());
        }
        Some(Kind::Html) => {
            return Answer::new(200, b"<html>Please log in</html>".to_vec())
                .header("Content-Type", "text/html");
        }
        _ => {}
    }
    let path = request.path.split('?').next().unwrap_or_default();
    if request.host == Host::Cdn {
        let sha256 = path.split('/').nth(2).unwrap_or_default();
        return match state.repository.stored(sha256) {
            // The entity tag of the storage is not the digest of the content.
            Some(blob) => content(blob, request, fault).header("ETag", "\"storage-tag\""),
            None => Answer::new(403, b"AccessDenied".to_vec()),
        };
    }
    if let Some(token) = &state.token
        && request.authorization.as_deref() != Some(&format!("Bearer {token}"))
    {
        let message = match request.authorization {
            Some(_) => "Invalid credentials in Authorization header",
            None => "Invalid username or password.",
        };
        return Answer::error(401, None, message);
    }
    let id = &state.repository.id;
    if let Some(rest) = path.strip_prefix(&format!("/api/models/{id}")) {
        return api(rest, request, state, shared);
    }
    if let Some(rest) = path.strip_prefix(&format!("/{id}/resolve/")) {
        return resolve(rest, request, (state, shared), fault);
    }
    Answer::error(404, Some("RepoNotFound"), "Repository not found")
}

fn api(rest: &str, request: &Request, state: &State, shared: &Shared) -> Answer {
    let parts: Vec<&str> = rest.trim_matches('/').split('/').collect();
    let revision = decode(parts.get(1).copied().unwrap_or("main"));
    let Some((commit, blobs)) = state.repository.at(&revision) else {
        let message = format!("Invalid rev id: {revision}");
        return Answer::error(404, Some("RevisionNotFound"), &message);
    };
    if parts[0] != "tree" {
        let siblings: Vec<_> = blobs
            .keys()
            .map(|path| json!({"rfilename": path}))
            .collect();
        let id = &state.repository.id;
        return Answer::json(
            &json!({"id": id, "modelId": id, "sha": commit, "private": false,
            "gated": false, "siblings": siblings}),
        );
    }
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let from: usize = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("cursor="))
        .map_or(0, |cursor| cursor.parse().expect("a cursor of ours"));
    let page: Vec<_> = blobs
        .iter()
        .map(|(path, blob)| tree_item(path, blob))
        .skip(from)
        .take(state.page)
        .collect();
    let next = from + page.len();
    let answer = Answer::json(&json!(page));
    if next == blobs.len() {
        return answer;
    }
    let path = request.path.split('?').next().unwrap_or_default();
    let port = shared.hub_port;
    let address = format!("http://127.0.0.1:{port}{path}?recursive=true&cursor={next}");
    answer.header("Link", format!("<{address}>; rel=\"next\""))
}

fn tree_item(path: &str, blob: &Blob) -> serde_json::Value {
    let size = blob.content.len();
    match &blob.sha256 {
        None => json!({"type": "file", "oid": blob.oid, "size": size, "path": path}),
        Some(sha256) => json!({"type": "file", "oid": blob.oid, "size": size, "path": path,
            "lfs": {"oid": sha256, "size": size, "pointerSize": 134}}),
    }
}

fn resolve(
    rest: &str,
    request: &Request,
    (state, shared): (&State, &Shared),
    fault: Option<&Kind>,
) -> Answer {
    let (revision, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((commit, blobs)) = state.repository.at(&decode(revision)) else {
        return Answer::error(404, Some("RevisionNotFound"), "Invalid rev id");
    };
    let Some(blob) = blobs.get(&decode(path)) else {
        return Answer::error(404, Some("EntryNotFound"), "Entry not found")
            .header("X-Repo-Commit", commit);
    };
    let answer = match &blob.sha256 {
        None => content(blob, request, fault).header("ETag", format!("\"{}\"", blob.etag())),
        Some(sha256) => {
            let port = shared.cdn_port;
            Answer::new(302, Vec::new())
                .header(
                    "Location",
                    format!("http://127.0.0.1:{port}/stored/{sha256}/{path}"),
                )
                .header("X-Linked-Size", blob.content.len().to_string())
                .header("X-Linked-Etag", format!("\"{}\"", blob.etag()))
        }
    };
    answer.header("X-Repo-Commit", commit)
}

/// The content, or the part of it that was asked for.
fn content(blob: &Blob, request: &Request, fault: Option<&Kind>) -> Answer {
    let mut body = blob.content.clone();
    match fault {
        Some(Kind::WrongContent) => body.iter_mut().for_each(|byte| *byte ^= 1),
        Some(Kind::WrongLength) => body.push(0),
        _ => {}
    }
    let total = body.len();
    let range = request.range.as_deref().and_then(parse_range);
    let answer = match range {
        Some((from, _)) if from >= total => {
            Answer::new(416, Vec::new()).header("Content-Range", format!("bytes */{total}"))
        }
        Some((from, to)) if !matches!(fault, Some(Kind::IgnoreRange)) => {
            let to = to.min(total - 1);
            Answer::new(206, body[from..=to].to_vec())
                .header("Content-Range", format!("bytes {from}-{to}/{total}"))
        }
        _ => Answer::new(200, body),
    };
    answer.header("Accept-Ranges", "bytes")
}

fn parse_range(text: &str) -> Option<(usize, usize)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().unwrap_or(usize::MAX)))
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).expect("two hexadecimal digits"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).expect("UTF-8")
}

impl Answer {
    fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    fn json(value: &serde_json::Value) -> Self {
        Self::new(200, value.to_string().into_bytes()).header("Content-Type", "application/json")
    }

    fn error(status: u16, code: Option<&str>, message: &str) -> Self {
        let answer = Self::new(status, json!({"error": message}).to_string().into_bytes())
            .header("X-Error-Message", message);
        match code {
            Some(code) => answer.header("X-Error-Code", code),
            None => answer,
        }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends the answer, at most `limit` bytes of its body, which is announced in full all the same.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        request: &Request,
        limit: Option<usize>,
    ) -> io::Result<()> {
        let length = self.body.len();
        write!(out, "HTTP/1.1 {} x\r\nConnection: close\r\n", self.status)?;
        write!(out, "Content-Length: {length}\r\n")?;
        for (name, value) in &self.headers {
            write!(out, "{name}: {value}\r\n")?;
        }
        write!(out, "\r\n")?;
        if request.method != "HEAD" {
            out.write_all(&self.body[..limit.unwrap_or(length).min(length)])?;
        }
        out.flush()
    }
}
