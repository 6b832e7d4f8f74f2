//! Text that becomes part of an HTML page.

/// `text` as it must stand in a page, also within quotes: text from elsewhere must not become markup.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        let escaped = escape("<a href=\"x\">&lt;</a>");
        assert_eq!(escaped, "&lt;a href=&quot;x&quot;&gt;&amp;lt;&lt;/a&gt;");
    }
}
