//! The set-up of a case: what each line of it does in the folder. `tests/README.md` lists them.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::errors::case::Step;
use crate::errors::folder::{Folder, Problem, Result};
use crate::errors::http_server::Route;
use crate::hub_server::{Fault, HubServer};
use crate::neuron::make_environment;
use crate::support::{copy_folder, edit_json, fixture, repository, seal_again};

impl Folder {
    /// Does what a line of the set-up says.
    pub(super) fn perform(&mut self, step: &Step) -> Result<()> {
        // A regular expression has quotes of its own.
        if step.verb == "hide" {
            let pattern = regex::Regex::new(step.rest).map_err(|error| error.to_string())?;
            self.hidden.push(pattern);
            return Ok(());
        }
        let words = shlex::split(step.rest).ok_or("a quote does not end")?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let is_known = self.place(step.verb, &words)?
            || self.write(step, &words)?
            || self.change(step, &words)?
            || self.start(step, &words)?;
        if is_known {
            Ok(())
        } else {
            Err("no set-up is called that, or it has other words: see tests/README.md".into())
        }
    }

    /// Puts what there is elsewhere into the folder, and moves it there; false for other verbs.
    fn place(&self, verb: &str, words: &[&str]) -> Result<bool> {
        match (verb, words) {
            ("model", [name, to]) => copy_folder(&fixture(name), &self.path(to)?),
            ("bundle", [name, to]) => {
                let shapes = ["--batch-size", "1", "--sequence-length", "16"];
                self.sandbox.traced(&fixture(name), to, &shapes);
            }
            ("take", [from, to]) => copy(&repository().join(from), &self.path(to)?)?,
            ("copy", [from, to]) => copy(&self.path(from)?, &self.path(to)?)?,
            ("move", [from, to]) => fs::rename(self.path(from)?, self.path(to)?)?,
            ("remove", [path]) => remove(&self.path(path)?)?,
            ("folder", [path]) => fs::create_dir_all(self.path(path)?)?,
            ("link", [path, target]) => symlink(target, self.path(path)?)?,
            ("install", [folder]) => {
                let program = self.path(&format!("{folder}/neuronc"))?;
                let built = Path::new(env!("CARGO_BIN_EXE_neuronc"));
                // A copy where the two folders are on different disks.
                if fs::hard_link(built, &program).is_err() {
                    copy(built, &program)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Writes a file; false for other verbs.
    fn write(&self, step: &Step, words: &[&str]) -> Result<bool> {
        match (step.verb, words) {
            ("write", [path]) => fs::write(self.path(path)?, &step.block)?,
            ("program", [path]) => {
                let path = self.path(path)?;
                fs::write(&path, &step.block)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Changes a file that is there; false for other verbs.
    fn change(&self, step: &Step, words: &[&str]) -> Result<bool> {
        match (step.verb, words) {
            ("without", [path, part]) => {
                let text = fs::read_to_string(self.path(path)?)?;
                let lines = text.lines().filter(|line| !line.contains(part));
                let left: String = lines.map(|line| format!("{line}\n")).collect();
                if left == text {
                    return Err(format!("no line has `{part}`").into());
                }
                fs::write(self.path(path)?, left)?;
            }
            ("replace", [path, old, new]) => {
                let text = fs::read_to_string(self.path(path)?)?;
                if !text.contains(old) {
                    return Err(format!("`{old}` is not there").into());
                }
                fs::write(self.path(path)?, text.replace(old, new))?;
            }
            ("resize", [path, bytes]) => {
                let bytes = bytes.parse().map_err(|_| "not a number of bytes")?;
                let file = File::options().write(true).open(self.path(path)?)?;
                file.set_len(bytes)?;
            }
            ("byte", [path, place, value]) => {
                let mut bytes = fs::read(self.path(path)?)?;
                let place: usize = place.parse().map_err(|_| "not a place")?;
                let value: u8 = value.parse().map_err(|_| "not a byte")?;
                *bytes.get_mut(place).ok_or("it has fewer bytes")? = value;
                fs::write(self.path(path)?, bytes)?;
            }
            ("set" | "unset", [path, pointer, ..]) => {
                edit(&self.path(path)?, pointer, third(step.rest))?;
            }
            ("seal", [bundle]) => seal_again(&self.path(bundle)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Runs or starts something that the command will meet; false for other verbs.
    fn start(&mut self, step: &Step, words: &[&str]) -> Result<bool> {
        match (step.verb, words) {
            ("run", ["neuronc", args @ ..]) => drop(self.sandbox.run(args).succeeds()),
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
                body: third(step.rest).unwrap_or_default().to_owned(),
            }),
            ("sdk", [kind, options @ ..]) => {
                if !make_environment(kind, &self.path("sdk")?, options) {
                    return Err(Problem::Missing("the doubles of the SDK are not here"));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A path of the folder, whose own folder is made where it is missing.
    fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.sandbox.path(name);
        fs::create_dir_all(path.parent().ok_or("not a path")?)?;
        Ok(path)
    }

    fn hub(&self) -> Result<&HubServer> {
        Ok(self.hub.as_ref().ok_or("there is no hub yet")?)
    }
}

/// What follows the second word of a line.
fn third(rest: &str) -> Option<&str> {
    rest.splitn(3, ' ').nth(2)
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

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        copy_folder(from, to);
    } else {
        fs::copy(from, to)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)?;
    } else {
        fs::remove_file(path)?;
    }
    Ok(())
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
        Err(format!("`{pointer}` is not in the file").into())
    }
}
