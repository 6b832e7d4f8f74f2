//! The output of `analyze` commands: lists of supported operators, JSON reports, Python values.

use std::collections::HashSet;

use super::analysis_report::{has_report_key, is_analysis, read_report};
use super::line_format::LineFormat;
use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::{LogRecord, PrefixLayout};
use crate::limits::{DOCUMENT_BYTES_MAX, LIST_MAX};
use crate::reading::{Producer, SupportedShare};
use crate::text::literal;
use crate::text::scan::{Scan, is_operator};

/// A list of operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnalysisSection {
    Supported,
    Unsupported,
}

/// The list that is being read, and the document that is being collected.
#[derive(Default)]
pub(super) struct AnalysisResults {
    section: Option<AnalysisSection>,
    /// The entries so far: whether they are supported, and their text.
    listed: HashSet<(bool, Vec<u8>)>,
    document: Option<AnalysisDocument>,
    /// True when the totals of the analysis were read: a new list is that of another analysis.
    has_totals: bool,
    /// True when the document of the analysis was read: another one is that of another analysis.
    has_document: bool,
}

/// A document that has begun, in JSON or as Python prints its values.
#[derive(Default)]
struct AnalysisDocument {
    text: Vec<u8>,
    /// The number of brackets that are open.
    depth: usize,
    lines: usize,
}

impl LineFormat for AnalysisResults {
    fn read(&mut self, record: &LogRecord<'_>, _: Needles<'_>, findings: &mut Findings) -> bool {
        self.read_line(record, findings)
    }

    /// Lines of a document are claimed: an error that it quotes is not one of this log.
    fn claim(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> bool {
        let is_inside = self.is_inside(record);
        if is_inside {
            self.read_line(record, findings);
        }
        is_inside
    }

    fn is_listing(&self) -> bool {
        self.section.is_some()
    }

    /// A document that is still open at the end of the log is truncated.
    fn finish(self, findings: &mut Findings) {
        let is_cut = self
            .document
            .is_some_and(|document| has_report_key(&document.text));
        findings.reading.skipped.truncated_documents += u64::from(is_cut);
        findings.end.in_analysis = is_cut || self.section.is_some();
    }
}

impl AnalysisResults {
    fn read_line(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> bool {
        self.collect(record, findings);
        let known = match record.body.first() {
            Some(b'T') => self.header(record.body, findings),
            Some(b'0'..=b'9') => self.totals(record.body, findings),
            Some(b'M') => {
                let done = record.body.starts_with(b"Model analysis completed");
                done.then(|| findings.analysis_ends())
            }
            Some(_) if self.section.is_some() => self.operator(record.body, findings),
            _ => None,
        };
        known.is_some()
    }

    /// `The following operations are currently not supported in torch-neuron for this model:`.
    fn header(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("The following operations are currently ")?;
        let section = match scan.lit("not ") {
            Some(()) => AnalysisSection::Unsupported,
            None => AnalysisSection::Supported,
        };
        scan.lit("supported")?;
        findings.recognise(match scan.lit(" in torch-neuron") {
            Some(()) => Producer::TorchNeuron,
            None => Producer::TorchNeuronx,
        });
        if self.has_totals {
            self.begin_next(findings);
        }
        self.section = Some(section);
        findings.analysis();
        Some(())
    }

    /// Makes the lines that follow those of another analysis.
    fn begin_next(&mut self, findings: &mut Findings) {
        self.listed.clear();
        self.has_totals = false;
        self.has_document = false;
        findings.next_analysis();
    }

    /// `aten::sort`, or with the place of the call behind it.
    fn operator(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
        let mut parts = body.splitn(2, |byte| *byte == b',');
        let name = parts.next()?;
        if !is_operator(name) {
            return None;
        }
        let is_supported = self.section == Some(AnalysisSection::Supported);
        // A second log handler repeats every entry.
        if self.listed.len() < 2 * LIST_MAX && !self.listed.insert((is_supported, body.to_vec())) {
            findings.reading.skipped.duplicates += 1;
            return Some(());
        }
        let operator = findings.text(name);
        let call = parts.next().map(|call| findings.text(call.trim_ascii()));
        if is_supported {
            findings.add_supported(operator, None);
        } else {
            findings.add_unsupported(operator, call);
        }
        Some(())
    }

    /// `98.52% of all operations (including primitives) (599 of 608) are supported`.
    fn totals(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(body);
        let percent = scan.decimal()?;
        scan.lit("% of ")?;
        let all = scan.lit("all operations (").is_some();
        if all {
            let _ = scan.lit("including primitives) (");
        } else {
            scan.lit("arithmetic operations (")?;
        }
        let supported = scan.count()?;
        scan.lit(" of ")?;
        let total = scan.count()?;
        scan.lit(") are supported")?;
        self.section = None;
        self.has_totals = true;
        let figures = SupportedShare {
            supported,
            total,
            percent,
        };
        findings.reading.recognised = true;
        let analysis = findings.analysis();
        if all {
            analysis.all.get_or_insert(figures);
        } else {
            analysis.arithmetic.get_or_insert(figures);
        }
        findings.analysis_ends();
        Some(())
    }

    /// Whether a line is certainly part of the document. Others may be too, but may as well be those
    /// of another program.
    fn is_inside(&self, record: &LogRecord<'_>) -> bool {
        let first = record.body.trim_ascii_start().first();
        self.document.is_some()
            && record.layout == PrefixLayout::Bare
            && matches!(first, Some(b'"' | b'\'' | b'{' | b'}' | b'[' | b']'))
    }

    /// Collects a document line by line, and reads it when it is whole.
    fn collect(&mut self, record: &LogRecord<'_>, findings: &mut Findings) {
        let body = record.body;
        let Some(document) = &mut self.document else {
            if is_start(body) {
                let mut document = AnalysisDocument::default();
                document.push(body);
                self.document = Some(document);
                self.settle(findings);
            }
            return;
        };
        if record.layout != PrefixLayout::Bare || body.is_empty() {
            return;
        }
        // A brace alone is how many programs begin a value; only keys make it a document.
        let is_stray = document.lines == 1
            && document.text == b"{\n"
            && !matches!(body.trim_ascii_start().first(), Some(b'"' | b'\'' | b'}'));
        if is_stray {
            self.document = None;
            return;
        }
        document.push(body);
        self.settle(findings);
    }

    /// Reads the document when it is whole, and gives it up when it is too large.
    fn settle(&mut self, findings: &mut Findings) {
        let Some(document) = &self.document else {
            return;
        };
        if document.text.len() > DOCUMENT_BYTES_MAX {
            findings.reading.skipped.oversized_documents +=
                u64::from(has_report_key(&document.text));
            self.document = None;
        } else if document.depth == 0 {
            match literal::parse(&document.text) {
                Some((value, _)) => {
                    if is_analysis(&value) {
                        if self.has_document {
                            self.begin_next(findings);
                        }
                        self.has_document = true;
                    }
                    read_report(&value, findings);
                }
                None => {
                    let report = has_report_key(&document.text);
                    findings.reading.skipped.truncated_documents += u64::from(report);
                }
            }
            self.document = None;
        }
    }
}

impl AnalysisDocument {
    /// Adds a line. Brackets in strings do not count, and no string goes on in the next line.
    fn push(&mut self, line: &[u8]) {
        let mut quote = None;
        let mut escaped = false;
        for byte in line {
            match (quote, byte) {
                (Some(_), b'\\') if !escaped => {
                    escaped = true;
                    continue;
                }
                (Some(open), close) if open == close && !escaped => quote = None,
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b'{' | b'[' | b'(') => self.depth += 1,
                (None, b'}' | b']' | b')') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            escaped = false;
        }
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        self.lines += 1;
    }
}

fn is_start(body: &[u8]) -> bool {
    match body.first() {
        Some(b'{') => body == b"{" || has_report_key(&body[..body.len().min(4096)]),
        Some(b'O') => body.starts_with(b"OrderedDict([('percent_supported"),
        _ => false,
    }
}
