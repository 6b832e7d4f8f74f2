//! Reports: the coverage of any number of sources, in one value that is rendered as text, Markdown,
//! HTML or JSON.
//!
//! [`source`] opens what the user names, [`subject`] brings bundles and logs into one form,
//! [`verdict`] judges it. The renderers only read [`CoverageReport`]; `docs/report.schema.json` describes it
//! as JSON.

pub mod advice;
pub mod cost;
mod cost_words;
pub mod diff;
pub mod graphs;
pub mod html;
pub mod markdown;
mod rows;
pub mod source;
pub mod subject;
pub mod text;
pub mod verdict;
mod width;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use crate::report::advice::Advice;
use crate::report::graphs::GraphCounts;
use crate::report::source::ReportSource;
use crate::report::subject::{Share, Subject};
use crate::report::verdict::CoverageVerdict;

/// The version of a report as JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// The coverage of all sources.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CoverageReport {
    pub schema_version: u32,
    pub verdict: CoverageVerdict,
    /// Arithmetic operators on the chip, over all subjects that say so.
    pub total: Option<Share>,
    /// The same as an estimate says it, before compiling.
    pub estimated: Option<Share>,
    /// FLOPs on the chip, as an estimate says it.
    pub estimated_flops: Option<Share>,
    /// Graphs of compilers that print no figures of operators, by how they ended.
    pub graphs: Option<GraphCounts>,
    /// One for each model, bucket or graph, in the order of the sources.
    pub subjects: Vec<Subject>,
    pub sources: Vec<ReportSource>,
    /// Things to do, the most urgent first.
    pub advice: Vec<Advice>,
}

impl CoverageReport {
    /// Puts what was read from each source into one report.
    pub fn new(read: Vec<(ReportSource, Vec<Subject>)>) -> Self {
        let (sources, subjects): (Vec<ReportSource>, Vec<Vec<Subject>>) = read.into_iter().unzip();
        let subjects: Vec<Subject> = subjects.into_iter().flatten().collect();
        let sum = |share_of: fn(&Subject) -> Option<Share>| {
            subjects.iter().filter_map(share_of).reduce(Share::plus)
        };
        let total = sum(|subject| subject.compiled);
        let (estimated, estimated_flops) = (
            sum(|subject| subject.estimated),
            sum(|subject| subject.estimated_flops),
        );
        Self {
            schema_version: SCHEMA_VERSION,
            verdict: match (total, estimated) {
                (None, Some(estimated)) => {
                    verdict::estimate(&sources, &subjects, estimated, estimated_flops)
                }
                _ => verdict::judge(&sources, &subjects, total),
            },
            total,
            estimated,
            estimated_flops,
            graphs: GraphCounts::of(&subjects),
            advice: advice::collect(&sources, &subjects),
            subjects,
            sources,
        }
    }

    /// The share of arithmetic operators on the chip in percent, as a gate takes it: where no figures
    /// exist by nature, a model that was compiled as a whole has 100 and a failed one 0. `None` when
    /// the sources do not tell.
    pub fn coverage_percent(&self) -> Option<f64> {
        match self.total.or(self.estimated) {
            Some(total) => Some(total.percent),
            None => self.verdict.all_or_nothing_percent(),
        }
    }

    /// Operators that are left to the host, over all subjects; `None` when the sources do not tell.
    pub fn host_operators(&self) -> Option<u64> {
        let counted = self.subjects.iter().map(Subject::host_operators);
        let known: Option<u64> = counted.sum();
        known.or_else(|| (self.coverage_percent() == Some(100.0)).then_some(0))
    }
}

/// The JSON Schema of [`CoverageReport`].
pub fn schema() -> Result<String> {
    let schema = schemars::schema_for!(CoverageReport);
    Ok(serde_json::to_string_pretty(&schema)?)
}
