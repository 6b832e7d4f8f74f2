//! The tokens of TorchScript code: Python's, without what torch never prints.

use anyhow::{Result, bail};

/// A token and the line it is on, from 1.
pub(super) type TokenOnLine = (ScriptToken, usize);

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ScriptToken {
    Name(String),
    Int(i64),
    Float(f64),
    Text(String),
    /// An operator or a bracket.
    Symbol(&'static str),
    /// The end of a logical line.
    Line,
    Indent,
    Dedent,
    End,
}

/// Longer symbols come before those they begin with.
const SYMBOLS: [&str; 34] = [
    "**", "//", "->", "<<", ">>", "<=", ">=", "==", "!=", "+=", "(", ")", "[", "]", "{", "}", ",",
    ":", ".", "=", "+", "-", "*", "/", "%", "<", ">", "&", "|", "^", "~", "@", ";", "!",
];

/// The tokens of `code`, the last of which is [`ScriptToken::End`].
pub(super) fn tokens(code: &str) -> Result<Vec<TokenOnLine>> {
    let mut lexer = ScriptLexer {
        rest: code,
        line: 1,
        brackets: 0,
        indents: Vec::new(),
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

/// The code that is left, and the tokens so far.
struct ScriptLexer<'code> {
    rest: &'code str,
    line: usize,
    brackets: usize,
    indents: Vec<usize>,
    tokens: Vec<TokenOnLine>,
}

impl ScriptLexer<'_> {
    fn run(&mut self) -> Result<()> {
        self.indentation();
        while let Some(first) = self.rest.chars().next() {
            match first {
                '\n' => self.new_line(),
                '#' => self.skip(self.rest.find('\n').unwrap_or(self.rest.len())),
                // A line that is continued.
                '\\' => self.skip(1 + usize::from(self.rest[1..].starts_with('\n'))),
                _ if first.is_whitespace() => self.skip(first.len_utf8()),
                '"' | '\'' => self.text(first)?,
                _ if first.is_ascii_digit() => self.number(),
                '.' if self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(),
                _ if first.is_alphabetic() || first == '_' => self.name(),
                _ => self.symbol()?,
            }
        }
        self.push(ScriptToken::Line);
        for _ in 0..self.indents.len() {
            self.push(ScriptToken::Dedent);
        }
        self.push(ScriptToken::End);
        Ok(())
    }

    fn push(&mut self, token: ScriptToken) {
        self.tokens.push((token, self.line));
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn new_line(&mut self) {
        if self.brackets == 0 {
            self.push(ScriptToken::Line);
        }
        self.skip(1);
        self.line += 1;
        if self.brackets == 0 {
            self.indentation();
        }
    }

    /// Compares the blanks at the start of a line with those of the block. Empty lines and comments
    /// do not count.
    fn indentation(&mut self) {
        let width = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.skip(width);
        if self.rest.starts_with(['\n', '\r', '#']) || self.rest.is_empty() {
            return;
        }
        while self.indents.last().is_some_and(|last| *last > width) {
            self.indents.pop();
            self.push(ScriptToken::Dedent);
        }
        if width > self.indents.last().copied().unwrap_or(0) {
            self.indents.push(width);
            self.push(ScriptToken::Indent);
        }
    }

    fn text(&mut self, quote: char) -> Result<()> {
        let mut escaped = false;
        for (index, c) in self.rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => {
                    let content = self.rest[1..index].to_owned();
                    self.push(ScriptToken::Text(content));
                    self.skip(index + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        bail!("line {}: a text does not end", self.line)
    }

    fn number(&mut self) {
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        while end < bytes.len() {
            let exponent_sign =
                matches!(bytes[end], b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E');
            if !(bytes[end].is_ascii_alphanumeric() || bytes[end] == b'.' || exponent_sign) {
                break;
            }
            end += 1;
        }
        let text = &self.rest[..end];
        let token = match text.parse::<i64>() {
            Ok(number) => ScriptToken::Int(number),
            Err(_) => ScriptToken::Float(text.parse().unwrap_or(f64::NAN)),
        };
        self.push(token);
        self.skip(end);
    }

    fn name(&mut self) {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let name = self.rest[..end].to_owned();
        self.push(ScriptToken::Name(name));
        self.skip(end);
    }

    fn symbol(&mut self) -> Result<()> {
        let found = SYMBOLS
            .iter()
            .find(|symbol| self.rest.starts_with(**symbol));
        let Some(symbol) = found else {
            let first = self.rest.chars().next().unwrap_or(' ');
            bail!("line {}: `{first}` is not TorchScript", self.line)
        };
        match *symbol {
            "(" | "[" | "{" => self.brackets += 1,
            ")" | "]" | "}" => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        self.push(ScriptToken::Symbol(symbol));
        self.skip(symbol.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexed(code: &str) -> Vec<ScriptToken> {
        let tokens = tokens(code).unwrap();
        tokens.into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn blocks_open_and_close_and_brackets_join_lines() {
        let name = |text: &str| ScriptToken::Name(text.to_owned());
        let tokens = lexed("a\n  b(\n c)\nd");
        let (open, close) = (ScriptToken::Symbol("("), ScriptToken::Symbol(")"));
        let expected = vec![
            name("a"),
            ScriptToken::Line,
            ScriptToken::Indent,
            name("b"),
            open,
            name("c"),
            close,
            ScriptToken::Line,
            ScriptToken::Dedent,
            name("d"),
            ScriptToken::Line,
            ScriptToken::End,
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn numbers_are_read_as_torch_prints_them() {
        let numbers = lexed("9.9999999999999998e-13 1. .5 9223372036854775807 9223372036854775808");
        let expected = [
            ScriptToken::Float(1e-12 - 2e-28),
            ScriptToken::Float(1.0),
            ScriptToken::Float(0.5),
            ScriptToken::Int(i64::MAX),
            ScriptToken::Float(9_223_372_036_854_775_808.0),
        ];
        assert_eq!(numbers[1..5], expected[1..]);
        assert!(matches!(numbers[0], ScriptToken::Float(x) if (x - 1e-12).abs() < 1e-24));
    }
}
