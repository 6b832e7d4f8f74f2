//! Scripts that compile several models: the names and durations that they print.

use super::line_format::LineFormat;
use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::LogRecord;
use crate::reading::{LogRun, RunName};
use crate::text::scan::{Scan, after, before, contains};

/// Compilations that a script names in lines of its own, possibly far from the compiler's.
#[derive(Default)]
pub(super) struct Scripts {
    runs: Vec<LogRun>,
}

impl LineFormat for Scripts {
    fn read(&mut self, record: &LogRecord<'_>, _: Needles<'_>, findings: &mut Findings) -> bool {
        let body = record.body;
        let known = match body.first() {
            Some(b'-') => self.compiled(body, findings),
            Some(b'E') => export_complete(body, findings),
            Some(b'P' | b'S') => script_duration(body, findings),
            _ => None,
        };
        known.is_some()
    }

    /// Makes runs of what scripts said, where nothing better is known.
    fn finish(self, findings: &mut Findings) {
        let useful = findings.reading.recognised && findings.reading.runs.is_empty();
        if !useful || self.runs.iter().all(|run| run.elapsed_s.is_none()) {
            return;
        }
        let mut runs = self.runs;
        if runs.len() == findings.reading.statuses.dots.len() {
            for (run, dots) in runs.iter_mut().zip(&findings.reading.statuses.dots) {
                run.progress_dots = *dots;
            }
        }
        findings.reading.runs = runs;
    }
}

impl Scripts {
    /// `--- embed: compiling MODEL -> FOLDER ---` and `--- embed: compiled in 570.9s ---`.
    fn compiled(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("--- ")?;
        let line = scan.rest;
        let label = before(line, ": compil");
        let rest = if label.len() < line.len() {
            &line[label.len() + 2..]
        } else {
            line
        };
        let mut scan = Scan::new(rest);
        if scan.lit("compiling ").is_some() {
            let model = scan.until(" -> ")?;
            let model = findings.text(model);
            if findings.reserve("runs", self.runs.len(), size_of::<LogRun>()) {
                self.runs.push(LogRun {
                    name: Some(RunName::Model(model)),
                    ..LogRun::default()
                });
            }
            return Some(());
        }
        scan.lit("compiled in ")?;
        let seconds = scan.decimal()?;
        scan.lit("s")?;
        let open = self.runs.iter_mut().find(|run| run.elapsed_s.is_none())?;
        open.elapsed_s = Some(seconds);
        Some(())
    }
}

/// `Export complete (86.0s)`.
fn export_complete(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Export complete (")?;
    let seconds = scan.decimal()?;
    scan.lit("s)")?;
    findings.reading.timings.total_s = Some(seconds);
    Some(())
}

/// A script's last word: `wall_s=1497.56` or `… after 1808s`.
fn script_duration(body: &[u8], findings: &mut Findings) -> Option<()> {
    if body.len() > 256 {
        return None;
    }
    let mut scan = Scan::new(after(body, " wall_s=").or_else(|| {
        let rest = after(body, " after ")?;
        let ends = rest.ends_with(b"s") && contains(body, "NEVER");
        ends.then_some(rest)
    })?);
    let seconds = scan.decimal()?;
    findings.reading.timings.total_s.get_or_insert(seconds);
    // Not claimed as a line of a compilation: scripts time other work in the same words.
    None
}
