//! A line of text, and how it looks.

use anstyle::{AnsiColor, Style};

use crate::failure::printable;

/// Where the second and later lines of a sentence begin.
const INDENT: &str = "  ";

/// Whether text has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Yes,
    No,
}

/// A line of text and how it looks.
#[derive(Debug, Clone, Default)]
pub struct Line {
    text: String,
    style: Style,
}

impl Line {
    pub(super) fn styled(text: String, style: Style) -> Self {
        Self { text, style }
    }

    /// At most `width` characters of it.
    pub fn show(&self, width: usize, colours: Colours) -> String {
        let text: String = self.text.trim_end().chars().take(width).collect();
        match colours {
            Colours::No => text,
            Colours::Yes => format!("{}{text}{}", self.style.render(), self.style.render_reset()),
        }
    }
}

/// A remark of our own, in as many lines as it needs.
pub fn notice(text: &str, width: usize) -> Vec<Line> {
    wrapped(
        text,
        Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        width,
    )
}

/// A remark that is looked for rather than read.
pub fn aside(text: &str, width: usize) -> Vec<Line> {
    wrapped(text, Style::new().dimmed(), width)
}

/// A sentence in lines of at most `width` characters, broken between words where that is possible.
pub(super) fn wrapped(text: &str, style: Style, width: usize) -> Vec<Line> {
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
    lines.map(|text| Line::styled(text, style)).collect()
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
