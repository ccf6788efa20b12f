//! The table of delay levels, as `messageDelayLevel` spells it: `1s 5s 10s … 2h`.

/// Why a level table cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("messageDelayLevel: '{entry}' is not a number with one of the units s, m, h, d")]
pub(crate) struct LevelError {
    entry: String,
}

/// Delays by level; level 1 comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Levels {
    delays_ms: Vec<i64>,
}

impl Levels {
    /// Reads `1s 5s …`.
    pub(crate) fn parse(text: &str) -> Result<Self, LevelError> {
        let delays_ms = text
            .split_whitespace()
            .map(delay_ms_of)
            .collect::<Result<_, _>>()?;
        Ok(Self { delays_ms })
    }

    /// The highest level; 0 if there is none.
    pub(crate) fn level_max(&self) -> i32 {
        i32::try_from(self.delays_ms.len()).unwrap_or(i32::MAX)
    }

    /// The delay of a level.
    pub(crate) fn delay_ms(&self, level: i32) -> Option<i64> {
        let index = usize::try_from(level).ok()?.checked_sub(1)?;
        self.delays_ms.get(index).copied()
    }

    /// Delays in order of their levels.
    pub(crate) fn delays_ms(&self) -> &[i64] {
        &self.delays_ms
    }
}

fn delay_ms_of(entry: &str) -> Result<i64, LevelError> {
    parse_delay_ms(entry).ok_or_else(|| LevelError {
        entry: entry.to_owned(),
    })
}

fn parse_delay_ms(entry: &str) -> Option<i64> {
    let (at, unit) = entry.char_indices().next_back()?;
    let unit_ms = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let count: i64 = entry.get(..at)?.parse().ok()?;
    count.checked_mul(unit_ms).filter(|delay_ms| *delay_ms >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_has_18_levels() {
        let levels =
            Levels::parse("1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h").unwrap();
        assert_eq!(levels.level_max(), 18);
        assert_eq!(levels.delay_ms(1), Some(1_000));
        assert_eq!(levels.delay_ms(5), Some(60_000));
        assert_eq!(levels.delay_ms(18), Some(7_200_000));
        assert_eq!(levels.delay_ms(0), None);
        assert_eq!(levels.delay_ms(19), None);
    }

    #[test]
    fn a_wrong_entry_is_named() {
        for entry in ["5", "s", "5x", "-1s", "99999999999999999d", "5é"] {
            let error = Levels::parse(&format!("1s {entry}")).unwrap_err();
            assert!(error.to_string().contains(&format!("'{entry}'")), "{error}");
        }
    }
}
