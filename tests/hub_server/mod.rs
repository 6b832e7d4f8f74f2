//! A Hugging Face Hub on loopback that serves a model folder, with faults on demand.
//!
//! It answers what a client needs to download a model: the commit of a revision, the listing of a commit
//! in pages, and the content of files with ranges. As on the real Hub, a large file is a redirect to
//! another host (here: another port), whose answers know nothing of commits.
//!
//! ```ignore
//! let server = HubServer::start(&folder, "org/name");
//! server.fail(Fault::cut_after(1000).on("model.safetensors").times(1));
//! run(&["trace", "org/name"], &[("HF_ENDPOINT", &server.endpoint())]);
//! assert_eq!(server.requests_for("model.safetensors").len(), 2);
//! ```

mod answer;
mod fault;
mod repository;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

pub(crate) use fault::Fault;
use repository::Repository;

/// A running Hub; it stops listening when dropped.
pub(crate) struct HubServer {
    shared: Arc<Shared>,
}

/// What the threads of a server share.
struct Shared {
    state: Mutex<State>,
    hub_port: u16,
    cdn_port: u16,
}

struct State {
    repository: Repository,
    token: Option<String>,
    page: usize,
    faults: Vec<Fault>,
    requests: Vec<Request>,
    open: bool,
}

/// Which of the two hosts was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Hub,
    Cdn,
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) host: Host,
    pub(crate) method: String,
    /// The path and query, percent-encoded as sent.
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

impl Request {
    /// Whether the answer is a body, and neither metadata nor a redirect to the other host.
    fn wants_body(&self) -> bool {
        let redirected = self.host == Host::Hub && self.path.ends_with(repository::LFS_ENDING);
        self.method == "GET" && !redirected
    }
}

impl HubServer {
    /// Serves `folder` as the repository `id`, whose only branch is `main`.
    pub(crate) fn start(folder: &Path, id: &str) -> HubServer {
        let hub = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let cdn = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            hub_port: port(&hub),
            cdn_port: port(&cdn),
            state: Mutex::new(State {
                repository: Repository::read(folder, id),
                token: None,
                page: 1000,
                faults: Vec::new(),
                requests: Vec::new(),
                open: true,
            }),
        });
        for (listener, host) in [(hub, Host::Hub), (cdn, Host::Cdn)] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&shared, &listener, host));
        }
        HubServer { shared }
    }

    /// What `HF_ENDPOINT` is to be set to.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.shared.hub_port)
    }

    /// The commit that `main` stands for.
    pub(crate) fn commit(&self) -> String {
        self.shared.state().repository.head().to_owned()
    }

    /// Makes the present content of `folder` the new commit of `main`; the old one stays.
    pub(crate) fn push(&self, folder: &Path) -> String {
        self.shared.state().repository.push(folder)
    }

    /// From now on answers only to this token.
    pub(crate) fn require_token(&self, token: &str) {
        self.shared.state().token = Some(token.to_owned());
    }

    /// From now on lists so many files per page.
    pub(crate) fn set_page(&self, files: usize) {
        self.shared.state().page = files;
    }

    /// Lists a file under a path of an attacker's choice.
    pub(crate) fn list_as(&self, path: &str, listed: &str) {
        self.shared.state().repository.rename(path, listed);
    }

    /// From now on, requests that the fault is meant for suffer it. Of several, the first one applies.
    pub(crate) fn fail(&self, fault: Fault) {
        self.shared.state().faults.push(fault);
    }

    /// Takes all faults back.
    pub(crate) fn heal(&self) {
        self.shared.state().faults.clear();
    }

    /// All requests so far, in order of arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// The requests for the content of one file, on the host that has it.
    pub(crate) fn requests_for(&self, file: &str) -> Vec<Request> {
        let is_for = |request: &Request| request.wants_body() && request.path.ends_with(file);
        self.requests().into_iter().filter(is_for).collect()
    }

    pub(crate) fn forget_requests(&self) {
        self.shared.state().requests.clear();
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.shared.state().open = false;
        for port in [self.shared.hub_port, self.shared.cdn_port] {
            // Wakes the thread that waits for a connection.
            let _ = TcpStream::connect(("127.0.0.1", port));
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panicked")
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, host: Host) {
    for stream in listener.incoming() {
        if !shared.state().open {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(&shared, stream, host));
    }
}

/// Answers one request. A client that goes away in between is no concern of the server.
fn serve(shared: &Shared, mut stream: TcpStream, host: Host) {
    let Some(request) = read_request(&stream, host) else {
        return;
    };
    let (answer, fault) = {
        let mut state = shared.state();
        state.requests.push(request.clone());
        let fault = state
            .faults
            .iter_mut()
            .find(|fault| fault.applies(&request))
            .map(Fault::strike);
        (answer::to(&request, &state, shared, fault.as_ref()), fault)
    };
    let limit = fault.as_ref().and_then(fault::Kind::limit);
    let _ = answer.write(&mut stream, &request, limit);
    if matches!(fault, Some(fault::Kind::Stall(_))) {
        // Nothing more is sent; the read ends when the client gives up.
        let _ = stream.read(&mut [0]);
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_request(stream: &TcpStream, host: Host) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let mut request = Request {
        host,
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        range: None,
        authorization: None,
    };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else {
            return line.is_empty().then_some(request);
        };
        match name.to_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    None
}
