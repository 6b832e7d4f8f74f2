//! Sources that hold no log, or hold it in a bad state: a clear result, and nothing invented.

use std::io::{self, Read};

use neuron_logs::limits::{LINE_BYTES_MAX, LIST_MAX, TEXT_MAX};
use neuron_logs::reading::{CompilationOutcome, LogReading};

use super::read;

/// A reading that says nothing but how much was read.
fn assert_nothing(reading: &LogReading) {
    let nothing = LogReading {
        skipped: reading.skipped.clone(),
        warnings: reading.warnings,
        complete: reading.complete,
        ..LogReading::default()
    };
    assert_eq!(*reading, nothing);
}

#[test]
fn a_source_without_a_known_line_is_not_recognised() {
    let binary: Vec<u8> = (0..100_000_u32)
        .map(|it| ((it * 7919) >> 5) as u8)
        .collect();
    let cases: [&[u8]; 7] = [
        b"",
        b"\n\r\n",
        b"....\n....\n",
        b"\x7fELF\x02\x01\x01\0\0\0",
        b"{\"loss\": 0.5}\n{\n  \"a\": [1, 2]\n}\n",
        b"100%|-------| 97.8M/97.8M [00:00<00:00, 165MB/s]\n",
        &binary,
    ];
    for source in cases {
        let reading = read(source);
        assert_nothing(&reading);
        assert_eq!(reading.skipped.bytes, source.len() as u64);
    }
}

#[test]
fn line_ends_and_encodings_change_nothing() {
    let lines = "INFO:Neuron:Number of arithmetic operators (post-compilation) before = 10, compiled = 9, percent compiled = 90.0%\n\
                 INFO:Neuron:Compiled these operators (and operator counts) to Neuron:\n\
                 INFO:Neuron: => aten::linear: 9\n\
                 INFO:Neuron:Not compiled operators (and operator counts) to Neuron:\n\
                 INFO:Neuron: => aten::embedding: 1 [not supported]\n";
    let plain = read(lines.as_bytes());
    assert_eq!(plain.outcome, CompilationOutcome::Pass);
    let windows = read(lines.replace('\n', "\r\n").as_bytes());
    assert_eq!(windows.runs, plain.runs);
    let marked = read(format!("\u{feff}{lines}").as_bytes());
    assert_eq!(marked.runs, plain.runs);
    let utf16: Vec<u8> = lines.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(!read(&utf16).recognised);
    let mut invalid = b"\xff\xfe \x80 ERROR\n".to_vec();
    invalid.extend_from_slice(lines.as_bytes());
    invalid.extend_from_slice(b"ERROR:Neuron:bad \xc3\x28 text\n");
    let invalid = read(&invalid);
    assert_eq!(invalid.runs, plain.runs);
    assert_eq!(invalid.errors[0].line, "ERROR:Neuron:bad \u{fffd}( text");
    assert_eq!(invalid.skipped.lossy_texts, 1);
}

#[test]
fn half_a_report_is_truncated_and_not_a_report() {
    let whole = r#"{
    "torch_neuronx_version": "1.13.0.1.6.1",
    "neuronx_cc_version": "2.5.0.28+1be23f232",
    "support_percentage": "60.00%",
    "supported_operators": {"aten": {"aten::add": 2, "aten::mul": 1}},
    "unsupported_operators": {"aten": [{"kind": "aten::mul", "failureAt": "neuronx-cc", "call": "a.py 24"}]}
}"#;
    let reading = read(whole.as_bytes());
    assert_eq!(reading.outcome, CompilationOutcome::AnalyzeOnly);
    assert_eq!(reading.analysis.unwrap().percent, Some(60.0));
    let flat = whole.replace('\n', " ");
    for text in [whole, flat.as_str()] {
        for end in (60..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let reading = read(&text.as_bytes()[..end]);
            assert_nothing(&reading);
            assert_eq!(reading.skipped.truncated_documents, 1, "{end}");
            assert!(!reading.complete);
        }
    }
}

/// A source of one line without end, made while it is read.
struct OneLine {
    left: usize,
    largest_request: usize,
}

impl Read for &mut OneLine {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.left);
        buffer[..length].fill(b'x');
        self.left -= length;
        self.largest_request = self.largest_request.max(buffer.len());
        Ok(length)
    }
}

#[test]
fn a_line_of_200_megabytes_is_not_held() {
    let mut source = OneLine {
        left: 200 << 20,
        largest_request: 0,
    };
    let reading = neuron_logs::read(&mut source).unwrap();
    assert_nothing(&reading);
    assert_eq!(reading.skipped.long_lines, 1);
    assert_eq!(
        reading.skipped.long_line_bytes,
        ((200 << 20) - LINE_BYTES_MAX) as u64
    );
    // The buffer is never more than twice the bound, so neither is what is asked for.
    assert!(source.largest_request <= 2 * LINE_BYTES_MAX);
}

#[test]
fn a_record_behind_a_long_line_is_read() {
    let mut source = vec![b'x'; 2 * LINE_BYTES_MAX];
    source.extend_from_slice(b"\nCompiler status PASS\n");
    let reading = read(&source);
    assert_eq!(reading.statuses.pass, 1);
    assert_eq!(reading.skipped.long_lines, 1);
}

#[test]
fn lists_and_texts_stop_at_their_bounds_and_say_so() {
    use std::fmt::Write as _;
    let mut source = String::new();
    for index in 0..LIST_MAX + 10 {
        let name: String = index
            .to_string()
            .bytes()
            .map(|it| (it + 49) as char)
            .collect();
        writeln!(
            source,
            "ERROR 1 [neuronx-cc]: Error message:  {name} {}",
            "y".repeat(8)
        )
        .unwrap();
        writeln!(source, "INFO:Neuron: => aten::op{index}: 1").unwrap();
    }
    writeln!(
        source,
        "INFO:Neuron:Compiling function {} with neuron-cc",
        "z".repeat(9000)
    )
    .unwrap();
    let reading = read(source.as_bytes());
    assert_eq!(reading.errors.len(), LIST_MAX);
    let beyond = &reading.skipped.beyond_bounds;
    assert_eq!(beyond["errors"], 10);
    assert_eq!(beyond["compiled operators"], 10);
    let name = reading.runs[0].functions[0].name.as_ref().unwrap();
    assert_eq!(name.len(), TEXT_MAX);
}

#[test]
fn a_sum_that_does_not_fit_is_reported() {
    let reading = read(
        b"INFO:Neuron:Number of arithmetic operators (post-compilation) before = 10, compiled = 9, percent compiled = 80.0%\n\
          INFO:Neuron:Compiled these operators (and operator counts) to Neuron:\n\
          INFO:Neuron: => aten::linear: 7\n\
          Compiler status PASS\n",
    );
    let what: Vec<&str> = reading
        .contradictions
        .iter()
        .map(|it| it.what.as_str())
        .collect();
    assert_eq!(what, ["share of compiled operators", "compiled operators"]);
    assert_eq!(reading.runs[0].compiled.unwrap().compiled, 9);
}
