//! The folder of a case: made as its set-up says, and the place where its command runs.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use wait_timeout::ChildExt as _;

use crate::errors::case::Case;
use crate::errors::http_server::{self, Route};
use crate::hub_server::HubServer;
use crate::support::{Workplace, repository};

/// No command of a case takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the set-up has made so far.
pub(super) struct Folder {
    pub(super) sandbox: Workplace,
    pub(super) hub: Option<HubServer>,
    pub(super) routes: Vec<Route>,
    /// Regular expressions for what differs from run to run.
    pub(super) hidden: Vec<regex::Regex>,
}

/// Why a case cannot be tried.
pub(super) enum Problem {
    /// This machine lacks something.
    Missing(&'static str),
    /// The case is wrong.
    Wrong(String),
}

impl<T: ToString> From<T> for Problem {
    fn from(why: T) -> Self {
        Self::Wrong(why.to_string())
    }
}

pub(super) type Result<T> = std::result::Result<T, Problem>;

/// Prepares the folder of `case`, runs its command there, and gives what it says as its file has it.
pub(super) fn run(case: &Case) -> Result<String> {
    let mut folder = Folder {
        sandbox: Workplace::new(),
        hub: None,
        routes: Vec::new(),
        hidden: Vec::new(),
    };
    for step in &case.steps {
        folder.perform(step).map_err(|problem| match problem {
            Problem::Wrong(why) => format!("`{} {}`: {why}", step.verb, step.rest).into(),
            missing => missing,
        })?;
    }
    folder.says(case.command)
}

impl Folder {
    /// The exit code, stdout and stderr of a command line.
    fn says(&self, line: &str) -> Result<String> {
        let server = (!self.routes.is_empty()).then(|| http_server::start(self.routes.clone()));
        let server = server.map(|address| address.to_string());
        let line = line.replace("[SERVER]", server.as_deref().unwrap_or("[SERVER]"));
        let mut command = self.command(&line)?;
        let mut stdout = tempfile::tempfile().unwrap();
        let mut stderr = tempfile::tempfile().unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap();
        let Some(status) = child.wait_timeout(PATIENCE).unwrap() else {
            child.kill().unwrap();
            return Err(format!("it did not end within {PATIENCE:?}").into());
        };
        let code = status.code().ok_or(status)?;
        if code == 0 {
            return Err(format!("it succeeds:\n{}", content(&mut stdout)).into());
        }
        let mut text = format!("exit code {code}\n");
        for (name, file) in [("stdout", &mut stdout), ("stderr", &mut stderr)] {
            let said = self.shown(&content(file), server.as_deref());
            if !said.is_empty() {
                let end = if said.ends_with('\n') { "" } else { "\n" };
                text.push_str(&format!("--- {name}\n{said}{end}"));
            }
        }
        if text.contains("panicked") {
            return Err(text.into());
        }
        match self.draft() {
            Some(draft) => Err(format!("it leaves `{}`", draft.display()).into()),
            None => Ok(text),
        }
    }

    /// The command of a line, ready to start; variables may stand before it, as in a shell.
    fn command(&self, line: &str) -> Result<Command> {
        let words = shlex::split(line).ok_or("a quote of the command does not end")?;
        let program = words.iter().position(|word| !word.contains('='));
        let (variables, words) = words.split_at(program.ok_or("there is no command")?);
        let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let mut command = match words[0].strip_suffix("neuronc") {
            Some("") => self.sandbox.command(&args),
            Some(folder) => {
                let installed = self.sandbox.path(folder).join("neuronc");
                self.sandbox.command_of(&installed, &args)
            }
            None => return Err(format!("`{}` is not neuronc", words[0]).into()),
        };
        command.envs(variables.iter().filter_map(|pair| pair.split_once('=')));
        Ok(command)
    }

    /// A draft of a bundle that was left in the folder.
    fn draft(&self) -> Option<PathBuf> {
        let mut folders = vec![self.sandbox.path("")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name();
                if name.to_string_lossy().contains("neuronc-draft") {
                    return Some(entry.path());
                }
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        None
    }

    /// `text` without what differs from run to run.
    fn shown(&self, text: &str, server: Option<&str>) -> String {
        let programs = Path::new(env!("CARGO_BIN_EXE_neuronc")).parent().unwrap();
        let folder = self.sandbox.path("");
        let hub = self.hub.as_ref().map(HubServer::endpoint);
        let known = [
            (server.map(str::to_owned), "[SERVER]"),
            (hub, "[HUB]"),
            (Some(folder.display().to_string()), "[FOLDER]/"),
            (Some(programs.display().to_string()), "[PROGRAMS]"),
            (Some(repository().display().to_string()), "[REPOSITORY]"),
        ];
        let mut text = text.to_owned();
        for (value, name) in known {
            if let Some(value) = value {
                text = text.replace(&value, name);
                // Without the slash at its end.
                if let Some(value) = value.strip_suffix('/') {
                    text = text.replace(value, name.trim_end_matches('/'));
                }
            }
        }
        for pattern in &self.hidden {
            text = pattern.replace_all(&text, "[..]").into_owned();
        }
        text
    }
}

/// All of what a command wrote to `file`.
fn content(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
