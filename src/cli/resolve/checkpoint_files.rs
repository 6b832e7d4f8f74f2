//! The files of a model that decide its plan: which they are, their content, and their digests.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::checkpoint::{self, Checkpoint, RequestedTracer};
use crate::cli::terminal::print;
use crate::cli::terminal::progress_bars::Bars;
use crate::files;
use crate::hub::{self, Digest, Listing, Snapshot};
use crate::plan::ModelIdentity;
use crate::recipe::Task;

/// Fetches and parses the small files that describe the model.
pub(in crate::cli) fn load_checkpoint(
    snapshot: &Snapshot,
    task: Option<Task>,
    tracer: &RequestedTracer,
    bars: &mut Bars,
) -> Result<Checkpoint> {
    if snapshot.listing == Listing::Cached {
        print::remark(&format!(
            "note: the cache does not say what {} holds; files that are not in it count as absent",
            snapshot.source
        ));
    }
    let listed: Vec<&str> = snapshot
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    let names = checkpoint::small_files(listed.iter().copied());
    let paths = snapshot.fetch(&names, &mut |progress| bars.download(progress))?;
    let mut small = BTreeMap::new();
    for (name, path) in names.into_iter().zip(paths) {
        small.insert(name.to_owned(), files::read(&path)?);
    }
    Checkpoint::resolve(&small, &listed, task, tracer)
}

/// Names of the files that tracing needs beside those that decided the plan.
pub(in crate::cli) fn needed(checkpoint: &Checkpoint) -> Vec<&str> {
    let names = checkpoint
        .tokenizer_files
        .iter()
        .chain(&checkpoint.weight_files);
    names.map(String::as_str).collect()
}

/// The identity of a model for the plan: its id, commit, and the digests of its files.
pub(in crate::cli) fn identity(
    snapshot: &Snapshot,
    checkpoint: &Checkpoint,
) -> Result<ModelIdentity> {
    let listed = snapshot.files.iter().map(|file| file.path.as_str());
    let mut names = checkpoint::small_files(listed);
    names.extend(needed(checkpoint));
    let mut digests = BTreeMap::new();
    for name in names {
        let digest = match snapshot.file(name).and_then(|file| file.digest.as_ref()) {
            Some(Digest::GitBlob(hex)) => format!("git:{hex}"),
            _ => format!("sha256:{}", snapshot.sha256(name)?),
        };
        digests.insert(name.to_owned(), digest);
    }
    Ok(ModelIdentity {
        id: match &snapshot.source {
            hub::ModelSource::Hub { id, .. } => Some(id.clone()),
            hub::ModelSource::Folder(_) => None,
        },
        commit: snapshot.commit.clone(),
        files: digests,
    })
}
