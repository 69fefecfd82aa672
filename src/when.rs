//! What `--since` and `--until` accept.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};

use crate::error::{Problem, Result};
use crate::time::Timestamp;

/// Reads a date (`2026-11-23`: its first instant in `tz`), a date with a time (`2026-11-23T10:00`, seconds optional,
/// a space for the `T`; in `tz` unless it ends in `Z` or `+02:00`), or an age before `now` (`30m`, `12h`, `7d`, `2w`).
pub(crate) fn parse_when<Tz: TimeZone>(input: &str, now: Timestamp, tz: &Tz) -> Result<Timestamp> {
    let input = input.trim();
    if let Some(date) = date(input, now, tz) {
        return Ok(resolve(date.and_time(NaiveTime::MIN), tz));
    }
    let iso = input.replacen(' ', "T", 1);
    for form in ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f"] {
        if let Ok(naive) = NaiveDateTime::parse_from_str(&iso, form) {
            return Ok(resolve(naive, tz));
        }
        if let Ok(fixed) = DateTime::parse_from_str(&iso, &format!("{form}%#z")) {
            return Ok(Timestamp::from_millis(fixed.timestamp_millis()));
        }
    }
    let age = humantime::parse_duration(input).ok();
    // `before` stops at the year 0.
    let then = age.map(|age| (now.before(age), age));
    let then = then.filter(|(then, age)| now.since(*then).as_millis() == age.as_millis());
    then.map(|(then, _)| then).ok_or_else(|| {
        Problem::misuse(format!(
            "`{input:.40}` is not a time: use 2026-11-23, 2026-11-23T10:00 (local time), 2026-11-23T10:00:00Z, \
             today, yesterday, or an age such as 30m, 12h, 7d or 2w"
        ))
    })
}

/// As [`parse_when`], but "until Friday" includes Friday: a date is the first instant of the next.
pub(crate) fn parse_until<Tz: TimeZone>(input: &str, now: Timestamp, tz: &Tz) -> Result<Timestamp> {
    let next = date(input.trim(), now, tz).and_then(|date| date.succ_opt());
    match next {
        Some(next) => Ok(resolve(next.and_time(NaiveTime::MIN), tz)),
        None => parse_when(input, now, tz),
    }
}

fn date<Tz: TimeZone>(input: &str, now: Timestamp, tz: &Tz) -> Option<NaiveDate> {
    let today = || now.to_chrono().with_timezone(tz).date_naive();
    match input.to_ascii_lowercase().as_str() {
        "today" => Some(today()),
        "yesterday" => today().pred_opt(),
        _ => NaiveDate::parse_from_str(input, "%Y-%m-%d").ok(),
    }
}

/// The instant at which clocks in `tz` show `naive`: the first when they show it twice; when they skip it, an hour later.
fn resolve<Tz: TimeZone>(naive: NaiveDateTime, tz: &Tz) -> Timestamp {
    let at = |naive: NaiveDateTime| tz.from_local_datetime(&naive).earliest();
    let local = at(naive).or_else(|| at(naive.checked_add_signed(TimeDelta::hours(1))?));
    let utc = local.map_or(naive.and_utc(), |at| at.with_timezone(&Utc));
    Timestamp::from_millis(utc.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, MappedLocalTime};
    use proptest::prelude::*;

    fn now() -> Timestamp {
        Timestamp::from_secs(1_764_000_000) // 2025-11-24T16:00:00Z
    }

    fn zurich() -> FixedOffset {
        FixedOffset::east_opt(3600).unwrap()
    }

    #[test]
    fn every_documented_form_is_read() {
        for (input, utc) in [
            ("2026-11-23", "2026-11-22T23:00:00Z"),
            ("2026-11-23T10:00", "2026-11-23T09:00:00Z"),
            ("2026-11-23 10:00", "2026-11-23T09:00:00Z"),
            ("2026-11-23T10:00:30", "2026-11-23T09:00:30Z"),
            ("2026-11-23T10:00Z", "2026-11-23T10:00:00Z"),
            ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"),
            ("2026-11-23T10:00:00.250Z", "2026-11-23T10:00:00Z"),
            ("2026-11-23T10:00+02:00", "2026-11-23T08:00:00Z"),
            ("2026-11-23 10:00:00-05:00", "2026-11-23T15:00:00Z"),
            (" 30m ", "2025-11-24T15:30:00Z"),
            ("12h", "2025-11-24T04:00:00Z"),
            ("7d", "2025-11-17T16:00:00Z"),
            ("2w", "2025-11-10T16:00:00Z"),
            ("today", "2025-11-23T23:00:00Z"),
            ("Yesterday", "2025-11-22T23:00:00Z"),
        ] {
            let read = parse_when(input, now(), &zurich()).map(Timestamp::rfc3339);
            assert_eq!(read.as_deref(), Ok(utc), "{input}");
        }
    }

    #[test]
    fn until_a_date_includes_that_day() {
        for (input, utc) in [
            ("2026-11-23", "2026-11-23T23:00:00Z"),
            (" 2026-12-31 ", "2026-12-31T23:00:00Z"),
            ("2026-11-23T10:00", "2026-11-23T09:00:00Z"),
            ("7d", "2025-11-17T16:00:00Z"),
            ("Today", "2025-11-24T23:00:00Z"),
            ("yesterday", "2025-11-23T23:00:00Z"),
        ] {
            let read = parse_until(input, now(), &zurich()).map(Timestamp::rfc3339);
            assert_eq!(read.as_deref(), Ok(utc), "{input}");
        }
        assert!(parse_until("nonsense", now(), &zurich()).is_err());
    }

    #[test]
    fn anything_else_is_an_error_that_names_the_forms() {
        for input in [
            "",
            "7",
            "d",
            "-7d",
            "tomorrow",
            "2026-13-01",
            "2026-02-30",
            "2026-11-23T25:00",
            "10:00",
            "99999999999999999999999d",
            "999999999999d",
            "3000years",
        ] {
            let error = parse_when(input, now(), &zurich()).unwrap_err().to_string();
            assert!(
                error.contains("2026-11-23") && error.contains("7d"),
                "{error}"
            );
        }
    }

    /// A zone whose clocks were set forward an hour at 2026-03-29 00:00 and back at 2026-10-25 00:00.
    #[derive(Clone, Copy, Debug)]
    struct Summer;

    impl TimeZone for Summer {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Self
        }

        fn offset_from_local_date(&self, _: &NaiveDate) -> MappedLocalTime<FixedOffset> {
            MappedLocalTime::None
        }

        fn offset_from_local_datetime(
            &self,
            local: &NaiveDateTime,
        ) -> MappedLocalTime<FixedOffset> {
            let hours = |hours| FixedOffset::east_opt(hours * 3600).unwrap();
            let fits = |hours: &FixedOffset| {
                let utc = local.checked_sub_offset(*hours).unwrap();
                self.offset_from_utc_datetime(&utc) == *hours
            };
            let found: Vec<_> = [hours(1), hours(0)].into_iter().filter(fits).collect();
            match found[..] {
                [] => MappedLocalTime::None,
                [one] => MappedLocalTime::Single(one),
                [first, second, ..] => MappedLocalTime::Ambiguous(first, second),
            }
        }

        fn offset_from_utc_date(&self, date: &NaiveDate) -> FixedOffset {
            self.offset_from_utc_datetime(&date.and_time(NaiveTime::MIN))
        }

        fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
            let summer = utc.and_utc().timestamp();
            // 2026-03-29T00:00Z to 2026-10-25T00:00Z.
            let summer = (1_774_742_400..1_792_886_400).contains(&summer);
            FixedOffset::east_opt(if summer { 3600 } else { 0 }).unwrap()
        }
    }

    #[test]
    fn a_skipped_midnight_is_the_first_instant_of_the_day() {
        let read = parse_when("2026-03-29", now(), &Summer).unwrap();
        assert_eq!(read.rfc3339(), "2026-03-29T00:00:00Z");
        let inside = parse_when("2026-03-29T00:30", now(), &Summer).unwrap();
        assert_eq!(inside.rfc3339(), "2026-03-29T00:30:00Z");
    }

    #[test]
    fn a_time_that_comes_twice_is_the_first_of_them() {
        let read = parse_when("2026-10-25T00:30", now(), &Summer).unwrap();
        assert_eq!(read.rfc3339(), "2026-10-24T23:30:00Z");
    }

    proptest! {
        #[test]
        fn no_input_panics(input in "\\PC{0,30}|[-0-9+T:Z .]{0,30}|[0-9]{1,20}[smhdwMy]") {
            let _any = parse_until(&input, now(), &Summer);
            let _any = parse_when(&input, now(), &FixedOffset::west_opt(86_399).unwrap());
        }
    }
}
