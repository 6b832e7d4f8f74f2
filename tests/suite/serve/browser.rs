//! A headless Chromium, driven over its debugging protocol: as much of it as tests of a page need.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::serve::client::Client;
use crate::serve::{PATIENCE, wait_until};
use crate::support::skip_outside_of_ci;

/// A browser with one page, which ends with the value.
pub(super) struct Browser {
    process: Child,
    page: TcpStream,
    asked: u64,
    _profile: tempfile::TempDir,
}

/// The program, unless there is none here.
fn program() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let places = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = places.into_iter().find(|place| place.is_file());
    if found.is_none() {
        skip_outside_of_ci("there is no chromium on PATH");
    }
    found
}

impl Browser {
    /// Opens `url`; `None` where there is no browser, which is printed.
    pub(super) fn open(url: &str) -> Option<Self> {
        let program = program()?;
        let profile = tempfile::tempdir().unwrap();
        let process = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .args([
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ports = profile.path().join("DevToolsActivePort");
        let port = wait_until("the browser listens", || {
            let ports = fs::read_to_string(&ports).ok()?;
            ports.lines().next()?.parse::<u16>().ok()
        });
        let address = ([127, 0, 0, 1], port).into();
        let target = wait_until("the browser has a page", || {
            // It answers only who calls it by its number.
            let mut client = Client::connect(address).ok()?;
            let head = format!("GET /json/list HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
            client.write(head.as_bytes()).ok()?;
            let pages = client.read().ok()?;
            let pages: Value = serde_json::from_slice(&pages.body).ok()?;
            let mut pages = pages.as_array()?.iter();
            let page = pages.find(|page| page["type"] == "page")?;
            Some(page["webSocketDebuggerUrl"].as_str()?.to_owned())
        });
        let path = target.splitn(4, '/').last().unwrap();
        let mut page = TcpStream::connect(address).unwrap();
        page.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "GET /{path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        page.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            page.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        let mut browser = Self {
            process,
            page,
            asked: 0,
            _profile: profile,
        };
        browser.call("Page.navigate", &json!({"url": url}));
        Some(browser)
    }

    /// What an expression gives, after it has been waited for.
    #[track_caller]
    pub(super) fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(super) fn wait(&mut self, expression: &str) {
        // While a page is being loaded, there is nothing to ask.
        let guarded =
            format!("(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()");
        wait_until(expression, || {
            (self.evaluate(&guarded) == true).then_some(())
        });
    }

    /// Pretends that the reader wants this scheme of colours.
    pub(super) fn prefer(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// The least contrast of texts on their grounds, each a selector, as WCAG counts it.
    pub(super) fn contrast(&mut self, pairs: &[(&str, &str)]) -> f64 {
        let pairs = json!(pairs);
        let script = format!(
            "(() => {{
            const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
              .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
              .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
            const of = ([selector, on]) => {{
              const parts = [getComputedStyle(document.querySelector(selector)).color,
                getComputedStyle(document.querySelector(on)).backgroundColor].map(light);
              return (Math.max(...parts) + 0.05) / (Math.min(...parts) + 0.05);
            }};
            return Math.min(...{pairs}.map(of));
          }})()"
        );
        self.evaluate(&script).as_f64().unwrap()
    }

    pub(super) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let call = json!({"id": self.asked, "method": method, "params": parameters});
        self.send(call.to_string().as_bytes());
        loop {
            let answer: Value = serde_json::from_slice(&self.receive()).unwrap();
            // Everything else is news that nobody asked for.
            if answer["id"] == self.asked {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// A message of a client is masked; a mask of zeros leaves it as it is.
    fn send(&mut self, message: &[u8]) {
        let length = u16::try_from(message.len()).unwrap();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(message);
        self.page.write_all(&frame).unwrap();
    }

    /// The next message, which may come in several frames.
    fn receive(&mut self) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            let [first, second] = self.take();
            let length = match second & 0x7f {
                126 => u64::from(u16::from_be_bytes(self.take())),
                127 => u64::from_be_bytes(self.take()),
                short => u64::from(short),
            };
            let start = message.len();
            message.resize(start + usize::try_from(length).unwrap(), 0);
            self.page.read_exact(&mut message[start..]).unwrap();
            if first & 0x80 != 0 {
                return message;
            }
        }
    }

    fn take<const COUNT: usize>(&mut self) -> [u8; COUNT] {
        let mut bytes = [0; COUNT];
        self.page.read_exact(&mut bytes).unwrap();
        bytes
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
