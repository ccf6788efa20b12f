//! The version that tables carry, so that peers see whether they have the latest.

use std::cmp::Ordering;

use super::table::bodies;

bodies! {
    /// A table's version.
    #[derive(Eq, Hash)]
    DataVersion {
        counter "counter": i64,
        /// The epoch of the master; 0 without a controller.
        state_version "stateVersion": i64,
        /// Milliseconds since 1970-01-01 UTC.
        timestamp "timestamp": i64,
    }
}

impl DataVersion {
    /// The version of a new table.
    pub fn new(now_ms: i64) -> Self {
        Self {
            timestamp: now_ms,
            ..Self::default()
        }
    }

    /// Moves on after a change of the table.
    pub fn next(&mut self, state_version: i64, now_ms: i64) {
        self.timestamp = now_ms;
        self.state_version = state_version;
        self.counter = self.counter.wrapping_add(1);
    }

    /// Which of two is later: by state version, then counter, then time.
    pub fn compare(&self, other: &Self) -> Ordering {
        let order = |v: &Self| (v.state_version, v.counter, v.timestamp);
        order(self).cmp(&order(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_later_whatever_the_clock_says() {
        let mut version = DataVersion::new(1_000);
        let before = version.clone();
        version.next(0, 500);
        assert_eq!(version.compare(&before), Ordering::Greater);
        let mut epoch = before.clone();
        epoch.state_version = 1;
        assert_eq!(epoch.compare(&version), Ordering::Greater);
        assert_eq!(before.compare(&before), Ordering::Equal);
    }
}
