//! The calendar of this machine's time zone: RocketMQ's ids, index names and hours of deletion are
//! in local time.

use chrono::{DateTime, Datelike, Local, NaiveDateTime, TimeZone, Timelike};

/// A moment as the wall clock of this machine shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    at: DateTime<Local>,
}

impl LocalTime {
    /// The wall clock's reading at a time in milliseconds since 1970-01-01 UTC.
    pub fn at(at_ms: i64) -> Self {
        let epoch = DateTime::UNIX_EPOCH;
        let at = DateTime::from_timestamp_millis(at_ms).unwrap_or(epoch);
        Self {
            at: at.with_timezone(&Local),
        }
    }

    /// The moment of [`digits`](Self::digits), of which the later ones may be left out: `20261123` is
    /// a midnight. None if there is no such moment.
    pub fn of_digits(digits: &str) -> Option<Self> {
        let is_whole = matches!(digits.len(), 8 | 10 | 12 | 14 | 17);
        let padded = format!("{digits:0<17}");
        let read = NaiveDateTime::parse_from_str(&padded, "%Y%m%d%H%M%S%3f").ok()?;
        let at = Local.from_local_datetime(&read).earliest()?;
        is_whole.then_some(Self { at })
    }

    /// It in milliseconds since 1970-01-01 UTC.
    pub fn at_ms(&self) -> i64 {
        self.at.timestamp_millis()
    }

    /// Hour of the day, 0 to 23.
    pub fn hour(&self) -> u32 {
        self.at.hour()
    }

    /// When this month began, milliseconds since 1970-01-01 UTC.
    pub fn month_start_ms(&self) -> i64 {
        self.start_ms(self.at.month(), 1)
    }

    /// When this day began, milliseconds since 1970-01-01 UTC.
    pub fn day_start_ms(&self) -> i64 {
        self.start_ms(self.at.month(), self.at.day())
    }

    /// The digits `yyyyMMddHHmmssSSS`, which sort as time does.
    pub fn digits(&self) -> String {
        self.at.format("%Y%m%d%H%M%S%3f").to_string()
    }

    /// Midnight of a day of this year; where a clock change skips it, this moment itself.
    fn start_ms(&self, month: u32, day: u32) -> i64 {
        let start = Local.with_ymd_and_hms(self.at.year(), month, day, 0, 0, 0);
        start.earliest().unwrap_or(self.at).timestamp_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_they_were_written() {
        let time = LocalTime::at(1_700_000_000_123);
        assert_eq!(LocalTime::of_digits(&time.digits()), Some(time));
        let midnight = LocalTime::of_digits(&time.digits()[..8]).unwrap();
        assert_eq!(midnight.at_ms(), time.day_start_ms());
        for wrong in ["", "2026", "20261323", "2026112", "20261123x0"] {
            assert_eq!(LocalTime::of_digits(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn starts_lie_before_and_within_their_span() {
        let at_ms = 1_700_000_000_123;
        let time = LocalTime::at(at_ms);
        let day = at_ms - time.day_start_ms();
        let month = at_ms - time.month_start_ms();
        assert!((0..=25 * 3_600_000).contains(&day), "{day}");
        assert!(
            (13 * 86_400_000..16 * 86_400_000).contains(&month),
            "{month}"
        );
        assert_eq!(LocalTime::at(time.month_start_ms()).hour(), 0);
    }

    #[test]
    fn digits_are_seventeen_and_end_in_milliseconds() {
        let digits = LocalTime::at(1_700_000_000_123).digits();
        assert_eq!(digits.len(), 17);
        assert!(
            digits.starts_with("2023111") && digits.ends_with("123"),
            "{digits}"
        );
    }
}
