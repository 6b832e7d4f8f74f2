//! Times on the command line, such as `500ms`, `90s`, `45m` and `2h`.

use std::time::Duration;

/// A time above zero; a bare number is seconds.
pub(in crate::cli) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        other => return Err(format!("`{other}` is not a unit of time: ms, s, m or h")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a time is a number and a unit, such as 90s, 45m or 2h".to_owned())?;
    match number.checked_mul(unit) {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err("a time is above zero, and below the end of time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_seconds_minutes_and_hours() {
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("45m"), Ok(Duration::from_secs(45 * 60)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("7"), Ok(Duration::from_secs(7)));
        for wrong in ["", "h", "2d", "0s", "-1s", "1.5h", "99999999999999999h"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
