//! Breaks text into lines that fit into a terminal.

use std::fmt::Write as _;

/// Columns of an answer.
const COLUMNS: usize = 80;

/// Breaks `text` into lines behind `prefix`; further lines are indented as far as the prefix is long. Code in
/// backticks stays on one line, so that readers can copy it.
pub(in crate::cli) fn wrap(prefix: &str, text: &str) -> String {
    let indent = prefix.chars().count();
    let mut folded = prefix.to_owned();
    let mut column = indent;
    for word in unbreakable(text) {
        let width = word.chars().count();
        if column > indent && column + 1 + width > COLUMNS {
            let _ = write!(folded, "\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(&word);
        column += width;
    }
    folded
}

/// Longer code in backticks is broken like other text.
const QUOTE_COLUMNS_MAX: usize = 60;

/// The words of `text`; short code in backticks counts as one.
fn unbreakable(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(last) if is_open && last.len() + word.len() < QUOTE_COLUMNS_MAX => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
        is_open ^= word.matches('`').count() % 2 == 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_folded_behind_their_prefix() {
        let folded = wrap("  a  ", &"word ".repeat(20));
        let lines: Vec<&str> = folded.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), 79);
        assert!(lines[1].starts_with("     word"));
        let folded = wrap("", &format!("{} `a b c`.", "word ".repeat(15)));
        assert!(folded.ends_with("\n`a b c`."), "{folded}");
    }
}
