//! The graphs that neuronx-cc is called for, line by line. Its logs hold no figures of operators:
//! a graph is the smallest thing that they tell apart.
//!
//! Lines name graphs by module, by the order of status lines, or not at all, and several compilers
//! write into one log. What cannot be bound to a name stays without one.

use super::Findings;
use super::graph_list::{GraphList, failure};
use super::module_name::module_and_key;
use crate::reading::{CompilerStatus, GraphStatus, LogGraph};

impl Findings {
    /// A new entry; `None` when it is beyond the bounds.
    fn new_graph(&mut self, name: Option<&[u8]>, status: GraphStatus) -> Option<usize> {
        if !self.reserve("graphs", self.graphs.len(), name.map_or(0, <[u8]>::len)) {
            return None;
        }
        let name = name.map(|name| self.text(name));
        let run = self.run_index();
        Some(self.graphs.push(LogGraph {
            name,
            status,
            run,
            ..LogGraph::default()
        }))
    }

    /// The entry of the module that `text` names, and whether it is new; a new one without a name
    /// where `text` names none.
    fn graph_of(&mut self, text: &[u8], status: GraphStatus) -> Option<(usize, bool)> {
        let Some((name, key)) = module_and_key(text) else {
            return Some((self.new_graph(None, status)?, true));
        };
        if let Some(index) = self.graphs.of_key(key) {
            return Some((index, false));
        }
        let index = self.new_graph(Some(name), status)?;
        self.graphs.set_key(key, index);
        Some((index, true))
    }

    /// A new entry whose name may still be told.
    fn unnamed_graph(&mut self, status: GraphStatus) -> Option<usize> {
        let index = self.new_graph(None, status)?;
        self.graphs.add_unnamed(index);
        Some(index)
    }

    /// The graph that fails now: the only open one, or one without a name.
    pub(super) fn failing_graph(&mut self, exit: Option<i64>) -> Option<usize> {
        let open = self.graphs.only_open();
        let index = open.or_else(|| self.unnamed_graph(GraphStatus::Failed))?;
        self.graphs.fail(index, exit);
        Some(index)
    }

    /// A compiler is called; `text` is its command, or the path of its output.
    pub(crate) fn graph_begins(&mut self, text: &[u8]) {
        self.graphs.set_failing(None);
        let Some((index, is_new)) = self.graph_of(text, GraphStatus::Unfinished) else {
            return;
        };
        // The cache path and the command of one call name the same module, and a graph that ended
        // is only compiled again when nothing was compiled before.
        let begins_again = matches!(
            self.graphs.get(index).status,
            GraphStatus::FailedInCache | GraphStatus::Extracted
        );
        if is_new || begins_again {
            self.graphs.begin(index);
        }
        self.graphs.set_begun_last(index);
    }

    /// Another process compiles the module, whose end is in another log: the graph is not open here.
    pub(crate) fn graph_is_awaited(&mut self, text: &[u8]) {
        self.graph_of(text, GraphStatus::Unfinished);
    }

    /// The graph is only kept for a compilation that comes later.
    pub(crate) fn graph_is_extracted(&mut self, text: &[u8]) {
        if module_and_key(text).is_some() {
            self.graph_of(text, GraphStatus::Extracted);
        } else if let Some(last) = self.graphs.open_last() {
            self.graphs.settle(last, GraphStatus::Extracted);
        }
    }

    /// The artifact of a graph is taken from the cache.
    pub(crate) fn graph_is_cached(&mut self, text: &[u8]) {
        self.graphs.set_failing(None);
        let Some((index, _)) = self.graph_of(text, GraphStatus::Cached) else {
            return;
        };
        self.graphs.get_mut(index).cache_hits += 1;
        // A graph that this log compiled may be taken from the cache by other ranks afterwards.
        if self.graphs.get(index).status != GraphStatus::Passed {
            self.graphs.settle(index, GraphStatus::Cached);
        }
    }

    /// The cache holds a failure of the module that `text` names; its error may follow.
    pub(crate) fn graph_failed_before(&mut self, text: &[u8]) {
        let found = self.graph_of(text, GraphStatus::FailedInCache);
        let index = found.map(|(index, _)| index);
        if let Some(index) = index {
            self.graphs.close(index);
        }
        self.graphs.set_failing(index);
    }

    /// `Failed compilation with` the command `text`.
    pub(crate) fn graph_failed(&mut self, text: &[u8]) {
        if let Some((index, _)) = self.graph_of(text, GraphStatus::Failed) {
            self.graphs.fail(index, None);
        }
    }

    /// `Compilation Successfully Completed` for the module that `text` names.
    pub(crate) fn graph_completed(&mut self, text: &[u8]) {
        self.graphs.set_failing(None);
        let name_and_key = module_and_key(text);
        if let Some(index) = name_and_key.and_then(|(_, key)| self.graphs.of_key(key)) {
            if self.graphs.get(index).status != GraphStatus::Passed {
                self.graphs.pass_named(index);
            }
            return;
        }
        // The status line of this module came first, and nobody could tell whose it was.
        let Some(unnamed) = self.graphs.take_unnamed_pass() else {
            self.graph_of(text, GraphStatus::Passed);
            return;
        };
        if let Some((name, key)) = name_and_key {
            self.graphs.get_mut(unnamed).name = Some(self.text(name));
            self.graphs.set_key(key, unnamed);
        }
    }

    /// The wrapper is done and all is well; the status line may be in another stream.
    pub(crate) fn graph_exits(&mut self) {
        if let Some(index) = self.graphs.only_open() {
            self.graphs.settle(index, GraphStatus::Passed);
        }
    }

    /// A status line with the dots before it.
    pub(super) fn graph_status(&mut self, status: CompilerStatus, dots: u64) {
        let index = match status {
            CompilerStatus::Pass => {
                self.graphs.set_failing(None);
                let open = self.graphs.only_open();
                let index = open.or_else(|| self.unnamed_graph(GraphStatus::Passed));
                if let Some(index) = index {
                    self.graphs.settle(index, GraphStatus::Passed);
                }
                index
            }
            CompilerStatus::Error => {
                // Errors come before the status line of the same failure; a second status line is
                // about a second failure.
                let reported = self.graphs.failing_without_status();
                let index = reported.or_else(|| self.failing_graph(None));
                self.graphs.note_status_of_failure();
                index
            }
        };
        if let Some(index) = index {
            self.graphs.get_mut(index).progress_dots += dots;
        }
    }

    /// The compiler exited with `code`.
    pub(crate) fn graph_exit(&mut self, code: i64) {
        if code == 0 {
            return self.graph_exits();
        }
        let failing = self.graphs.failing();
        let Some(index) = failing.or_else(|| self.failing_graph(None)) else {
            return;
        };
        let graph = self.graphs.get_mut(index);
        graph.exit_status.get_or_insert(code);
        if graph.status == GraphStatus::Failed {
            graph.status = failure(Some(code));
        }
    }

    /// A line of a summary of parallel compilation: how the graph at `path` ended.
    pub(crate) fn graph_summed_up(&mut self, path: &[u8], passed: bool, elapsed_s: Option<f64>) {
        if module_and_key(path).is_none() {
            return;
        }
        let Some((index, _)) = self.graph_of(path, GraphStatus::Unfinished) else {
            return;
        };
        self.graphs.get_mut(index).elapsed_s = elapsed_s;
        if !passed {
            self.graphs.settle(index, GraphStatus::Failed);
        } else if self.graphs.get(index).status != GraphStatus::Passed {
            self.graphs.pass_named(index);
        }
    }

    /// Moves the graphs into the reading; `rest` are dots that no status line ended.
    pub(super) fn finish_graphs(&mut self, rest: u64) {
        // Dots at the end are those of a compiler that had not ended: with no graph begun, one that
        // nothing else is known of.
        let is_running = self.end.in_dots && rest > 0;
        if is_running
            && !self.graphs.has_open()
            && let Some(index) = self.new_graph(None, GraphStatus::Unfinished)
        {
            self.graphs.get_mut(index).progress_dots = rest;
        }
        let graphs: GraphList = std::mem::take(&mut self.graphs);
        self.reading.graphs = graphs.into_graphs();
    }
}
