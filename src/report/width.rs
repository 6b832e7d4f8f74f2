//! Text that keeps to the width of a terminal: broken at words, names elided in their middle.

use crate::failure::printable;

/// The width that every line keeps to.
pub(super) const WIDTH: usize = 80;

/// The sign for the part of a name that is left out.
const ELISION: &str = "..";

/// Text broken at words. Lines after the first are indented by `indent`, and the first one begins
/// there. A word that is longer than a line is broken too.
pub(super) fn wrap(text: &str, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut column = indent;
    let room = WIDTH - indent;
    for word in text.split_whitespace() {
        let word: Vec<char> = printable(word).chars().collect();
        let mut rest: &[char] = &word;
        if column > indent && column + 1 + rest.len().min(room) > WIDTH {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            wrapped.push(' ');
            column += 1;
        }
        while rest.len() > room {
            wrapped.extend(&rest[..room]);
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            rest = &rest[room..];
        }
        wrapped.extend(rest);
        column += rest.len();
    }
    wrapped
}

/// A name in at most `width` characters: its beginning and its end are what tells it from others.
pub(super) fn elide(name: &str, width: usize) -> String {
    let all: Vec<char> = printable(name).chars().collect();
    if all.len() <= width {
        return all.into_iter().collect();
    }
    let kept = width.saturating_sub(ELISION.len());
    let head = kept / 3;
    let mut elided: String = all[..head].iter().collect();
    elided.push_str(ELISION);
    elided.extend(&all[all.len() - (kept - head)..]);
    elided
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(text: &str) -> usize {
        text.lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn long_lines_are_broken_at_words() {
        let text = wrap(&"word ".repeat(40), 4);
        assert!(longest(&text) <= WIDTH, "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("    word"));
    }

    #[test]
    fn a_word_longer_than_a_line_is_broken_and_whole() {
        let path = "/very/long/path".repeat(20);
        let text = wrap(&format!("error in {path} here"), 4);
        assert!(longest(&text) <= WIDTH, "{text}");
        assert_eq!(text.replace(['\n', ' '], ""), format!("errorin{path}here"));
    }

    #[test]
    fn the_middle_of_a_long_name_is_left_out() {
        assert_eq!(elide("a/very/long/name", 10), "a/..g/name");
        assert_eq!(elide("short", 8), "short");
        assert_eq!(elide("a\u{8}b", 8), "a\u{fffd}b");
    }
}
