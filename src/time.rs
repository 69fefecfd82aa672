//! One type for instants, and the only place that reads the clock.

use std::fmt;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// A UTC instant in whole milliseconds since the Unix epoch; how every `*_at` column is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The longest that anything is put off: a server that asks for a month is confused, and cron comes back anyway. A wait
/// in the database that is longer comes from a clock that ran ahead.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

pub const DAY: Duration = Duration::from_secs(24 * 3600);

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub fn now() -> Timestamp {
    SystemTime::now().into()
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        // Not chrono's, which panics where a clock that was never set says that it is before 1970.
        Self::from_millis(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// 9999-12-31T23:59:59.999Z, the last instant RFC 3339 can name, in milliseconds.
const MAX_MILLIS: i64 = 253_402_300_799_999;
/// 0000-01-01T00:00:00Z, the first instant RFC 3339 can name, in milliseconds.
const MIN_MILLIS: i64 = -62_167_219_200_000;

impl Timestamp {
    /// From milliseconds since the epoch, clamped to the years 0 to 9999 (a server can send any number).
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(MIN_MILLIS, MAX_MILLIS))
    }

    /// From Unix seconds (HeyGen's unit), clamped like [`Timestamp::from_millis`].
    pub fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    pub fn millis(self) -> i64 {
        self.0
    }

    pub fn after(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(duration)))
    }

    pub fn before(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(millis(duration)))
    }

    /// Time passed from `earlier` to `self`; zero when the clock went backwards.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub fn to_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// RFC 3339 in UTC with `Z` and whole seconds: the form of every `*_at` in JSON, TSV and CSV.
    pub fn rfc3339(self) -> String {
        self.to_chrono().to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc3339_in_utc() {
        assert_eq!(
            Timestamp::from_secs(1_764_000_000).rfc3339(),
            "2025-11-24T16:00:00Z"
        );
    }

    #[test]
    fn any_number_a_server_sends_is_an_instant() {
        for secs in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert!(Timestamp::from_secs(secs).rfc3339().ends_with('Z'));
        }
    }

    #[test]
    fn a_clock_that_went_backwards_is_zero_time() {
        let now = Timestamp::from_secs(100);
        assert_eq!(now.since(Timestamp::from_secs(200)), Duration::ZERO);
    }
}
