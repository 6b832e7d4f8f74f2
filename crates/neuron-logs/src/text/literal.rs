//! Values as JSON and Python print them: dictionaries, sets, tuples, `OrderedDict([…])`.

use serde_json::{Map, Number, Value};

/// The deepest nesting of a value; no report comes near.
const DEPTH_MAX: usize = 32;

/// The first value of `text`, and the text behind it. Sets and tuples become arrays; `None` when the
/// value is not whole.
pub(crate) fn parse(text: &[u8]) -> Option<(Value, &[u8])> {
    let mut parser = LiteralParser { rest: text };
    let value = parser.value(0)?;
    Some((value, parser.rest))
}

struct LiteralParser<'a> {
    rest: &'a [u8],
}

impl LiteralParser<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self, text: &str) -> Option<()> {
        self.blanks();
        self.rest = self.rest.strip_prefix(text.as_bytes())?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.blanks();
        match self.rest.first()? {
            b'{' => self.braces(depth),
            b'[' => self.sequence("[", "]", depth),
            b'(' => self.sequence("(", ")", depth),
            b'"' | b'\'' => self.string().map(Value::String),
            b'-' | b'+' | b'.' | b'0'..=b'9' => self.number(),
            _ => self.word(depth),
        }
    }

    /// A dictionary, or a set.
    fn braces(&mut self, depth: usize) -> Option<Value> {
        self.take("{")?;
        let mut map = Map::new();
        let mut set = Vec::new();
        loop {
            if self.take("}").is_some() {
                break;
            }
            let key = self.value(depth + 1)?;
            if self.take(":").is_some() {
                let value = self.value(depth + 1)?;
                map.insert(as_key(key), value);
            } else {
                set.push(key);
            }
            if self.take(",").is_none() {
                self.take("}")?;
                break;
            }
        }
        match (map.is_empty(), set.is_empty()) {
            (_, true) => Some(Value::Object(map)),
            (true, false) => Some(Value::Array(set)),
            (false, false) => None,
        }
    }

    fn sequence(&mut self, open: &str, close: &str, depth: usize) -> Option<Value> {
        self.take(open)?;
        let mut items = Vec::new();
        loop {
            if self.take(close).is_some() {
                break;
            }
            items.push(self.value(depth + 1)?);
            if self.take(",").is_none() {
                self.take(close)?;
                break;
            }
        }
        Some(Value::Array(items))
    }

    fn string(&mut self) -> Option<String> {
        let (quote, mut rest) = self.rest.split_first()?;
        let mut bytes = Vec::new();
        loop {
            match rest {
                [byte, after @ ..] if byte == quote => {
                    self.rest = after;
                    return Some(String::from_utf8_lossy(&bytes).into_owned());
                }
                [b'\\', b'u', after @ ..] => {
                    let digits = std::str::from_utf8(after.get(..4)?).ok()?;
                    let code = u32::from_str_radix(digits, 16).ok()?;
                    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = &after[4..];
                }
                [b'\\', escaped, after @ ..] => {
                    bytes.push(match escaped {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        other => *other,
                    });
                    rest = after;
                }
                [byte, after @ ..] => {
                    bytes.push(*byte);
                    rest = after;
                }
                [] => return None,
            }
        }
    }

    fn number(&mut self) -> Option<Value> {
        let wanted = |byte: &u8| byte.is_ascii_digit() || b"+-.eE_".contains(byte);
        let length = self.rest.iter().position(|byte| !wanted(byte));
        let (digits, rest) = self.rest.split_at(length.unwrap_or(self.rest.len()));
        let digits = std::str::from_utf8(digits).ok()?;
        self.rest = rest;
        if let Ok(whole) = digits.parse::<i64>() {
            return Some(Value::Number(whole.into()));
        }
        Number::from_f64(digits.parse().ok()?).map(Value::Number)
    }

    /// `true`, `None`, or a constructor around one value.
    fn word(&mut self, depth: usize) -> Option<Value> {
        let wanted = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
        let length = self.rest.iter().position(|byte| !wanted(byte));
        let (word, rest) = self.rest.split_at(length?);
        if word.is_empty() {
            return None;
        }
        self.rest = rest;
        match word {
            b"true" | b"True" => return Some(Value::Bool(true)),
            b"false" | b"False" => return Some(Value::Bool(false)),
            b"null" | b"None" | b"NaN" | b"nan" | b"inf" => return Some(Value::Null),
            _ => {}
        }
        let arguments = self.sequence("(", ")", depth)?;
        let Value::Array(mut arguments) = arguments else {
            return None;
        };
        let only = (arguments.len() <= 1).then(|| arguments.pop())?;
        Some(match only {
            Some(Value::Array(pairs)) if word.ends_with(b"Dict") => from_pairs(pairs)?,
            None if word.ends_with(b"Dict") || word.ends_with(b"dict") => Value::Object(Map::new()),
            None => Value::Array(Vec::new()),
            Some(value) => value,
        })
    }
}

/// A dictionary out of `[('key', value), …]`.
fn from_pairs(pairs: Vec<Value>) -> Option<Value> {
    let mut map = Map::new();
    for pair in pairs {
        let Value::Array(pair) = pair else {
            return None;
        };
        let [key, value] = <[Value; 2]>::try_from(pair).ok()?;
        map.insert(as_key(key), value);
    }
    Some(Value::Object(map))
}

fn as_key(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_python_prints() {
        let cases = [
            (
                "{'a': 1.5, 'b': {'x', 'y'}}",
                json!({"a": 1.5, "b": ["x", "y"]}),
            ),
            (
                "OrderedDict([('n', 3), ('d', OrderedDict())])",
                json!({"n": 3, "d": {}}),
            ),
            ("(1, 'it\\'s', None, True)", json!([1, "it's", null, true])),
            ("{\"u\": \"\\u00e9\\n\"}", json!({"u": "é\n"})),
            ("set()", json!([])),
        ];
        for (text, value) in cases {
            assert_eq!(parse(text.as_bytes()).unwrap().0, value, "{text}");
        }
    }

    #[test]
    fn half_a_value_is_none() {
        for text in ["{'a': 1", "{'a'", "[1, ", "'x", "{1: 2, 3}", "-", "nowhere"] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
        let deep = "[".repeat(10_000);
        assert!(parse(deep.as_bytes()).is_none());
    }
}
