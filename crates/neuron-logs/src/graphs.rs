//! The graphs that neuronx-cc was called for, one by one: its logs hold no figures of operators, so
//! a graph is what can be told apart.
//!
//! Lines name graphs by module, by the order of status lines, or not at all, and several compilers
//! write into one log. What cannot be bound to a name stays without one.

use std::collections::{BTreeSet, HashMap};

use super::book::{Book, Origin};
use super::reading::{Graph, GraphStatus, LogError, Status};
use super::scan::after;

/// The graphs so far.
#[derive(Default)]
pub(super) struct Graphs {
    list: Vec<Graph>,
    by_key: HashMap<Vec<u8>, usize>,
    /// Begun and not ended.
    open: BTreeSet<usize>,
    begun_last: Option<usize>,
    /// Passes and failures that no name is known for.
    unnamed: Vec<usize>,
    /// Unnamed ones that turned out to be those of a name.
    merged: BTreeSet<usize>,
    /// The graph whose failure the lines are telling, and whether a status line ended it.
    failing: Option<usize>,
    failure_has_status: bool,
    closed: bool,
}

impl Graphs {
    fn only_open(&self) -> Option<usize> {
        let first = self.open.first().copied();
        first.filter(|_| self.open.len() == 1)
    }

    fn settle(&mut self, index: usize, status: GraphStatus) {
        self.open.remove(&index);
        self.list[index].status = status;
    }

    /// Gives what an unnamed pass says to the named graph that it was.
    fn merge(&mut self, unnamed: usize, index: usize) {
        self.list[index].progress_dots += self.list[unnamed].progress_dots;
        self.merged.insert(unnamed);
    }

    fn take_unnamed_pass(&mut self) -> Option<usize> {
        let is_pass = |index: &usize| self.list[*index].status == GraphStatus::Passed;
        let at = self.unnamed.iter().rposition(is_pass)?;
        Some(self.unnamed.remove(at))
    }

    fn fail(&mut self, index: usize, exit: Option<i64>) {
        self.settle(index, failure(exit));
        self.list[index].exit_status = exit.or(self.list[index].exit_status);
        self.failing = Some(index);
        self.failure_has_status = false;
    }
}

/// 137 is what a shell makes of the signal -9.
fn failure(exit: Option<i64>) -> GraphStatus {
    match exit {
        Some(code) if code == -9 || code == 137 => GraphStatus::Killed,
        _ => GraphStatus::Failed,
    }
}

/// The module that a path or a command names, and the part of it that all its names share: what
/// `MODULE_0_SyncTensorsGraph.6_874` is in one line is `MODULE_874` in another.
pub(super) fn module(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = after(text, "MODULE_")?;
    let start = text.len() - rest.len() - "MODULE_".len();
    let wanted = |at: usize| match rest[at] {
        b'.' => rest.get(at + 1).is_some_and(u8::is_ascii_digit),
        byte => byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'_',
    };
    let length = (0..rest.len()).find(|at| !wanted(*at));
    let length = length.unwrap_or(rest.len());
    let id = &rest[..length];
    let key = id.rsplit(|byte| *byte == b'_').next()?;
    let name = &text[start..start + "MODULE_".len() + length];
    let unique = key.len() >= KEY_BYTES_MIN || key.len() == id.len();
    (length > 0).then_some((name, if unique { key } else { id }))
}

/// Shorter last parts of a module's name are numbers, not hashes.
const KEY_BYTES_MIN: usize = 8;

impl Book {
    /// A new entry, if there is room for it.
    fn new_graph(&mut self, name: Option<&[u8]>, status: GraphStatus) -> Option<usize> {
        let length = self.graphs.list.len();
        if self.graphs.closed || !self.room("graphs", length, name.map_or(0, <[u8]>::len)) {
            return None;
        }
        let name = name.map(|name| self.text(name));
        let run = self.run_index();
        self.graphs.list.push(Graph {
            name,
            status,
            run,
            ..Graph::default()
        });
        Some(length)
    }

    /// The entry of the module that `text` names, and whether it is new; unnamed where it names none.
    fn graph_of(&mut self, text: &[u8], status: GraphStatus) -> Option<(usize, bool)> {
        let Some((name, key)) = module(text) else {
            return Some((self.new_graph(None, status)?, true));
        };
        if let Some(index) = self.graphs.by_key.get(key) {
            return Some((*index, false));
        }
        let index = self.new_graph(Some(name), status)?;
        self.graphs.by_key.insert(key.to_vec(), index);
        Some((index, true))
    }

    /// A compiler is called; `text` is its command, or the path of its output.
    pub(super) fn graph_begins(&mut self, text: &[u8]) {
        self.graphs.failing = None;
        let Some((index, new)) = self.graph_of(text, GraphStatus::Unfinished) else {
            return;
        };
        let graph = &self.graphs.list[index];
        let again = matches!(
            graph.status,
            GraphStatus::FailedInCache | GraphStatus::Extracted
        );
        if new || again {
            self.graphs.settle(index, GraphStatus::Unfinished);
            self.graphs.open.insert(index);
        }
        self.graphs.begun_last = Some(index);
    }

    /// Another process compiles the module.
    pub(super) fn graph_is_awaited(&mut self, text: &[u8]) {
        self.graph_of(text, GraphStatus::Unfinished);
    }

    /// The graph is only kept for a compilation that comes later.
    pub(super) fn graph_is_extracted(&mut self, text: &[u8]) {
        if module(text).is_some() {
            self.graph_of(text, GraphStatus::Extracted);
            return;
        }
        let open = &self.graphs.open;
        if let Some(last) = self.graphs.begun_last.filter(|last| open.contains(last)) {
            self.graphs.settle(last, GraphStatus::Extracted);
        }
    }

    pub(super) fn graph_is_cached(&mut self, text: &[u8]) {
        self.graphs.failing = None;
        let Some((index, _)) = self.graph_of(text, GraphStatus::Cached) else {
            return;
        };
        self.graphs.list[index].cache_hits += 1;
        if self.graphs.list[index].status != GraphStatus::Passed {
            self.graphs.settle(index, GraphStatus::Cached);
        }
    }

    pub(super) fn graph_failed_before(&mut self, text: &[u8]) {
        let found = self.graph_of(text, GraphStatus::FailedInCache);
        if let Some((index, _)) = found {
            self.graphs.open.remove(&index);
        }
        self.graphs.failing = found.map(|(index, _)| index);
        self.graphs.failure_has_status = false;
    }

    /// `Failed compilation with` the command `text`.
    pub(super) fn graph_failed(&mut self, text: &[u8]) {
        if let Some((index, _)) = self.graph_of(text, GraphStatus::Failed) {
            self.graphs.fail(index, None);
        }
    }

    /// `Compilation Successfully Completed` for the module that `text` names.
    pub(super) fn graph_completed(&mut self, text: &[u8]) {
        self.graphs.failing = None;
        let known = module(text).and_then(|(_, key)| self.graphs.by_key.get(key));
        if let Some(index) = known.copied() {
            if self.graphs.list[index].status == GraphStatus::Passed {
                return;
            }
            self.graphs.settle(index, GraphStatus::Passed);
            if let Some(unnamed) = self.graphs.take_unnamed_pass() {
                self.graphs.merge(unnamed, index);
            }
            return;
        }
        let Some(unnamed) = self.graphs.take_unnamed_pass() else {
            self.graph_of(text, GraphStatus::Passed);
            return;
        };
        if let Some((name, key)) = module(text) {
            self.graphs.list[unnamed].name = Some(self.text(name));
            self.graphs.by_key.insert(key.to_vec(), unnamed);
        }
    }

    /// The wrapper is done and all is well; the status line may be in another stream.
    pub(super) fn graph_exits(&mut self) {
        if let Some(index) = self.graphs.only_open() {
            self.graphs.settle(index, GraphStatus::Passed);
        }
    }

    /// A status line with the dots before it.
    pub(super) fn graph_status(&mut self, status: Status, dots: u64) {
        let index = match status {
            Status::Pass => {
                self.graphs.failing = None;
                let open = self.graphs.only_open();
                let index = open.or_else(|| self.unnamed_graph(GraphStatus::Passed));
                if let Some(index) = index {
                    self.graphs.settle(index, GraphStatus::Passed);
                }
                index
            }
            Status::Error => {
                let told = self.graphs.failing;
                let told = told.filter(|_| !self.graphs.failure_has_status);
                let index = told.or_else(|| self.failing_graph(None));
                self.graphs.failure_has_status = true;
                index
            }
        };
        if let Some(index) = index {
            self.graphs.list[index].progress_dots += dots;
        }
    }

    fn unnamed_graph(&mut self, status: GraphStatus) -> Option<usize> {
        let index = self.new_graph(None, status)?;
        self.graphs.unnamed.push(index);
        Some(index)
    }

    /// The graph that fails now: the only open one, or one without a name.
    fn failing_graph(&mut self, exit: Option<i64>) -> Option<usize> {
        let open = self.graphs.only_open();
        let index = open.or_else(|| self.unnamed_graph(GraphStatus::Failed))?;
        self.graphs.fail(index, exit);
        Some(index)
    }

    /// The compiler exited with `code`.
    pub(super) fn graph_exit(&mut self, code: i64) {
        if code == 0 {
            return self.graph_exits();
        }
        let Some(index) = self.graphs.failing.or_else(|| self.failing_graph(None)) else {
            return;
        };
        let graph = &mut self.graphs.list[index];
        graph.exit_status.get_or_insert(code);
        if graph.status == GraphStatus::Failed {
            graph.status = failure(Some(code));
        }
    }

    /// Reports an error of a compiler that stands in one line, and counts it.
    pub(super) fn count_error_of_compiler(&mut self, error: LogError) {
        if let Some(known) = self.report_of_compiler(error) {
            known.count += 1;
        }
    }

    /// Reports an error of a compiler, which is that of a graph.
    pub(super) fn report_of_compiler(&mut self, error: LogError) -> Option<&mut LogError> {
        let is_new = !self.knows(&error);
        let failing = self.graphs.failing;
        let index = match failing {
            None if is_new && self.origin == Origin::Own => self.failing_graph(error.exit_status),
            known => known,
        };
        if let Some(index) = index {
            let graph = &mut self.graphs.list[index];
            if graph.code.is_none() {
                graph.code.clone_from(&error.code);
            }
            graph.exit_status = graph.exit_status.or(error.exit_status);
            let killed = error.code.as_deref() == Some("F137");
            if graph.status == GraphStatus::Failed && killed {
                graph.status = GraphStatus::Killed;
            }
        }
        self.report(error)
    }

    /// What a summary of parallel compilation says of one graph.
    pub(super) fn graph_summed_up(&mut self, path: &[u8], passed: bool, elapsed_s: Option<f64>) {
        if module(path).is_none() {
            return;
        }
        let Some((index, _)) = self.graph_of(path, GraphStatus::Unfinished) else {
            return;
        };
        self.graphs.list[index].elapsed_s = elapsed_s;
        match passed {
            true if self.graphs.list[index].status != GraphStatus::Passed => {
                self.graphs.settle(index, GraphStatus::Passed);
                if let Some(unnamed) = self.graphs.take_unnamed_pass() {
                    self.graphs.merge(unnamed, index);
                }
            }
            false => self.graphs.settle(index, GraphStatus::Failed),
            true => {}
        }
    }

    /// Moves the graphs into the reading; `rest` are dots that no status line ended.
    pub(super) fn finish_graphs(&mut self, rest: u64) {
        if self.ends_in_dots && rest > 0 && self.graphs.open.is_empty() {
            self.new_graph(None, GraphStatus::Unfinished);
            if let Some(last) = self.graphs.list.last_mut() {
                last.progress_dots = rest;
            }
        }
        self.graphs.closed = true;
        let mut graphs = std::mem::take(&mut self.graphs);
        self.graphs.closed = true;
        let open: Vec<usize> = graphs.open.iter().copied().collect();
        let is_pass = |index: &usize| graphs.list[*index].status == GraphStatus::Passed;
        let all_passed = graphs.unnamed.iter().all(is_pass);
        if all_passed && graphs.unnamed.len() >= open.len() {
            for (index, unnamed) in open.into_iter().zip(graphs.unnamed.clone()) {
                graphs.settle(index, GraphStatus::Passed);
                graphs.merge(unnamed, index);
            }
        } else if !graphs.unnamed.is_empty() {
            for index in open {
                graphs.settle(index, GraphStatus::NotTold);
            }
        }
        let extracted = |graph: &Graph| graph.status == GraphStatus::Extracted;
        let only_extracted = graphs.list.iter().all(extracted);
        let kept = graphs.list.into_iter().enumerate();
        let kept = kept.filter(|(index, graph)| {
            !graphs.merged.contains(index) && (only_extracted || !extracted(graph))
        });
        self.reading.graphs = kept.map(|(_, graph)| graph).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_one_key_in_all_its_names() {
        let cases = [
            (
                "/c/neuronxcc-2.26+6f/MODULE_10918481393192567537+f7f529f3/model.neff",
                (
                    "MODULE_10918481393192567537+f7f529f3",
                    "10918481393192567537+f7f529f3",
                ),
            ),
            ("model.MODULE_1+2.hlo_module.pb", ("MODULE_1+2", "1+2")),
            (
                "/tmp/MODULE_SyncTensorsGraph.206_13827541762401764204.hlo.pb ",
                (
                    "MODULE_SyncTensorsGraph.206_13827541762401764204",
                    "13827541762401764204",
                ),
            ),
            (
                "/c/MODULE_13827541762401764204.",
                ("MODULE_13827541762401764204", "13827541762401764204"),
            ),
            ("MODULE_0_a", ("MODULE_0_a", "0_a")),
        ];
        for (text, (name, key)) in cases {
            let found = module(text.as_bytes());
            assert_eq!(found, Some((name.as_bytes(), key.as_bytes())), "{text}");
        }
        assert_eq!(module(b"SM_MODULE_"), None);
    }
}
