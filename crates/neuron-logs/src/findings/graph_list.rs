//! The graphs that a log tells of, each once, whatever its lines call it.

use std::collections::{BTreeSet, HashMap};

use crate::reading::{GraphStatus, LogGraph};

/// The graphs so far; an index is a graph's place in the order of the log.
#[derive(Default)]
pub(super) struct GraphList {
    list: Vec<LogGraph>,
    by_key: HashMap<Vec<u8>, usize>,
    /// The graphs that were begun and not ended.
    open: BTreeSet<usize>,
    begun_last: Option<usize>,
    /// Passes and failures whose graph has no name yet.
    unnamed: Vec<usize>,
    /// Unnamed entries that turned out to be those of a name.
    merged: BTreeSet<usize>,
    /// The graph whose failure is being reported, and whether a status line has ended it.
    failing: Option<usize>,
    failure_has_status: bool,
}

impl GraphList {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, index: usize) -> &LogGraph {
        &self.list[index]
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut LogGraph {
        &mut self.list[index]
    }

    pub(super) fn push(&mut self, graph: LogGraph) -> usize {
        self.list.push(graph);
        self.list.len() - 1
    }

    pub(super) fn of_key(&self, key: &[u8]) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    pub(super) fn set_key(&mut self, key: &[u8], index: usize) {
        self.by_key.insert(key.to_vec(), index);
    }

    /// The compiler of a graph is called.
    pub(super) fn begin(&mut self, index: usize) {
        self.settle(index, GraphStatus::Unfinished);
        self.open.insert(index);
    }

    pub(super) fn set_begun_last(&mut self, index: usize) {
        self.begun_last = Some(index);
    }

    /// The graph that was begun last, when it is still open.
    pub(super) fn open_last(&self) -> Option<usize> {
        self.begun_last.filter(|last| self.open.contains(last))
    }

    /// The open graph, when there is exactly one: a line without a name can only be about that.
    pub(super) fn only_open(&self) -> Option<usize> {
        let first = self.open.first().copied();
        first.filter(|_| self.open.len() == 1)
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// No end of the graph is expected any more.
    pub(super) fn close(&mut self, index: usize) {
        self.open.remove(&index);
    }

    /// Ends a graph.
    pub(super) fn settle(&mut self, index: usize, status: GraphStatus) {
        self.close(index);
        self.list[index].status = status;
    }

    /// Ends a graph with a failure, about which more lines may follow.
    pub(super) fn fail(&mut self, index: usize, exit: Option<i64>) {
        self.settle(index, failure(exit));
        self.list[index].exit_status = exit.or(self.list[index].exit_status);
        self.set_failing(Some(index));
    }

    pub(super) fn failing(&self) -> Option<usize> {
        self.failing
    }

    /// The lines that follow are about the failure of this graph, or about that of none.
    pub(super) fn set_failing(&mut self, failing: Option<usize>) {
        self.failing = failing;
        self.failure_has_status = false;
    }

    /// The graph that an `ERROR` status belongs to, where its failure was reported and has no status
    /// yet.
    pub(super) fn failing_without_status(&self) -> Option<usize> {
        self.failing.filter(|_| !self.failure_has_status)
    }

    pub(super) fn note_status_of_failure(&mut self) {
        self.failure_has_status = true;
    }

    /// Notes that an entry has no name yet.
    pub(super) fn add_unnamed(&mut self, index: usize) {
        self.unnamed.push(index);
    }

    /// Takes the last pass that has no name yet.
    pub(super) fn take_unnamed_pass(&mut self) -> Option<usize> {
        let is_pass = |index: &usize| self.list[*index].status == GraphStatus::Passed;
        let at = self.unnamed.iter().rposition(is_pass)?;
        Some(self.unnamed.remove(at))
    }

    /// Marks a graph as passed. A pass without a name that came before was its own.
    pub(super) fn pass_named(&mut self, index: usize) {
        self.settle(index, GraphStatus::Passed);
        if let Some(unnamed) = self.take_unnamed_pass() {
            self.merge(unnamed, index);
        }
    }

    /// Gives the dots of an unnamed entry to the graph that it was.
    fn merge(&mut self, unnamed: usize, index: usize) {
        self.list[index].progress_dots += self.list[unnamed].progress_dots;
        self.merged.insert(unnamed);
    }

    /// All graphs, once the log is over and what was left open is decided.
    pub(super) fn into_graphs(mut self) -> Vec<LogGraph> {
        self.settle_open();
        let is_extracted = |graph: &LogGraph| graph.status == GraphStatus::Extracted;
        // Extraction is one half of parallel compilation; where the other half is in the log too,
        // only that says something.
        let only_extracted = self.list.iter().all(is_extracted);
        let merged = self.merged;
        let graphs = self.list.into_iter().enumerate();
        let kept = graphs.filter(|(index, graph)| {
            !merged.contains(index) && (only_extracted || !is_extracted(graph))
        });
        kept.map(|(_, graph)| graph).collect()
    }

    /// Several compilers at once print status lines in any order. With a pass for each graph all
    /// of them passed; with fewer nobody can say which.
    fn settle_open(&mut self) {
        let open: Vec<usize> = self.open.iter().copied().collect();
        let is_pass = |index: &usize| self.list[*index].status == GraphStatus::Passed;
        let all_passed = self.unnamed.iter().all(is_pass);
        if all_passed && self.unnamed.len() >= open.len() {
            for (index, unnamed) in open.into_iter().zip(self.unnamed.clone()) {
                self.settle(index, GraphStatus::Passed);
                self.merge(unnamed, index);
            }
        } else if !self.unnamed.is_empty() {
            for index in open {
                self.settle(index, GraphStatus::NotTold);
            }
        }
    }
}

/// The status of a graph whose compiler exited like this: 137 is what a shell makes of signal 9.
pub(super) fn failure(exit: Option<i64>) -> GraphStatus {
    match exit {
        Some(-9 | 137) => GraphStatus::Killed,
        _ => GraphStatus::Failed,
    }
}
