//! The analysis that is being read; a log may hold several.

use super::Findings;
use crate::reading::{Analysis, AnalyzedOperator, UnsupportedOperator};

impl Findings {
    /// The analysis that is being read.
    pub(crate) fn analysis(&mut self) -> &mut Analysis {
        let reading = &mut self.reading;
        match reading.more_analyses.last_mut() {
            Some(last) => last,
            None => reading.analysis.get_or_insert_default(),
        }
    }

    /// Begins another analysis, if there was one before.
    pub(crate) fn next_analysis(&mut self) {
        let length = self.reading.more_analyses.len();
        if self.reading.analysis.is_some()
            && self.reserve("analyses", length, size_of::<Analysis>())
        {
            self.reading.more_analyses.push(Analysis::default());
        }
    }

    /// Notes that an analysis is over: the statuses up to here were its own.
    pub(crate) fn analysis_ends(&mut self) {
        self.passes_of_analysis = Some(self.reading.statuses.pass);
    }

    /// Adds a supported operator, with its count where there is one.
    pub(crate) fn add_supported(&mut self, operator: String, count: Option<u64>) {
        let length = self.analysis().supported.len();
        if self.reserve("analyzed operators", length, operator.len()) {
            let supported = AnalyzedOperator { operator, count };
            self.analysis().supported.push(supported);
        }
    }

    /// Adds an unsupported operator, with its call where there is one.
    pub(crate) fn add_unsupported(&mut self, operator: String, call: Option<String>) {
        let length = self.analysis().unsupported.len();
        if self.reserve("analyzed operators", length, operator.len()) {
            self.analysis().unsupported.push(UnsupportedOperator {
                operator,
                failure_at: None,
                call,
            });
        }
    }
}
