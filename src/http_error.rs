//! The reason in the body of an HTTP error, in the form of any protocol that a server may speak.

use serde_json::Value;

use crate::failure::printable;

/// Longer reasons are cut.
const REASON_CHARACTERS_MAX: usize = 300;

/// JSON pointers to the reason: OpenAI's form, then those of TEI and KServe, of FastAPI, and of many gateways.
const REASON_FIELDS: [&str; 4] = ["/error/message", "/error", "/detail", "/message"];

/// The reason why a server refused a request, from the body of its answer: a field of the JSON, or
/// else the text itself, at most 300 printable characters of it. `None` where the body is blank.
pub fn refusal_reason(body: &[u8]) -> Option<String> {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let mut texts = REASON_FIELDS
        .iter()
        .filter_map(|field| json.as_ref()?.pointer(field)?.as_str());
    let text = match texts.next() {
        Some(text) => text.to_owned(),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    let printable = printable(text.trim());
    (!printable.is_empty()).then(|| printable.chars().take(REASON_CHARACTERS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_in_the_form_of_each_protocol() {
        for body in [
            r#"{"error": {"message": "no"}}"#,
            r#"{"error": "no", "error_type": "Validation"}"#,
            r#"{"detail": "no"}"#,
            r#"{"message": "no"}"#,
            " no\n",
        ] {
            assert_eq!(
                refusal_reason(body.as_bytes()).as_deref(),
                Some("no"),
                "{body}"
            );
        }
        assert_eq!(refusal_reason(b" \n"), None);
        let long = "x".repeat(301);
        assert_eq!(refusal_reason(long.as_bytes()), Some("x".repeat(300)));
        assert_eq!(refusal_reason(b"a\x1b[2J").as_deref(), Some("a\u{fffd}[2J"));
    }
}
