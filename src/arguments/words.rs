//! A text of compiler arguments, split into words as a shell does it.

use anyhow::Result;

use crate::failure::Failure;

/// The words of `text`. Quotes and backslashes mean what they mean to a POSIX shell; nothing is
/// expanded, and there are no comments.
pub(super) fn split(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut characters = text.chars().enumerate();
    while let Some((place, character)) = characters.next() {
        match (quote.map(|(open, _)| open), character) {
            (Some(open), _) if open == character => quote = None,
            (Some('"') | None, '\\') => {
                let Some((_, next)) = characters.next() else {
                    return Err(unfinished(text, "it ends with a backslash".to_owned()));
                };
                let word = word.get_or_insert_default();
                if quote.is_some() && !['"', '\\', '$', '`'].contains(&next) {
                    word.push('\\');
                }
                word.push(next);
            }
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                quote = Some((character, place + 1));
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    if let Some((open, place)) = quote {
        let why = format!("the quote {open} at character {place} is not closed");
        return Err(unfinished(text, why));
    }
    words.extend(word);
    Ok(words)
}

fn unfinished(text: &str, why: String) -> anyhow::Error {
    Failure::usage(format!("`--compiler-args {text}` cannot be read"))
        .why(why)
        .help("quote it once for your shell: --compiler-args \"--flag value --flag value\"")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_mean_what_they_mean_to_a_shell() {
        let cases: [(&str, &[&str]); 7] = [
            ("  a  b\tc\n", &["a", "b", "c"]),
            ("'a b' \"c d\"e", &["a b", "c de"]),
            (r#"a\ b "x\"y\z" '\'"#, &["a b", r#"x"y\z"#, r"\"]),
            ("'' \"\"", &["", ""]),
            ("a # b", &["a", "#", "b"]),
            ("--a='x y'", &["--a=x y"]),
            ("", &[]),
        ];
        for (text, words) in cases {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn what_is_unfinished_is_named_with_its_place() {
        let why = |text| split(text).unwrap_err().to_string();
        assert!(why("a 'b c").contains("the quote ' at character 3 is not closed"));
        assert!(why("a \"b\\\"").contains("the quote \" at character 3 is not closed"));
        assert!(why("a\\").contains("ends with a backslash"));
    }
}
