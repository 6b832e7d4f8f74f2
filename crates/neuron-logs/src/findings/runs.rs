//! The run that lines belong to, and the operators, functions and dots in it.

use super::Findings;
use crate::limits::LIST_MAX;
use crate::reading::{LogFunction, LogRun};

impl Findings {
    /// The run that lines belong to now; a new one when there is none.
    pub(crate) fn run(&mut self) -> &mut LogRun {
        match self.current {
            None => self.new_run(),
            Some(index) if index < self.reading.runs.len() => &mut self.reading.runs[index],
            Some(_) => &mut self.spill,
        }
    }

    /// The run that lines belong to now.
    pub(crate) fn open_run(&mut self) -> Option<&mut LogRun> {
        let index = self.current?;
        Some(match self.reading.runs.get_mut(index) {
            Some(run) => run,
            None => &mut self.spill,
        })
    }

    pub(crate) fn new_run(&mut self) -> &mut LogRun {
        self.assign_dots();
        self.listed.clear();
        let run = LogRun {
            progress_dots: std::mem::take(&mut self.held_dots),
            ..LogRun::default()
        };
        let index = self.reading.runs.len();
        if self.reserve("runs", index, size_of::<LogRun>()) {
            self.current = Some(index);
            self.reading.runs.push(run);
            return &mut self.reading.runs[index];
        }
        // Its lines must not be added to the run before: they go where nobody looks.
        self.current = Some(usize::MAX);
        self.spill = run;
        &mut self.spill
    }

    /// Lines after this one do not belong to the current run.
    pub(crate) fn close_run(&mut self) {
        self.assign_dots();
        self.current = None;
    }

    /// The index of the current run, as contradictions name it.
    pub(crate) fn run_index(&self) -> Option<usize> {
        self.current
            .filter(|index| *index < self.reading.runs.len())
    }

    /// Notes that `operator` is in a list of the current run; false if it was before.
    pub(crate) fn note_listed(&mut self, list: &'static str, operator: &[u8]) -> bool {
        let key = (list, operator.to_vec());
        if self.listed.len() < 3 * LIST_MAX {
            self.listed.insert(key)
        } else {
            !self.listed.contains(&key)
        }
    }

    /// Adds a function to the current run, or to a new one when that is already compiled.
    pub(crate) fn add_function(&mut self, function: LogFunction) {
        if self.open_run().is_some_and(|run| run.compiled.is_some()) {
            self.new_run();
        }
        let length = self.run().functions.len();
        let bytes = function.name.as_ref().map_or(0, String::len);
        if self.reserve("functions", length, bytes) {
            self.run().functions.push(function);
        }
    }

    /// Gives the dots so far to the run that is being compiled, or keeps them for the next one: a
    /// script may name a run only after its compiler has printed.
    pub(crate) fn assign_dots(&mut self) {
        let dots = std::mem::take(&mut self.pending_dots);
        match self.open_run().filter(|run| run.compiled.is_none()) {
            Some(run) => run.progress_dots = run.progress_dots.saturating_add(dots),
            None => self.held_dots = self.held_dots.saturating_add(dots),
        }
    }
}
