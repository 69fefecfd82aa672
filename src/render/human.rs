//! Ages, durations, sizes and clock times the way people say them.

use std::time::Duration;

use chrono::{NaiveDateTime, TimeZone};

use crate::render::text;
use crate::store::RenderTimes;
use crate::time::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const YEAR: u64 = 365 * DAY;

pub type Local = fn(Timestamp) -> NaiveDateTime;

/// How long ago `then` was, in one unit: `just now`, `6m`, `3h`, `2d`, `5w`, `2y`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    match now.since(then).as_secs() {
        ..MINUTE => "just now".to_owned(),
        s @ ..HOUR => format!("{}m", s / MINUTE),
        s @ ..DAY => format!("{}h", s / HOUR),
        s if s < 2 * WEEK => format!("{}d", s / DAY),
        s if s < 2 * YEAR => format!("{}w", s / WEEK),
        s => format!("{}y", s / YEAR),
    }
}

/// [`ago`] for a column: what is older than two months has a date.
pub fn age_or_date(then: Timestamp, now: Timestamp, local: Local) -> String {
    if now.since(then).as_secs() > 60 * DAY {
        local(then).format("%Y-%m-%d").to_string()
    } else {
        ago(then, now)
    }
}

/// [`ago`] within a sentence: `just now`, `6m ago`, and `in 2m` of what is to come. Clocks that differ by some seconds
/// make no future.
pub fn ago_phrase(then: Timestamp, now: Timestamp) -> String {
    let ahead = then.since(now);
    if ahead.as_secs() >= 5 {
        // What comes in 59.9 seconds comes in a minute.
        return format!("in {}", duration(ahead + Duration::from_secs(1)));
    }
    let age = ago(then, now);
    if age == "just now" {
        age
    } else {
        format!("{age} ago")
    }
}

/// A length of time in at most two units: `45s`, `6m`, `1h 05m`, `2d 03h`.
pub fn duration(length: Duration) -> String {
    match length.as_secs() {
        s @ ..MINUTE => format!("{s}s"),
        s @ ..HOUR => format!("{}m", s / MINUTE),
        s @ ..DAY => format!("{}h {:02}m", s / HOUR, s % HOUR / MINUTE),
        s => format!("{}d {:02}h", s / DAY, s % DAY / HOUR),
    }
}

/// Fewer videos than this are no basis for "usually".
const FEWEST: u64 = 3;

/// `usually 6m, nine of ten within 14m`; `None` of too few videos.
pub fn usual(times: &RenderTimes) -> Option<String> {
    let said = |millis| duration(Duration::from_millis(millis));
    let (usual, most) = (times.p50.map(said)?, times.p90.map(said)?);
    let known = times.count >= FEWEST;
    known.then(|| format!("usually {usual}, nine of ten within {most}"))
}

pub fn counts(words: &[(String, u64)]) -> String {
    let counted = words.iter();
    let counted = counted.map(|(word, count)| format!("{count} {}", text::fit(word, 30)));
    counted.collect::<Vec<_>>().join(", ")
}

/// A size in decimal units: `14 B`, `1.4 MB`.
pub fn bytes(count: u64) -> String {
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    for unit in ["kB", "MB", "GB", "TB", "PB"] {
        // 999.95 would be rounded to 1000.0.
        if value < 999.95 {
            return format!("{value:.1} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} EB")
}

/// A recent time by its weekday, any other by its date: `Tue 09:12`, `2026-11-23 09:12`.
pub fn clock(at: Timestamp, now: Timestamp, local: Local) -> String {
    let recent = now >= at && now.since(at).as_secs() < 6 * DAY;
    match recent {
        true => local(at).format("%a %H:%M").to_string(),
        false => clock_minute(at, local),
    }
}

pub fn clock_minute(at: Timestamp, local: Local) -> String {
    local(at).format("%Y-%m-%d %H:%M").to_string()
}

pub fn clock_exact(at: Timestamp, local: Local) -> String {
    local(at).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The clock on the wall.
pub fn here(at: Timestamp) -> NaiveDateTime {
    in_zone(at, &chrono::Local)
}

pub(in crate::render) fn in_zone(at: Timestamp, tz: &impl TimeZone) -> NaiveDateTime {
    let utc = at.to_chrono().naive_utc();
    let offset = chrono::Offset::fix(&tz.offset_from_utc_datetime(&utc));
    // Fails only at the ends of chrono's calendar, far outside a Timestamp's years.
    utc.checked_add_offset(offset).unwrap_or(utc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, Utc};

    fn utc(at: Timestamp) -> NaiveDateTime {
        in_zone(at, &Utc)
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs.try_into().unwrap())
    }

    #[test]
    fn an_age_has_one_unit() {
        let now = at(10 * YEAR);
        for (age, said) in [
            (0, "just now"),
            (59, "just now"),
            (MINUTE, "1m"),
            (HOUR - 1, "59m"),
            (HOUR, "1h"),
            (DAY - 1, "23h"),
            (2 * DAY, "2d"),
            (13 * DAY, "13d"),
            (5 * WEEK, "5w"),
            (3 * YEAR, "3y"),
        ] {
            assert_eq!(ago(at(10 * YEAR - age), now), said);
        }
        assert_eq!(ago_phrase(at(0), at(HOUR)), "1h ago");
        assert_eq!(ago_phrase(at(0), at(1)), "just now");
        assert_eq!(ago_phrase(at(104), at(100)), "just now");
        assert_eq!(ago_phrase(at(130), at(100)), "in 31s");
        assert_eq!(ago_phrase(at(MINUTE), at(0)), "in 1m");
        assert_eq!(age_or_date(at(60 * DAY), at(120 * DAY), utc), "8w");
        assert_eq!(age_or_date(at(60 * DAY), at(121 * DAY), utc), "1970-03-02");
    }

    #[test]
    fn the_future_is_just_now() {
        assert_eq!(ago(at(500), at(100)), "just now");
    }

    #[test]
    fn durations() {
        for (secs, said) in [
            (0, "0s"),
            (45, "45s"),
            (6 * MINUTE + 59, "6m"),
            (HOUR + 5 * MINUTE, "1h 05m"),
            (2 * DAY + 3 * HOUR, "2d 03h"),
        ] {
            assert_eq!(duration(Duration::from_secs(secs)), said);
        }
        assert!(!duration(Duration::MAX).is_empty());
    }

    #[test]
    fn sizes_are_decimal_and_never_say_1000() {
        for (count, said) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_400_000, "1.4 MB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (999_999_999_999, "1.0 TB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), said);
        }
    }

    #[test]
    fn clock_times_are_local_and_dated_when_old() {
        let zurich: Local = |at| in_zone(at, &FixedOffset::east_opt(3600).unwrap());
        let then = Timestamp::from_secs(1_763_453_523); // Tue 2025-11-18 08:12:03 UTC
        for (passed, said) in [
            (HOUR, "Tue 09:12"),
            (6 * DAY - 1, "Tue 09:12"),
            (6 * DAY, "2025-11-18 09:12"),
        ] {
            let now = then.after(Duration::from_secs(passed));
            assert_eq!(clock(then, now, zurich), said);
        }
        let earlier = then.before(Duration::from_secs(1));
        assert_eq!(clock(then, earlier, zurich), "2025-11-18 09:12");
        assert_eq!(clock_exact(then, zurich), "2025-11-18 09:12:03");
    }

    #[test]
    fn the_ends_of_time_have_a_clock_too() {
        let west: Local = |at| in_zone(at, &FixedOffset::west_opt(86_399).unwrap());
        for millis in [i64::MIN, i64::MAX] {
            let at = Timestamp::from_millis(millis);
            assert!(!clock_exact(at, utc).is_empty());
            assert!(!clock(at, at, west).is_empty());
        }
    }
}
