//! Lines of every kind, cut, joined and changed: reading them never panics. More cases with the
//! environment variable `PROPTEST_CASES`.

use proptest::prelude::*;

use super::read;

/// One line of each kind, short excerpts with the numbers and names of the corpus.
const LINES: &str = include_str!("lines.txt");

fn line() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&str> = LINES.lines().collect();
    prop::sample::select(lines).prop_map(|line| line.as_bytes().to_vec())
}

/// What is done to a line.
#[derive(Debug, Clone)]
enum Change {
    None,
    Cut(prop::sample::Index),
    CutHead(prop::sample::Index),
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let pieces = prop::sample::select(vec![
        "\x1b[34m",
        ".",
        "\r",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "(",
        ")",
        ":",
        ": ",
        "||: ",
        "=",
        "99999999999999999999999",
        "-",
        "%",
        "\u{fffd}",
        "\0",
        "aten::",
        "[NCC_",
        "Neuron:",
    ]);
    prop_oneof![
        4 => Just(Change::None),
        2 => any::<prop::sample::Index>().prop_map(Change::Cut),
        2 => any::<prop::sample::Index>().prop_map(Change::CutHead),
        2 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        2 => (any::<prop::sample::Index>(), pieces)
            .prop_map(|(at, piece)| Change::Insert(at, piece.as_bytes().to_vec())),
        1 => (2..4_usize).prop_map(Change::Repeat),
    ]
}

fn changed(mut line: Vec<u8>, change: Change) -> Vec<u8> {
    if line.is_empty() {
        return line;
    }
    match change {
        Change::None => {}
        Change::Cut(at) => line.truncate(at.index(line.len())),
        Change::CutHead(at) => drop(line.drain(..at.index(line.len()))),
        Change::Replace(at, byte) => {
            let at = at.index(line.len());
            line[at] = byte;
        }
        Change::Insert(at, piece) => {
            let at = at.index(line.len());
            line.splice(at..at, piece);
        }
        Change::Repeat(times) => line = line.repeat(times),
    }
    line
}

proptest! {
    #[test]
    fn changed_lines_are_read(
        parts in prop::collection::vec((line(), change(), prop::bool::weighted(0.9)), 0..60),
    ) {
        let mut source = Vec::new();
        for (line, change, ends) in parts {
            source.extend(changed(line, change));
            if ends {
                source.push(b'\n');
            }
        }
        let reading = read(&source);
        prop_assert_eq!(reading.skipped.bytes, source.len() as u64);
        prop_assert!(reading.recognised || reading.runs.is_empty());
        serde_json::to_string(&reading).unwrap();
    }

    #[test]
    fn arbitrary_bytes_are_read(source in prop::collection::vec(any::<u8>(), 0..2000)) {
        let reading = read(&source);
        prop_assert_eq!(reading.skipped.bytes, source.len() as u64);
    }
}

#[test]
fn every_line_alone_is_read() {
    for line in LINES.lines() {
        read(line.as_bytes());
    }
}
