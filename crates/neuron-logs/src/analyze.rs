//! What `analyze` prints and returns: lists of supported operators, JSON reports, Python values.

use std::collections::HashSet;

use serde_json::Value;

use super::book::Book;
use super::literal;
use super::reading::{
    Analysis, AnalyzedOperator, LIST_MAX, Producer, Supported, TEXT_MAX, UnsupportedOperator,
};
use super::records::{Layout, Record};
use super::scan::{Scan, contains, is_operator};

/// The most bytes of one JSON report or Python value.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// Keys that make a document a report.
const KEYS: [&str; 4] = [
    "support_percentage",
    "percent_supported",
    "torch_neuronx_version",
    "compilation_report",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Supported,
    Unsupported,
}

/// The list that is being read, and the document that is being collected.
#[derive(Default)]
pub(super) struct Analyze {
    section: Option<Section>,
    listed: HashSet<(bool, Vec<u8>)>,
    document: Option<Document>,
    /// The text of the analysis has its totals, or its document was read.
    has_totals: bool,
    has_document: bool,
}

/// A document that has begun.
#[derive(Default)]
struct Document {
    text: Vec<u8>,
    depth: usize,
    lines: usize,
}

impl Analyze {
    /// Reads a line; false if it is none of an analysis.
    pub(super) fn line(&mut self, record: &Record<'_>, book: &mut Book) -> bool {
        self.document(record, book);
        let known = match record.body.first() {
            Some(b'T') => self.header(record.body, book),
            Some(b'0'..=b'9') => self.totals(record.body, book),
            Some(b'M') => {
                let done = record.body.starts_with(b"Model analysis completed");
                done.then(|| book.analyzed())
            }
            Some(_) if self.section.is_some() => self.operator(record.body, book),
            _ => None,
        };
        known.is_some()
    }

    /// `The following operations are currently not supported in torch-neuron for this model:`.
    fn header(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("The following operations are currently ")?;
        let section = match scan.lit("not ") {
            Some(()) => Section::Unsupported,
            None => Section::Supported,
        };
        scan.lit("supported")?;
        book.saw(match scan.lit(" in torch-neuron") {
            Some(()) => Producer::TorchNeuron,
            None => Producer::TorchNeuronx,
        });
        if self.has_totals {
            self.next(book);
        }
        self.section = Some(section);
        book.analysis();
        Some(())
    }

    /// What follows is another analysis.
    fn next(&mut self, book: &mut Book) {
        self.listed.clear();
        self.has_totals = false;
        self.has_document = false;
        book.next_analysis();
    }

    /// `aten::sort`, or with the place of the call behind it.
    fn operator(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
        let mut parts = body.splitn(2, |byte| *byte == b',');
        let name = parts.next()?;
        if !is_operator(name) {
            return None;
        }
        let supported = self.section == Some(Section::Supported);
        if self.listed.len() < 2 * LIST_MAX && !self.listed.insert((supported, body.to_vec())) {
            book.reading.skipped.duplicates += 1;
            return Some(());
        }
        let operator = book.text(name);
        let call = parts.next().map(|call| book.text(call.trim_ascii()));
        add(operator, supported.then_some(None), call, book);
        Some(())
    }

    /// `98.52% of all operations (including primitives) (599 of 608) are supported`.
    fn totals(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
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
        let figures = Supported {
            supported,
            total,
            percent,
        };
        book.reading.recognised = true;
        let analysis = book.analysis();
        if all {
            analysis.all.get_or_insert(figures);
        } else {
            analysis.arithmetic.get_or_insert(figures);
        }
        book.analyzed();
        Some(())
    }

    /// Whether operators are being listed.
    pub(super) fn is_listing(&self) -> bool {
        self.section.is_some()
    }

    /// Whether a line is part of a document: what it quotes says nothing about this log.
    pub(super) fn is_inside(&self, record: &Record<'_>) -> bool {
        let first = record.body.trim_ascii_start().first();
        self.document.is_some()
            && record.layout == Layout::Bare
            && matches!(first, Some(b'"' | b'\'' | b'{' | b'}' | b'[' | b']'))
    }

    /// Collects a document line by line, and reads it when it is whole.
    fn document(&mut self, record: &Record<'_>, book: &mut Book) {
        let body = record.body;
        let Some(document) = &mut self.document else {
            if is_start(body) {
                let mut document = Document::default();
                document.push(body);
                self.document = Some(document);
                self.settle(book);
            }
            return;
        };
        if record.layout != Layout::Bare || body.is_empty() {
            return;
        }
        let is_stray = document.lines == 1
            && document.text == b"{\n"
            && !matches!(body.trim_ascii_start().first(), Some(b'"' | b'\'' | b'}'));
        if is_stray {
            self.document = None;
            return;
        }
        document.push(body);
        self.settle(book);
    }

    /// Reads the document if it is whole, gives it up if it is too large.
    fn settle(&mut self, book: &mut Book) {
        let Some(document) = &self.document else {
            return;
        };
        if document.text.len() > DOCUMENT_BYTES_MAX {
            book.reading.skipped.oversized_documents += u64::from(is_report(&document.text));
            self.document = None;
        } else if document.depth == 0 {
            match literal::parse(&document.text) {
                Some((value, _)) => {
                    if is_analysis(&value) {
                        if self.has_document {
                            self.next(book);
                        }
                        self.has_document = true;
                    }
                    absorb(&value, book);
                }
                None => {
                    let report = is_report(&document.text);
                    book.reading.skipped.truncated_documents += u64::from(report);
                }
            }
            self.document = None;
        }
    }

    /// A document that is still open at the end of the log is truncated; whether the log ends
    /// inside a list.
    pub(super) fn finish(&mut self, book: &mut Book) -> bool {
        if let Some(document) = self.document.take() {
            let report = is_report(&document.text);
            book.reading.skipped.truncated_documents += u64::from(report);
            return report || self.section.is_some();
        }
        self.section.is_some()
    }
}

impl Document {
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
        Some(b'{') => body == b"{" || is_report(&body[..body.len().min(4096)]),
        Some(b'O') => body.starts_with(b"OrderedDict([('percent_supported"),
        _ => false,
    }
}

fn is_report(text: &[u8]) -> bool {
    KEYS.iter().any(|key| contains(text, key))
}

fn is_analysis(value: &Value) -> bool {
    value.get("percent_supported").is_some() || value.get("support_percentage").is_some()
}

/// Takes over what a report says.
fn absorb(value: &Value, book: &mut Book) {
    if value.get("percent_supported").is_some() {
        absorb_inf1(value, book);
    } else if value.get("support_percentage").is_some() {
        absorb_neuronx(value, book);
    } else if value.get("compilation_report").is_some() {
        book.saw(Producer::NeuronParallelCompile);
        book.reading.timings.total_s = value["compilation_time"].as_f64();
        for (path, graph) in value["compilation_report"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let passed = graph["status"].as_bool().unwrap_or_default();
            book.graph_summed_up(path.as_bytes(), passed, graph["compile_time"].as_f64());
        }
    }
}

/// The result of `torch.neuron.analyze_model` and `tfn.analyze_model`.
fn absorb_inf1(value: &Value, book: &mut Book) {
    let arithmetic = figures(value, "_arithmetic");
    book.saw(match arithmetic {
        Some(_) => Producer::TorchNeuron,
        None => Producer::TensorflowNeuron,
    });
    let analysis = book.analysis();
    analysis.all = analysis.all.or(figures(value, ""));
    analysis.arithmetic = analysis.arithmetic.or(arithmetic);
    let (no_supported, no_unsupported) = (
        analysis.supported.is_empty(),
        analysis.unsupported.is_empty(),
    );
    for name in strings(&value["supported_operators"]).filter(|_| no_supported) {
        add(name.to_owned(), Some(None), None, book);
    }
    for name in strings(&value["unsupported_operators"]).filter(|_| no_unsupported) {
        add(name.to_owned(), None, None, book);
    }
    for (name, count) in value["operator_count"].as_object().into_iter().flatten() {
        let length = book.analysis().operator_count.len();
        if let Some(count) = count.as_u64()
            && book.room("operator counts", length, name.len())
        {
            book.analysis().operator_count.insert(name.clone(), count);
        }
    }
    book.analyzed();
}

fn figures(value: &Value, suffix: &str) -> Option<Supported> {
    Some(Supported {
        supported: value[format!("supported_count{suffix}").as_str()].as_u64()?,
        total: value[format!("total_count{suffix}").as_str()].as_u64()?,
        percent: value[format!("percent_supported{suffix}").as_str()].as_f64()?,
    })
}

/// The report of `torch_neuronx.analyze`, and of `neuron_parallel_compile` with its extra level.
fn absorb_neuronx(value: &Value, book: &mut Book) {
    let supported = &value["supported_operators"];
    let unsupported = &value["unsupported_operators"];
    let nested = unsupported.is_object();
    book.saw(match nested {
        true => Producer::NeuronParallelCompile,
        false => Producer::TorchNeuronx,
    });
    let percent = value["support_percentage"].as_str().unwrap_or_default();
    let percent = Scan::new(percent.as_bytes()).decimal();
    book.analysis().percent = percent;
    let supported = supported.get("aten").unwrap_or(supported);
    for (name, count) in supported.as_object().into_iter().flatten() {
        add(name.clone(), Some(count.as_u64()), None, book);
    }
    let unsupported = unsupported.get("aten").unwrap_or(unsupported);
    for entry in unsupported.as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().map(first_line);
        let length = book.analysis().unsupported.len();
        let operator = UnsupportedOperator {
            operator: text("kind").unwrap_or_default(),
            failure_at: text("failureAt"),
            call: text("call"),
        };
        let bytes = operator.operator.len() + operator.call.as_ref().map_or(0, String::len);
        if book.room("unsupported operators", length, bytes) {
            book.analysis().unsupported.push(operator);
        }
    }
    let lists = ["supported_operators", "unsupported_operators"].map(|key| hlo(&value[key]["xla"]));
    for (list, found) in lists.into_iter().enumerate() {
        for instruction in found {
            let analysis = book.analysis();
            let known = [&analysis.supported_hlo, &analysis.unsupported_hlo][list].len();
            if book.room("HLO instructions", known, instruction.len()) {
                let analysis = book.analysis();
                match list {
                    0 => analysis.supported_hlo.push(instruction),
                    _ => analysis.unsupported_hlo.push(instruction),
                }
            }
        }
    }
    let version = |key: &str| value[key].as_str().map(first_line);
    let versions = &mut book.reading.versions;
    versions.torch_neuronx = version("torch_neuronx_version").or(versions.torch_neuronx.take());
    versions.compiler = version("neuronx_cc_version").or(versions.compiler.take());
    book.analyzed();
}

/// The instructions of a list: as text, as keys of counts, or as objects that hold the text.
fn hlo(list: &Value) -> Vec<String> {
    let of_entry = |entry: &Value| {
        let keys = ["hlo", "kind", "call"].iter();
        let mut held = keys.filter_map(|key| entry[*key].as_str());
        entry.as_str().or_else(|| held.next()).map(first_line)
    };
    match list {
        Value::Array(entries) => entries.iter().filter_map(of_entry).collect(),
        Value::Object(entries) => entries.keys().map(|key| first_line(key)).collect(),
        _ => Vec::new(),
    }
}

/// The first line of `text`, cut at its bound.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(TEXT_MAX).collect()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Adds an operator: supported, with its count where there is one, or unsupported.
fn add(operator: String, supported: Option<Option<u64>>, call: Option<String>, book: &mut Book) {
    let analysis = book.analysis();
    let length = match supported {
        Some(_) => analysis.supported.len(),
        None => analysis.unsupported.len(),
    };
    if !book.room("analyzed operators", length, operator.len()) {
        return;
    }
    let analysis = book.analysis();
    match supported {
        Some(count) => analysis
            .supported
            .push(AnalyzedOperator { operator, count }),
        None => analysis.unsupported.push(UnsupportedOperator {
            operator,
            failure_at: None,
            call,
        }),
    }
}

impl Book {
    /// The analysis that is being read.
    fn analysis(&mut self) -> &mut Analysis {
        let reading = &mut self.reading;
        match reading.more_analyses.last_mut() {
            Some(last) => last,
            None => reading.analysis.get_or_insert_default(),
        }
    }

    fn next_analysis(&mut self) {
        let length = self.reading.more_analyses.len();
        if self.reading.analysis.is_some() && self.room("analyses", length, size_of::<Analysis>()) {
            self.reading.more_analyses.push(Analysis::default());
        }
    }

    /// Statuses up to here were those of an analysis.
    fn analyzed(&mut self) {
        self.passes_of_analysis = Some(self.reading.statuses.pass);
    }
}
