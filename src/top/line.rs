//! A line of text with its colour, and long sentences broken into such lines.

use anstyle::{AnsiColor, Style};

use crate::failure::printable;

/// Indentation of the second and later lines of a sentence.
const INDENT: &str = "  ";

/// Whether escape sequences for colours are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Yes,
    No,
}

/// A line of text in one style.
#[derive(Debug, Clone, Default)]
pub struct StyledLine {
    text: String,
    style: Style,
}

impl StyledLine {
    pub(super) fn new(text: String, style: Style) -> Self {
        Self { text, style }
    }

    /// The first `width` characters.
    pub fn show(&self, width: usize, colours: Colours) -> String {
        let text: String = self.text.trim_end().chars().take(width).collect();
        match colours {
            Colours::No => text,
            Colours::Yes => format!("{}{text}{}", self.style.render(), self.style.render_reset()),
        }
    }
}

/// A remark that should be noticed, in as many lines as it needs.
pub fn notice(text: &str, width: usize) -> Vec<StyledLine> {
    wrapped(
        text,
        Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        width,
    )
}

/// A remark that stays in the background, in as many lines as it needs.
pub fn aside(text: &str, width: usize) -> Vec<StyledLine> {
    wrapped(text, Style::new().dimmed(), width)
}

/// A sentence in lines of at most `width` characters, broken between words where that is possible.
pub(super) fn wrapped(text: &str, style: Style, width: usize) -> Vec<StyledLine> {
    let width = width.max(2 * INDENT.len());
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    let mut is_begun = false;
    for word in printable(text).split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if is_begun && length + 1 + word.len() > width {
            lines.push(std::mem::replace(&mut line, INDENT.to_owned()));
            (length, is_begun) = (INDENT.len(), false);
        }
        if is_begun {
            line.push(' ');
            length += 1;
        }
        while length + word.len() > width {
            let rest = word.split_off(width - length);
            line.extend(word);
            lines.push(std::mem::replace(&mut line, INDENT.to_owned()));
            (length, word) = (INDENT.len(), rest);
        }
        length += word.len();
        line.extend(word);
        is_begun = true;
    }
    lines.push(line);
    let lines = lines.into_iter();
    lines.map(|text| StyledLine::new(text, style)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, width: usize) -> Vec<String> {
        let lines = wrapped(text, Style::new(), width);
        let lines = lines.iter();
        lines.map(|l| l.show(usize::MAX, Colours::No)).collect()
    }

    #[test]
    fn sentences_are_broken_between_words_and_words_where_they_must() {
        assert_eq!(shown("one two three", 80), ["one two three"]);
        assert_eq!(shown("one two three", 8), ["one two", "  three"]);
        assert_eq!(shown("at 0123456789 b", 8), ["at", "  012345", "  6789 b"]);
        assert_eq!(shown("0123456789", 6), ["012345", "  6789"]);
        assert_eq!(shown("", 8), [""]);
        assert_eq!(shown("a\u{1b}[2J", 80), ["a\u{fffd}[2J"]);
        assert_eq!(shown("one two", usize::MAX), ["one two"]);
    }
}
