//! Command lines of both compilers: shell text and Python lists.

use crate::findings::Findings;
use crate::limits::LIST_MAX;
use crate::reading::{LogFunction, TensorSpec};
use crate::text::literal;
use crate::text::scan::{Scan, after, contains};

/// The most words of a command line.
const WORDS_MAX: usize = 512;

/// A call of neuron-cc, as torch-neuron, TensorFlow and neuron-cc itself print it.
pub(super) fn neuron_cc(text: &[u8], findings: &mut Findings) -> LogFunction {
    let mut function = LogFunction::default();
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"'").unwrap_or(text);
    let mut scan = Scan::new(text);
    let (head, tail) = match scan.until("--io-config ") {
        Some(head) => (head, io_config(scan.rest, &mut function, findings)),
        None => (text, &b""[..]),
    };
    let mut arguments = arguments(words(head), &["--framework", "--pipeline", "--output"]);
    let mut tail = tail.trim_ascii();
    while let Some(shorter) = tail.strip_suffix(b"'") {
        tail = shorter;
    }
    arguments.extend(words(tail));
    let joined = arguments.join(&b' ');
    function.compiler_args = Some(findings.text(&joined));
    function
}

/// Notes inputs and outputs of `--io-config VALUE` and gives what follows it.
fn io_config<'a>(text: &'a [u8], function: &mut LogFunction, findings: &mut Findings) -> &'a [u8] {
    let open = text.iter().position(|byte| *byte == b'{').unwrap_or(0);
    let escaped = text[open..].starts_with(b"{\\\"");
    let unescaped: Vec<u8>;
    let (value, length) = if escaped {
        // A value in double quotes ends at the first quote that is not escaped.
        let length = closing_quote(&text[open..]);
        unescaped = text[open..open + length]
            .iter()
            .copied()
            .filter(|byte| *byte != b'\\')
            .collect();
        (literal::parse(&unescaped).map(|(value, _)| value), length)
    } else {
        match literal::parse(&text[open..]) {
            Some((value, rest)) => (Some(value), text.len() - open - rest.len()),
            None => (None, text.len() - open),
        }
    };
    if let Some(value) = value {
        for (name, spec) in value["inputs"].as_object().into_iter().flatten() {
            let shape = spec[0].as_array().into_iter().flatten();
            let input = TensorSpec {
                name: name.clone(),
                shape: shape.filter_map(serde_json::Value::as_i64).collect(),
                dtype: spec[1].as_str().unwrap_or_default().to_owned(),
            };
            if findings.reserve("inputs", function.inputs.len(), name.len()) {
                function.inputs.push(input);
            }
        }
        for name in value["outputs"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if findings.reserve("outputs", function.outputs.len(), name.len()) {
                function.outputs.push(name.to_owned());
            }
        }
    }
    let rest = &text[open + length..];
    match rest {
        [b'\'' | b'"', rest @ ..] if open > 0 => rest,
        _ => rest,
    }
}

fn closing_quote(text: &[u8]) -> usize {
    let pairs = text.windows(2);
    let found = pairs
        .enumerate()
        .find(|(_, pair)| pair[0] != b'\\' && pair[1] == b'"');
    found.map_or(text.len(), |(at, _)| at + 1)
}

/// A call of neuronx-cc; notes its target, and its arguments if it is the first.
pub(super) fn neuronx_cc(text: &[u8], findings: &mut Findings) {
    let words = if text.starts_with(b"[") {
        list(text)
    } else {
        words(text)
    };
    let mut target = None;
    for (index, word) in words.iter().enumerate() {
        if *word == b"--target" {
            target = words.get(index + 1).copied();
        } else if let Some(value) = word.strip_prefix(b"--target=") {
            target = Some(value);
        }
    }
    if let Some(target) = target {
        let target = findings.text(target);
        findings.reading.target = Some(target);
    }
    if findings.reading.compiler_args.is_none() {
        let joined = arguments(words, &["--output"]).join(&b' ');
        let joined = findings.text(&joined);
        findings.reading.compiler_args = Some(joined).filter(|joined| !joined.is_empty());
    }
}

/// The module that a command compiles, such as `MODULE_1+2`.
pub(super) fn module_name(text: &[u8]) -> Option<&[u8]> {
    let rest = after(text, "MODULE_")?;
    let digits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'_';
    let length = rest.iter().position(|byte| !digits(*byte));
    let end = text.len() - rest.len() + length.unwrap_or(rest.len());
    let start = text.len() - rest.len() - "MODULE_".len();
    Some(&text[start..end])
}

/// The options of a whole command line: without its program, `compile`, input and what is named in
/// `dropped`.
fn arguments<'a>(words: Vec<&'a [u8]>, dropped: &[&str]) -> Vec<&'a [u8]> {
    let is_dropped = |word: &[u8]| {
        let name = word.split(|byte| *byte == b'=').next().unwrap_or(word);
        dropped.iter().any(|dropped| dropped.as_bytes() == name)
    };
    let mut kept = Vec::new();
    let mut takes_value = false;
    let mut dropping = false;
    for word in words {
        if word.starts_with(b"-") {
            dropping = is_dropped(word);
            takes_value = !word.contains(&b'=');
            if !dropping {
                kept.push(word);
            }
            continue;
        }
        let file = word.ends_with(b".pb") || word.ends_with(b".neff") || contains(word, "MODULE_");
        // Only the list behind `--pipeline` has more than one value.
        if dropping || !takes_value || word == b"compile" || file {
            takes_value = false;
            continue;
        }
        kept.push(word);
        takes_value = false;
    }
    kept
}

/// Words between blanks; quotes hold a word together.
fn words(text: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut start = None;
    let mut quote = None;
    for (index, byte) in text.iter().enumerate() {
        match (quote, byte) {
            (None, b' ' | b'\t') => {
                found.extend(start.take().map(|start| &text[start..index]));
                if found.len() == WORDS_MAX {
                    return found;
                }
                continue;
            }
            (None, b'\'' | b'"') => quote = Some(*byte),
            (Some(open), close) if open == *close => quote = None,
            _ => {}
        }
        start.get_or_insert(index);
    }
    found.extend(start.map(|start| &text[start..]));
    found
}

/// The strings of a Python list.
fn list(text: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut scan = Scan::new(&text[1..]);
    while found.len() < WORDS_MAX.min(LIST_MAX) {
        scan.blanks();
        let quote = match scan.rest.first() {
            Some(b'\'') => "'",
            Some(b'"') => "\"",
            _ => break,
        };
        scan.rest = &scan.rest[1..];
        let Some(word) = scan.until(quote) else { break };
        found.push(word);
        if scan.lit(",").is_none() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_outputs_and_arguments_of_every_quoting() {
        let tail = "--verbose 35";
        let plain = r#"{"inputs": {"0:0": [[1, 3], "float32"]}, "outputs": ["a:0", "b:0"]}"#;
        let escaped = plain.replace('"', "\\\"");
        for config in [
            plain.to_owned(),
            format!("'{plain}'"),
            format!("\"{escaped}\""),
        ] {
            let text = format!(
                "'/bin/neuron-cc compile /t/graph_def.pb --framework TENSORFLOW --pipeline compile \
                 SaveTemps --output /t/x.neff --io-config {config} {tail}'"
            );
            let mut findings = Findings::default();
            let function = neuron_cc(text.as_bytes(), &mut findings);
            assert_eq!(function.compiler_args.as_deref(), Some(tail), "{text}");
            assert_eq!(function.inputs[0].shape, [1, 3]);
            assert_eq!(function.inputs[0].dtype, "float32");
            assert_eq!(function.outputs, ["a:0", "b:0"]);
        }
    }

    #[test]
    fn python_lists_and_shell_text_say_the_same() {
        for text in [
            "['neuronx-cc', 'compile', '--framework=XLA', '/t/model.MODULE_1+2.pb', '--output', \
             '/t/model.MODULE_1+2.neff', '--target=trn1', '--verbose=35']",
            "neuronx-cc compile --framework=XLA /t/model.MODULE_1+2.pb --output \
             /t/model.MODULE_1+2.neff --target=trn1 --verbose=35",
        ] {
            let mut findings = Findings::default();
            neuronx_cc(text.as_bytes(), &mut findings);
            let arguments = findings.reading.compiler_args.unwrap();
            assert_eq!(arguments, "--framework=XLA --target=trn1 --verbose=35");
            assert_eq!(findings.reading.target.as_deref(), Some("trn1"));
            assert_eq!(module_name(text.as_bytes()), Some(&b"MODULE_1+2"[..]));
        }
    }
}
