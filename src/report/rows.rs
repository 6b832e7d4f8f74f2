//! The rows of a report: one for each model, bucket or graph, and the total. What each form of report
//! puts into its table.

use crate::report::Report;
use crate::report::subject::{Share, Subject};
use crate::report::{graphs, text};

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Empty where it is that of the row above.
    pub(super) source: String,
    pub(super) name: String,
    pub(super) share: Option<Share>,
    /// What stands for the figures where there are none.
    pub(super) place: String,
    pub(super) result: String,
}

impl Row {
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
pub(super) fn rows(report: &Report) -> Vec<Row> {
    let mut above = "";
    let mut rows = Vec::new();
    for subject in &report.subjects {
        let source = match subject.source == above {
            true => "",
            false => subject.source.as_str(),
        };
        above = &subject.source;
        rows.push(of_subject(source, subject));
    }
    let total = |share, result: String| Row {
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

fn of_subject(source: &str, subject: &Subject) -> Row {
    let (place, result) = match &subject.graph {
        Some(graph) => (graphs::place(graph), graphs::result(graph)),
        None => ("-", text::outcome(subject.outcome).to_owned()),
    };
    Row {
        source: source.to_owned(),
        name: subject.name.clone(),
        share: subject.share(),
        place: place.to_owned(),
        result,
    }
}
