//! Dates and times in every form that producers write.

use crate::text::scan::Scan;

/// Year, month and day.
type CivilDate = (i64, i64, i64);

/// A time with a date, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp {
    date: CivilDate,
    second_of_day: i64,
}

impl Timestamp {
    /// Seconds since an arbitrary day.
    pub(crate) fn seconds(self) -> i64 {
        let (year, month, day) = self.date;
        days_from_civil(year, month, day) * 86_400 + self.second_of_day
    }
}

/// The date and time at the start of `text`, and the text behind them and the colon that closes them.
pub(super) fn time(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (date, rest) = date(text)?;
    let clock = rest.get(1..9)?;
    if !matches!(rest[0], b' ' | b'T') || clock[2] != b':' || clock[5] != b':' {
        return None;
    }
    let mut hour = two(&clock[..2])?;
    let (minute, second) = (two(&clock[3..5])?, two(&clock[6..8])?);
    let mut scan = Scan::new(&rest[9..]);
    if let [b'.' | b',', b'0'..=b'9', ..] = scan.rest {
        scan.rest = &scan.rest[1..];
        scan.take_while(|byte| byte.is_ascii_digit());
    }
    if scan.lit(" PM").is_some() {
        hour = hour % 12 + 12;
    } else if scan.lit(" AM").is_some() {
        hour %= 12;
    }
    // A time zone is dropped: only differences within one log are asked for.
    if let [b'+' | b'-', b'0'..=b'9', b'0'..=b'9', b':', _, _, rest @ ..] = scan.rest {
        scan.rest = rest;
    }
    let _ = scan.lit("Z");
    let _ = scan.lit(":");
    let second_of_day = hour * 3600 + minute * 60 + second;
    let time = Timestamp {
        date,
        second_of_day,
    };
    Some((time, scan.rest))
}

/// The date at the start of `text`, such as `2023-05-25` or `05/24/2021`, and the text behind it.
fn date(text: &[u8]) -> Option<(CivilDate, &[u8])> {
    let (year, month, day, length) = match text {
        [_, _, b'/', _, _, b'/', ..] => (text.get(6..10)?, &text[..2], &text[3..5], 10),
        [_, _, _, _, b'-', _, _, b'-', _, _, ..] => (&text[..4], &text[5..7], &text[8..10], 10),
        _ => return None,
    };
    let year = two(&year[..2])? * 100 + two(&year[2..])?;
    let date = (year, two(month)?, two(day)?);
    Some((date, &text[length..])).filter(|(_, rest)| !rest.is_empty())
}

fn two(digits: &[u8]) -> Option<i64> {
    match digits {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
        }
        _ => None,
    }
}

/// The day number of a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_forms_agree() {
        let seconds = |line: &str| time(line.as_bytes()).unwrap().0.seconds();
        assert_eq!(
            seconds("05/24/2021 11:12:51 PM ERROR [neuron-cc]: x"),
            seconds("2021-05-24T23:12:51Z ERROR 1 [neuronx-cc]: x")
        );
        assert_eq!(
            seconds("2024-03-01T00:00:01Z x") - seconds("2024-02-28T23:59:59Z x"),
            86_402
        );
    }
}
