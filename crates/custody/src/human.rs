//! Sizes, times and counts for people.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A size in binary units with three digits, `1.25 GiB` for example.
#[expect(clippy::cast_precision_loss, reason = "for display")]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// A part of a whole, `12 %` for example; `under 1 %` of what is not nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    if percent == 0 && part > 0 { "under 1 %".to_owned() } else { format!("{percent} %") }
}

/// A number with its noun, `1 file` or `1,203 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = match (number, noun.strip_suffix('y')) {
        (1, _) => noun.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{noun}s"),
    };
    format!("{} {plural}", grouped(number))
}

/// A duration, `4.2 s` or `1 h 02 min` for example.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// An RFC 3339 time in the local time zone to the second, `2026-11-22 07:00:00 +01:00` for
/// example; text that is no time is shown as it is.
pub(crate) fn time(text: &str, zone: &TimeZone) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
        Err(_) => crate::terminal::line(text),
    }
}

/// Reads a time as people write it: RFC 3339, or a local date with or without the time of day.
pub(crate) fn parse_time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let civil: DateTime = text.parse().ok()?;
    civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

/// A number with its thousands apart, `1,203` for example.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.00 KiB");
        check(10 * 1024 * 1024 + 300 * 1024, "10.3 MiB");
        check(500 << 30, "500 GiB");
        check(u64::MAX, "16.0 EiB");
    }

    #[test]
    fn percents() {
        let check = |part, whole, expected: &str| assert_eq!(percent(part, whole), expected);
        check(0, 0, "0 %");
        check(0, 5, "0 %");
        check(1, 500, "under 1 %");
        check(333, 1000, "33 %");
        check(u64::MAX, u64::MAX, "100 %");
    }

    #[test]
    fn counts() {
        let check = |number, noun, expected: &str| assert_eq!(count(number, noun), expected);
        check(0, "file", "0 files");
        check(1, "file", "1 file");
        check(1234, "file", "1,234 files");
        check(1_234_567, "entry", "1,234,567 entries");
    }

    #[test]
    fn durations() {
        let check = |ms, expected: &str| {
            assert_eq!(duration(Duration::from_millis(ms)), expected);
        };
        check(1_250, "1.2 s");
        check(61_000, "1 min 01 s");
        check(3_720_000, "1 h 02 min");
    }

    #[test]
    fn times() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let check = |text: &str, expected: Option<&str>| {
            let parsed = parse_time(text, &zone).map(|time| time.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        };
        check("2026-11-22T06:00:00Z", Some("2026-11-22T06:00:00Z"));
        check("2026-11-22T06:00:00+02:00", Some("2026-11-22T04:00:00Z"));
        check("2026-11-22 07:00", Some("2026-11-22T06:00:00Z"));
        check("2026-11-22T07:00:01", Some("2026-11-22T06:00:01Z"));
        check("2026-11-22", Some("2026-11-21T23:00:00Z"));
        check("latest", None);
        check("0123abcd", None);
        assert_eq!(time("2026-11-22T06:00:00.5Z", &zone), "2026-11-22 07:00:00 +01:00");
        assert_eq!(time("\u{1b}", &zone), "\\x1b");
    }
}
