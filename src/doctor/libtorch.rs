//! Examines `neuronc-torch`, the executor that links libtorch.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::command::ChildLog;
use crate::doctor::scratch::Scratch;
use crate::executor::probe::Places;

/// Limit for loading libtorch and printing its version.
const DEADLINE: Duration = Duration::from_secs(60);

/// The executor `neuronc-torch` as it describes itself.
#[derive(Debug, Clone, Serialize)]
pub struct Libtorch {
    pub program: Option<PathBuf>,
    pub executor_version: Option<String>,
    /// Version of libtorch.
    pub version: Option<String>,
    /// Version of the protocol of jobs and events.
    pub protocol: Option<u32>,
    /// The reason why it is missing or did not answer.
    pub problem: Option<String>,
}

pub fn examine(places: &Places) -> Libtorch {
    let mut found = Libtorch {
        program: None,
        executor_version: None,
        version: None,
        protocol: None,
        problem: None,
    };
    if let Err(error) = ask(places, &mut found) {
        found.problem = Some(format!("{error:#}"));
    }
    found
}

fn ask(places: &Places, found: &mut Libtorch) -> Result<()> {
    let mut program = places.torch()?;
    found.program = Some(plain(&program.path));
    program.args.push("--version".into());
    let scratch = Scratch::new(&places.temporary)?;
    let log = scratch.log();
    let mut answer = String::new();
    program.run(Vec::new(), &ChildLog::file(&log), DEADLINE, &mut |line| {
        if answer.is_empty() {
            line.clone_into(&mut answer);
        }
        Ok(())
    })?;
    let (executor, libtorch, protocol) =
        parse(&answer).with_context(|| format!("it answers `--version` with `{answer}`"))?;
    found.executor_version = Some(executor);
    found.version = Some(libtorch);
    found.protocol = Some(protocol);
    Ok(())
}

/// The path without `..` and links; the path itself where it does not exist.
fn plain(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Parses `neuronc-torch 0.1.0 (libtorch 2.9.0, protocol 1)` into the three versions.
fn parse(answer: &str) -> Option<(String, String, u32)> {
    let (name, rest) = answer.split_once(" (libtorch ")?;
    let (_, version) = name.split_once(' ')?;
    let (libtorch, protocol) = rest.strip_suffix(')')?.split_once(", protocol ")?;
    let protocol = protocol.parse().ok()?;
    Some((version.to_owned(), libtorch.to_owned(), protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_version_has_three_versions() {
        let answer = "neuronc-torch 0.1.0 (libtorch 2.9.0+cpu, protocol 4)";
        let expected = ("0.1.0".to_owned(), "2.9.0+cpu".to_owned(), 4);
        assert_eq!(parse(answer), Some(expected));
        assert_eq!(parse("neuronc-torch 0.1.0"), None);
    }
}
