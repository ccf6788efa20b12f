//! Points in time as people say and read them: `now`, `5m` ago, `2026-11-23 10:00`.

use std::time::Duration;

use thrustmq_client::Clock;
use thrustmq_proto_compat::local_time::LocalTime;

/// Fewer digits are a date.
const EPOCH_MS_DIGITS: usize = 13;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Now,
    First,
    Ago(Duration),
    /// Milliseconds since 1970.
    At(i64),
}

impl Moment {
    /// Milliseconds since 1970; the first moment is 0.
    pub(crate) fn to_ms(self) -> i64 {
        match self {
            Self::Now => Clock::system().now_ms(),
            Self::First => 0,
            Self::Ago(ago) => {
                let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Clock::system().now_ms().saturating_sub(ago_ms)
            }
            Self::At(at_ms) => at_ms,
        }
    }
}

/// Reads `now`, `first`, a time that passed (`5m`, with or without a minus), a date with or without a
/// time on this machine's clock (`2026-11-23`, `mqadmin`'s `2026-11-23#10:00:00:000`), or milliseconds
/// since 1970.
pub(crate) fn parse(text: &str) -> Result<Moment, String> {
    match text {
        "now" | "-1" => return Ok(Moment::Now),
        "first" => return Ok(Moment::First),
        _ => {}
    }
    let found = ago(text.trim_start_matches('-')).or_else(|| date(text));
    found.ok_or_else(|| {
        "say now, first, a time ago such as 30s, 5m, 2h or 1d, a date such as '2026-11-23 10:00', or \
         milliseconds since 1970"
            .to_owned()
    })
}

fn ago(text: &str) -> Option<Moment> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_s = match text.get(digits.len()..)? {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit_s)?;
    Some(Moment::Ago(Duration::from_secs(seconds)))
}

fn date(text: &str) -> Option<Moment> {
    let is_date = |c: char| c.is_ascii_digit() || "-:# T.".contains(c);
    if !text.chars().all(is_date) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.len() == EPOCH_MS_DIGITS && digits == text {
        return digits.parse().ok().map(Moment::At);
    }
    LocalTime::of_digits(&digits).map(|time| Moment::At(time.at_ms()))
}

/// A time in milliseconds since 1970 on this machine's clock; nothing for 0, with which brokers say
/// that there is none.
pub(crate) fn shown(at_ms: i64) -> Option<String> {
    if at_ms <= 0 {
        return None;
    }
    let digits = LocalTime::at(at_ms).digits();
    let part = |range| digits.get(range).unwrap_or_default();
    let (year, month, day) = (part(0..4), part(4..6), part(6..8));
    let (hour, minute, second, ms) = (part(8..10), part(10..12), part(12..14), part(14..17));
    Some(format!(
        "{year}-{month}-{day} {hour}:{minute}:{second}.{ms}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_words_times_or_dates() {
        let ago = |seconds| Ok(Moment::Ago(Duration::from_secs(seconds)));
        assert_eq!(parse("now"), Ok(Moment::Now));
        assert_eq!(parse("first"), Ok(Moment::First));
        assert_eq!(parse("-5m"), ago(300));
        assert_eq!(parse("2h"), ago(7_200));
        assert_eq!(parse("1700000000123"), Ok(Moment::At(1_700_000_000_123)));
        let text = shown(1_700_000_000_123).unwrap();
        assert_eq!(parse(&text), Ok(Moment::At(1_700_000_000_123)));
        let of_java = text.replace(' ', "#").replace('.', ":");
        assert_eq!(parse(&of_java), Ok(Moment::At(1_700_000_000_123)));
        assert_eq!(shown(0), None);
        for wrong in [
            "",
            "5",
            "m",
            "5x",
            "-",
            "99999999999999999999s",
            "2026-13-01",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
