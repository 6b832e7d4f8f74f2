//! Reading numbers and words out of bytes, without allocation.

use memchr::memchr;

/// The unread part of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// Takes the literal `text` if it comes next.
    pub(crate) fn lit(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text.as_bytes())?;
        Some(())
    }

    /// Takes everything up to `text`, and `text`.
    pub(crate) fn until(&mut self, text: &str) -> Option<&'a [u8]> {
        let at = find(self.rest, text.as_bytes())?;
        let before = &self.rest[..at];
        self.rest = &self.rest[at + text.len()..];
        Some(before)
    }

    /// Takes bytes up to the first one that is not wanted.
    pub(crate) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !wanted(*byte));
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Takes blanks and tabs.
    pub(crate) fn blanks(&mut self) {
        self.take_while(|byte| byte == b' ' || byte == b'\t');
    }

    /// Takes a number without sign; commas may separate groups of three digits.
    pub(crate) fn count(&mut self) -> Option<u64> {
        let mut digits = 0;
        let mut value: u64 = 0;
        loop {
            match self.rest {
                [digit @ b'0'..=b'9', rest @ ..] => {
                    value = value
                        .checked_mul(10)?
                        .checked_add(u64::from(digit - b'0'))?;
                    digits += 1;
                    self.rest = rest;
                }
                [b',', rest @ ..] if digits > 0 && is_group(rest) => self.rest = rest,
                _ => return (digits > 0).then_some(value),
            }
        }
    }

    /// Takes a whole number with an optional minus.
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let negative = self.lit("-").is_some();
        let value = i64::try_from(self.count()?).ok()?;
        Some(if negative { -value } else { value })
    }

    /// Takes a decimal number with an optional minus; never infinite.
    pub(crate) fn decimal(&mut self) -> Option<f64> {
        let start = self.rest;
        let _ = self.lit("-");
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() {
            return None;
        }
        if let [b'.', b'0'..=b'9', ..] = self.rest {
            self.rest = &self.rest[1..];
            self.take_while(|byte| byte.is_ascii_digit());
        }
        if let [b'e', b'-' | b'+', b'0'..=b'9', ..] = self.rest {
            self.rest = &self.rest[2..];
            self.take_while(|byte| byte.is_ascii_digit());
        }
        let text = &start[..start.len() - self.rest.len()];
        let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        value.is_finite().then_some(value)
    }
}

/// Whether a group of exactly three digits comes next.
fn is_group(rest: &[u8]) -> bool {
    matches!(rest, [a, b, c, after @ ..]
        if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit()
            && !after.first().is_some_and(u8::is_ascii_digit))
}

/// The index of `needle` in `text`. Lines are short: preparing a faster search costs more than it gains.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    loop {
        let at = from + memchr(first, &text[from..])?;
        if text[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Whether `byte` can be part of an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(crate) fn contains(text: &[u8], needle: &str) -> bool {
    find(text, needle.as_bytes()).is_some()
}

/// The part of `text` behind the first `needle`.
pub(crate) fn after<'a>(text: &'a [u8], needle: &str) -> Option<&'a [u8]> {
    let at = find(text, needle.as_bytes())?;
    Some(&text[at + needle.len()..])
}

/// The part of `text` before the first `needle`, or all of it.
pub(crate) fn before<'a>(text: &'a [u8], needle: &str) -> &'a [u8] {
    match find(text, needle.as_bytes()) {
        Some(at) => &text[..at],
        None => text,
    }
}

/// Whether `text` is the name of an operator, such as `aten::x` or `prim::x`, and nothing else.
pub(crate) fn is_operator(text: &[u8]) -> bool {
    let Some(at) = find(text, b"::") else {
        return false;
    };
    let (space, name) = (&text[..at], &text[at + 2..]);
    !space.is_empty()
        && !name.is_empty()
        && text.len() <= OPERATOR_BYTES_MAX
        && space.iter().all(|byte| is_word(*byte))
        && name
            .iter()
            .all(|byte| is_word(*byte) || *byte == b'.' || *byte == b':')
}

/// The most bytes of the name of an operator; longer ones are other text.
const OPERATOR_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_take_separators_of_thousands_only() {
        let cases = [
            ("8,773 of", Some(8773), " of"),
            ("714, fused", Some(714), ", fused"),
            ("1,23", Some(1), ",23"),
            ("1,2345", Some(1), ",2345"),
            ("x", None, "x"),
            ("99999999999999999999", None, "9"),
        ];
        for (text, value, rest) in cases {
            let mut scan = Scan::new(text.as_bytes());
            assert_eq!(scan.count(), value, "{text}");
            assert_eq!(scan.rest, rest.as_bytes(), "{text}");
        }
    }

    #[test]
    fn decimals_end_before_what_is_no_number() {
        let mut scan = Scan::new(b"-300.0% of");
        assert_eq!(scan.decimal(), Some(-300.0));
        assert_eq!(scan.rest, b"% of");
        let mut scan = Scan::new(b"7.");
        assert_eq!(scan.decimal(), Some(7.0));
        assert_eq!(scan.rest, b".");
    }

    #[test]
    fn operators_are_whole_words() {
        assert!(is_operator(b"aten::add_"));
        assert!(!is_operator(b"aten::add: 3"));
        assert!(!is_operator(b"::add"));
    }
}
