//! The rows of the table that each form of report has: one for each subject, and the total.

use crate::report::CoverageReport;
use crate::report::subject::{Share, Subject};
use crate::report::{graphs, text};

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReportRow {
    /// Empty where it is that of the row above.
    pub(super) source: String,
    pub(super) name: String,
    pub(super) share: Option<Share>,
    /// The text in place of the figures where there are none.
    pub(super) place: String,
    pub(super) result: String,
}

impl ReportRow {
    /// `69 of 72` and `95.83 %`.
    pub(super) fn figures(&self) -> (String, String) {
        match self.share {
            None => (self.place.clone(), "-".to_owned()),
            Some(share) => (
                format!("{} of {}", share.part, share.whole),
                format!("{:.2} %", share.percent),
            ),
        }
    }
}

/// Every row, the total last.
pub(super) fn rows(report: &CoverageReport) -> Vec<ReportRow> {
    let mut above = "";
    let mut rows = Vec::new();
    for subject in &report.subjects {
        let source = if subject.source == above {
            ""
        } else {
            subject.source.as_str()
        };
        above = &subject.source;
        rows.push(of_subject(source, subject));
    }
    let total = |share, result: String| ReportRow {
        source: "total".to_owned(),
        name: String::new(),
        share,
        place: "-".to_owned(),
        result,
    };
    if let Some(counts) = report.graphs {
        rows.push(total(report.total, counts.in_words()));
    } else if report.subjects.len() > 1 {
        rows.push(total(report.total.or(report.estimated), String::new()));
    }
    rows
}

fn of_subject(source: &str, subject: &Subject) -> ReportRow {
    let (place, result) = match &subject.graph {
        Some(graph) => (graphs::place(graph), graphs::result(graph)),
        None => ("-", text::outcome(subject.outcome).to_owned()),
    };
    ReportRow {
        source: source.to_owned(),
        name: subject.name.clone(),
        share: subject.share(),
        place: place.to_owned(),
        result,
    }
}
