//! From a text that somebody typed or pasted to the explanations that it may mean.

use std::sync::LazyLock;

use regex::Regex;

use super::explanation::{Explanation, Group};
use super::table::Table;

/// The most bytes of a line that are looked at; what matters stands nearer to its beginning.
const LINE_BYTES_MAX: usize = 16 << 10;

/// A word that may be a code, with the bracket before it.
static WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"(\[?)\b([A-Z][A-Z0-9_]{3,})\b"));

/// A status of the runtime, by number: `NRT 1005`, or `err: 10` behind the name of one of its parts.
static RUNTIME_STATUS: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix) \b nrt (?:_status)? [\s:=_\#(-]* (?:status|error|code)? [\s:=]* ([0-9]{1,4}) \b
        | (?: NRT: | NMGR: | TDRV: | \bnrt_\w+ | (?:load|execute)\ the\ model | failed\ to\ load\ NN
            | inference\ completed\ with )
          .*? \b (?:err|error|status|code|ret) \s* [:=]? \s* ([0-9]{1,4}) \b",
    )
});

/// An exit status of a compiler or a process.
static EXIT_STATUS: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix) (?: neuronx?-cc\ failed\ with | command\ returned | exit [\ _]? (?:code|status)
        | exit (?:ed)? (?:\ with)? (?:\ (?:code|status))? ) [\s:=(]* (-?[0-9]{1,3}) \b",
    )
});

/// The signal that ended a process.
static SIGNAL: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)\bsignal:? ([0-9]{1,2})\b"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a test uses every expression")
}

/// The entries that `text` may mean, the most likely first.
pub(super) fn candidates<'a>(table: &'a Table, text: &str) -> Vec<&'a Explanation> {
    let text = beginning(text.trim());
    let mut found = whole(table, text);
    if found.is_empty() {
        found = in_line(table, text);
    }
    let mut seen = Vec::new();
    found.retain(|at| {
        let new = !seen.contains(at);
        seen.push(*at);
        new
    });
    found.into_iter().map(|at| &table.entries[at]).collect()
}

/// The explanations of `text` as a whole: a name, a number, or a code of a known form.
fn whole(table: &Table, text: &str) -> Vec<usize> {
    let plain = text.trim_matches(|c: char| c.is_whitespace() || "[](){}<>`'\",;:.".contains(c));
    if let Some(at) = table.named(plain) {
        return vec![at];
    }
    if let Ok(number) = plain.parse() {
        return table.numbered(number).to_vec();
    }
    table.like(&plain.to_uppercase()).into_iter().collect()
}

/// The explanations of parts of `line`: codes before statuses before messages.
fn in_line(table: &Table, line: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for word in WORD.captures_iter(line) {
        let (bracket, word) = (&word[1], &word[2]);
        // A name in lower-case is not a code: the word only happens to be spelled like it.
        let named = table
            .named(word)
            .filter(|at| is_code(&table.entries[*at], word));
        let is_marked = !bracket.is_empty() || word.starts_with("NCC_");
        found.extend(named.or_else(|| table.like(word).filter(|_| is_marked)));
    }
    let mut add = |number: Option<i32>, group: Group| {
        let with = number.map_or(&[][..], |number| table.numbered(number));
        found.extend(with.iter().filter(|at| table.entries[**at].group == group));
    };
    for captures in RUNTIME_STATUS.captures_iter(line) {
        let number = captures.get(1).or_else(|| captures.get(2));
        add(
            number.and_then(|number| number.as_str().parse().ok()),
            Group::RuntimeStatuses,
        );
    }
    for captures in EXIT_STATUS.captures_iter(line) {
        add(captures[1].parse().ok(), Group::ExitStatuses);
    }
    for captures in SIGNAL.captures_iter(line) {
        let signal = captures[1].parse().ok();
        add(signal.map(|signal: i32| -signal), Group::ExitStatuses);
    }
    found.extend(table.in_line(line));
    found
}

/// Whether `word` is this entry's name or alias as it is written in the table.
fn is_code(entry: &Explanation, word: &str) -> bool {
    entry.name == word || entry.aliases.iter().any(|alias| alias == word)
}

/// The first [`LINE_BYTES_MAX`] bytes, or a little less where a character would be cut.
fn beginning(text: &str) -> &str {
    let mut end = text.len().min(LINE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use crate::explain::{advice_for, candidates, lookup, nearest};

    #[track_caller]
    fn finds(text: &str, names: &[&str]) {
        let found: Vec<&str> = candidates(text)
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        assert_eq!(found, names, "{text}");
    }

    #[test]
    fn a_code_is_found_as_people_type_it() {
        for typed in [
            "NCC_EVRF001",
            "ncc_evrf001",
            "[NCC_EVRF001]",
            " evrf001:",
            "EVRF001",
        ] {
            finds(typed, &["NCC_EVRF001"]);
        }
        finds("nrt_exec_nc_busy", &["NRT_EXEC_NC_BUSY"]);
        finds("[F137]", &["F137"]);
        finds("exit 70", &["exit 70"]);
        finds("neuronc exit 2", &["neuronc exit 2"]);
        finds("cpu-trace", &["cpu-trace"]);
    }

    #[test]
    fn a_number_gives_all_that_it_may_mean() {
        finds("1", &["exit 1", "NRT_FAILURE", "neuronc exit 1"]);
        finds("2", &["exit 2", "NRT_INVALID", "neuronc exit 2"]);
        finds("70", &["exit 70", "neuronc exit 70"]);
        finds("1003", &["NRT_EXEC_COMPLETED_WITH_NUM_ERR"]);
        finds("-9", &["exit -9"]);
        finds("137", &["exit -9"]);
        for typed in ["NRT 1003", "nrt:1003", "NRT status 1003", "NRT_STATUS=1003"] {
            finds(typed, &["NRT_EXEC_COMPLETED_WITH_NUM_ERR"]);
        }
    }

    #[test]
    fn codes_without_an_entry_are_known_by_their_form() {
        finds("NCC_ITEN406", &["NCC_Ixxxnnn"]);
        finds(
            "[INTERNAL_ERROR] [NCC_IBIR440] Expect all",
            &["NCC_Ixxxnnn"],
        );
        finds("[NCC_INLA001] Unhandled exception", &["NCC_INLA001"]);
        finds("[NLA001]  Unhandled exception", &["NCC_INLA001"]);
        finds("[XCG999] something", &["XXXnnn"]);
        finds("XCG999 without brackets", &[]);
    }

    #[test]
    fn a_line_of_a_log_is_understood() {
        finds("RuntimeError: neuronx-cc failed with -9", &["exit -9"]);
        finds("INFO:Neuron:Compile command returned: -9", &["exit -9"]);
        finds("Subcommand returned with exitcode=70", &["exit 70"]);
        finds("Backend exited with code 1 and stderr:", &["exit 1"]);
        finds("Non-zero exit status (137) for command: x", &["exit -9"]);
        finds("  Exit Code:    139", &["exit -11"]);
        finds("terminated by signal 6", &["exit -6"]);
        finds("Killed", &["exit -9"]);
        finds(
            "ERROR  NMGR:kmgr_load_nn_post_metrics  Failed to load NN: x, err: 10",
            &["NRT_UNSUPPORTED_NEFF_VERSION"],
        );
        finds("nrt_init failed. Status = 1", &["NRT_FAILURE"]);
        finds(
            "RuntimeError: Failed to execute the model status=1003 message=Numerical Error",
            &["NRT_EXEC_COMPLETED_WITH_NUM_ERR"],
        );
        finds(
            "Could not load the model status=4 message=x",
            &["NRT_RESOURCE"],
        );
        finds(
            "x, features: 0x100 are not supported.  Currently supporting: 0x80000000000000ff",
            &["neff-version"],
        );
        finds(
            "Got a cached failed neff at x. With eror log: [ERROR] [NCC_EOOM002] Maximum peak",
            &["NCC_EOOM002", "cached-failure"],
        );
        finds("compiled 70 of 137 operators in 9 s", &[]);
        finds("", &[]);
    }

    #[test]
    fn advice_is_about_the_tools_and_not_about_neuronc() {
        assert_eq!(advice_for("70").unwrap().name, "exit 70");
        assert!(advice_for("130").is_none());
        assert_eq!(lookup("130").unwrap().name, "neuronc exit 130");
        let embedding = advice_for("INFO:Neuron: => aten::embedding: 3 [not supported]");
        assert_eq!(embedding.unwrap().name, "embedding-on-host");
    }

    #[test]
    fn an_endless_line_costs_little() {
        let line = format!("{}NCC_EVRF001", "é".repeat(1 << 20));
        assert!(candidates(&line).is_empty());
    }

    #[test]
    fn near_names_are_offered_for_an_unknown_one() {
        for typed in ["NCC_EVRF02", "EVRF02"] {
            let near = nearest(typed);
            assert_eq!(near.len(), 3);
            assert!(
                near.iter().all(|name| name.starts_with("NCC_EVRF0")),
                "{near:?}"
            );
        }
        assert!(nearest("?").is_empty());
    }
}
