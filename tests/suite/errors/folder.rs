//! The folder of a case: made as its set-up says, and the place where its command runs.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use wait_timeout::ChildExt as _;

use crate::errors::case::{Case, Step};
use crate::errors::http_server::{self, Route};
use crate::hub_server::{Fault, HubServer};
use crate::neuron::make_environment;
use crate::support::{Workplace, copy_folder, edit_json, fixture, repository, seal_again};

/// No command of a case takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) enum Outcome {
    /// The exit code, stdout and stderr.
    Said(String),
    /// Why the case cannot run on this machine.
    Skipped(String),
}

/// What a set-up has made.
struct Folder {
    sandbox: Workplace,
    hub: Option<HubServer>,
    routes: Vec<Route>,
    /// Regular expressions for what differs from run to run.
    hidden: Vec<regex::Regex>,
}

/// A step that cannot be done.
type Result<T> = std::result::Result<T, String>;

/// Prepares the folder of `case` and runs its command there.
pub(super) fn run(case: &Case) -> Result<Outcome> {
    let mut folder = Folder {
        sandbox: Workplace::new(),
        hub: None,
        routes: Vec::new(),
        hidden: Vec::new(),
    };
    for step in &case.steps {
        let done = folder.perform(step);
        if !done.map_err(|why| format!("`{} {}`: {why}", step.verb, step.rest))? {
            return Ok(Outcome::Skipped(
                "the doubles of the SDK are missing".into(),
            ));
        }
    }
    folder.command(case.command).map(Outcome::Said)
}

impl Folder {
    /// Does what a line of the set-up says; false where this machine cannot.
    fn perform(&mut self, step: &Step) -> Result<bool> {
        // A regular expression has quotes of its own.
        let words = match step.verb {
            "hide" => Vec::new(),
            _ => shlex::split(step.rest).ok_or("a quote does not end")?,
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match (step.verb, &words[..]) {
            ("model", [name, to]) => copy_folder(&fixture(name), &self.path(to)?),
            ("bundle", [name, to]) => {
                let shapes = ["--batch-size", "1", "--sequence-length", "16"];
                self.sandbox.traced(&fixture(name), to, &shapes);
            }
            ("take", [from, to]) => copy(&repository().join(from), &self.path(to)?)?,
            ("copy", [from, to]) => copy(&self.path(from)?, &self.path(to)?)?,
            ("move", [from, to]) => {
                fs::rename(self.path(from)?, self.path(to)?).map_err(|error| error.to_string())?;
            }
            ("remove", [path]) => remove(&self.path(path)?)?,
            ("folder", [path]) => fs::create_dir_all(self.path(path)?).unwrap(),
            ("link", [path, to]) => {
                std::os::unix::fs::symlink(to, self.path(path)?).unwrap();
            }
            ("write", [path]) => self.write(path, step.block.as_bytes())?,
            ("without", [path, part]) => {
                let text = fs::read_to_string(self.path(path)?).map_err(|e| e.to_string())?;
                let lines = text.lines().filter(|line| !line.contains(part));
                let left: String = lines.map(|line| format!("{line}\n")).collect();
                if left == text {
                    return Err(format!("no line has `{part}`"));
                }
                self.write(path, left.as_bytes())?;
            }
            ("install", [folder]) => {
                let program = self.path(&format!("{folder}/neuronc"))?;
                let built = env!("CARGO_BIN_EXE_neuronc");
                // A copy where the two folders are on different disks.
                if fs::hard_link(built, &program).is_err() {
                    copy(Path::new(built), &program)?;
                }
            }
            ("program", [path]) => {
                self.write(path, step.block.as_bytes())?;
                let mode = fs::Permissions::from_mode(0o755);
                fs::set_permissions(self.path(path)?, mode).map_err(|error| error.to_string())?;
            }
            ("replace", [path, old, new]) => {
                let text = fs::read_to_string(self.path(path)?).map_err(|e| e.to_string())?;
                if !text.contains(old) {
                    return Err(format!("`{old}` is not there"));
                }
                self.write(path, text.replace(old, new).as_bytes())?;
            }
            ("resize", [path, bytes]) => {
                let file = File::options().write(true).open(self.path(path)?);
                file.and_then(|file| file.set_len(number(bytes)?))
                    .map_err(|error| error.to_string())?;
            }
            ("byte", [path, place, value]) => {
                let mut bytes = fs::read(self.path(path)?).map_err(|error| error.to_string())?;
                let place: usize = place.parse().map_err(|_| "not a place")?;
                let value: u8 = value.parse().map_err(|_| "not a byte")?;
                *bytes.get_mut(place).ok_or("it has fewer bytes")? = value;
                self.write(path, &bytes)?;
            }
            ("set" | "unset", [path, pointer, ..]) => {
                let json = step.rest.splitn(3, ' ').nth(2);
                edit(&self.path(path)?, pointer, json)?;
            }
            ("run", ["neuronc", args @ ..]) => drop(self.sandbox.run(args).succeeds()),
            ("seal", [bundle]) => seal_again(&self.path(bundle)?),
            ("hide", _) => {
                let pattern = regex::Regex::new(step.rest).map_err(|error| error.to_string())?;
                self.hidden.push(pattern);
            }
            ("hub", [model, id]) => {
                let hub = HubServer::start(&self.path(model)?, id);
                self.sandbox.set("HF_ENDPOINT", &hub.endpoint());
                self.hub = Some(hub);
            }
            ("hub-fault", words) => self.hub()?.fail(fault(words)?),
            ("hub-lists", [path, listed]) => self.hub()?.list_as(path, listed),
            ("hub-token", [token]) => self.hub()?.require_token(token),
            ("server", [path, status, ..]) => self.routes.push(Route {
                path: (*path).to_owned(),
                status: status.parse().map_err(|_| "not a status")?,
                body: step
                    .rest
                    .splitn(3, ' ')
                    .nth(2)
                    .unwrap_or_default()
                    .to_owned(),
            }),
            ("sdk", [kind, options @ ..]) => {
                return Ok(make_environment(kind, &self.path("sdk")?, options));
            }
            _ => return Err("neuronc's cases know no such set-up; see tests/README.md".into()),
        }
        Ok(true)
    }

    /// A path of the folder, whose own folder is made where it is missing.
    fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.sandbox.path(name);
        let parent = path.parent().ok_or("not a path")?;
        fs::create_dir_all(parent).map_err(|error| error.to_string())?;
        Ok(path)
    }

    fn hub(&self) -> Result<&HubServer> {
        self.hub.as_ref().ok_or("there is no hub yet".to_owned())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fs::write(self.path(name)?, bytes).map_err(|error| error.to_string())
    }

    /// Runs the command line and gives its exit code, stdout and stderr as they stand in a case.
    fn command(&self, line: &str) -> Result<String> {
        let server = (!self.routes.is_empty()).then(|| http_server::start(self.routes.clone()));
        let server = server.map(|address| address.to_string());
        let line = line.replace("[SERVER]", server.as_deref().unwrap_or("[SERVER]"));
        let words = shlex::split(&line).ok_or("a quote of the command does not end")?;
        let program = words.iter().position(|word| !word.contains('='));
        let (variables, words) = words.split_at(program.ok_or("no command")?);
        let [program, args @ ..] = words else {
            return Err("no command".into());
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = self.sandbox.command(&args);
        match program.strip_suffix("/neuronc") {
            Some(folder) => {
                let installed = self.sandbox.path(folder).join("neuronc");
                command = self.sandbox.command_of(&installed, &args);
            }
            None if program == "neuronc" => {}
            None => return Err(format!("`{program}` is not neuronc")),
        }
        command.envs(variables.iter().filter_map(|pair| pair.split_once('=')));
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
            return Err(format!("it did not end within {PATIENCE:?}"));
        };
        let code = status.code().ok_or_else(|| status.to_string())?;
        if code == 0 {
            return Err(format!("it succeeds:\n{}", content(&mut stdout)));
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
            return Err(text);
        }
        match self.draft() {
            Some(draft) => Err(format!("it leaves `{}`", draft.display())),
            None => Ok(text),
        }
    }

    /// A draft of a bundle that was left in the folder.
    fn draft(&self) -> Option<PathBuf> {
        let mut folders = vec![self.sandbox.path("")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry
                    .file_name()
                    .to_string_lossy()
                    .contains("neuronc-draft")
                {
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

/// What the Hub is to do wrong, and the part of the paths for which it does, if not for all.
fn fault(words: &[&str]) -> Result<Fault> {
    let (words, on) = match words {
        [words @ .., "on", part] => (words, *part),
        words => (words, ""),
    };
    let fault = match words {
        ["status", status] => Fault::status(status.parse().map_err(|_| "not a status")?),
        ["gated", status] => {
            Fault::refusal(status.parse().map_err(|_| "not a status")?, "GatedRepo")
        }
        ["cut", bytes] => Fault::cut_after(bytes.parse().map_err(|_| "not a number")?),
        ["web-page"] => Fault::web_page(),
        ["wrong-content"] => Fault::wrong_content(),
        ["wrong-length"] => Fault::wrong_length(),
        _ => return Err("the Hub of the tests knows no such fault".into()),
    };
    Ok(fault.on(on))
}

fn number(text: &str) -> std::io::Result<u64> {
    let number = text.parse();
    number.map_err(|_| std::io::Error::other(format!("`{text}` is not a number")))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        copy_folder(from, to);
    } else {
        fs::copy(from, to).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(|error| error.to_string())
}

/// Sets the value at `pointer` of a JSON file, or takes it out where there is no new one.
fn edit(path: &Path, pointer: &str, json: Option<&str>) -> Result<()> {
    let (parent, name) = pointer
        .rsplit_once('/')
        .ok_or("a pointer begins with `/`")?;
    let new = json.map(serde_json::from_str::<Value>).transpose();
    let new = new.map_err(|error| error.to_string())?;
    let mut found = false;
    edit_json(path, |whole| {
        let place = whole.pointer_mut(parent);
        match (place, new) {
            (Some(Value::Object(map)), Some(new)) => drop(map.insert(name.to_owned(), new)),
            (Some(Value::Object(map)), None) => drop(map.remove(name)),
            (Some(Value::Array(list)), Some(new)) => match name.parse::<usize>() {
                Ok(place) if place < list.len() => list[place] = new,
                _ => return,
            },
            _ => return,
        }
        found = true;
    });
    if found {
        Ok(())
    } else {
        Err(format!("`{pointer}` is not in the file"))
    }
}
