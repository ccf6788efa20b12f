//! Whether and how a failed send is tried again. Pure decisions; `deliver.rs` acts on them.

use std::time::Duration;

use thrustmq_proto_compat::response_code::ResponseCode;

/// Answers after which another broker may do better: Java's default set (02-remoting §2.7).
pub(crate) const RETRY_CODES: [ResponseCode; 8] = [
    ResponseCode::TOPIC_NOT_EXIST,
    ResponseCode::SERVICE_NOT_AVAILABLE,
    ResponseCode::SYSTEM_ERROR,
    ResponseCode::SYSTEM_BUSY,
    ResponseCode::NO_PERMISSION,
    ResponseCode::NO_BUYER_ID,
    ResponseCode::NOT_IN_CURRENT_UNIT,
    ResponseCode::GO_AWAY,
];

/// Longest pause before the same broker is tried again, in milliseconds.
const PAUSE_MS_MAX: u64 = 500;

/// The tries of one message within one budget of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    begun: u32,
    left: u32,
    deadline_ms: i64,
    /// The longest that a try may take which is not the last.
    try_ms_max: Option<u64>,
}

impl Tries {
    /// `count` tries that end at `deadline_ms`, none but the last longer than `try_timeout`.
    pub(crate) fn new(count: u32, deadline_ms: i64, try_timeout: Option<Duration>) -> Self {
        let ms = |timeout: Duration| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Self {
            begun: 0,
            left: count,
            deadline_ms,
            try_ms_max: try_timeout.map(ms),
        }
    }

    /// How many tries were begun.
    pub(crate) fn begun(&self) -> u32 {
        self.begun
    }

    /// Whether no try is left.
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Begins the next try and says how long it may take; `None`: no try or no time is left.
    ///
    /// With another broker to go to, a try gets its share of the time left, so that one broker that
    /// does not answer cannot eat the whole budget. With one broker only it gets all of it: asking
    /// the same slow broker twice would store the message twice.
    pub(crate) fn begin(&mut self, now_ms: i64, has_other_broker: bool) -> Option<Duration> {
        let left_ms = u64::try_from(self.deadline_ms - now_ms).ok()?;
        if self.left == 0 || left_ms == 0 {
            return None;
        }
        let share = if has_other_broker {
            u64::from(self.left)
        } else {
            1
        };
        self.left -= 1;
        self.begun += 1;
        let try_ms_max = self.try_ms_max.filter(|_| self.left > 0);
        let ms = (left_ms / share).min(try_ms_max.unwrap_or(u64::MAX));
        Some(Duration::from_millis(ms.max(1)))
    }

    /// How long to wait before the next try. Another broker is tried at once; the only one gets time
    /// to come back, which a restart takes, but never so much that the tries left have none.
    pub(crate) fn pause(&self, now_ms: i64, has_other_broker: bool) -> Duration {
        let left_ms = u64::try_from(self.deadline_ms - now_ms).unwrap_or(0);
        if has_other_broker || self.left == 0 {
            return Duration::ZERO;
        }
        let share_ms = left_ms / (u64::from(self.left) + 1);
        Duration::from_millis(share_ms.min(PAUSE_MS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_set_is_that_of_java() {
        let mut codes = RETRY_CODES.map(|code| code.0);
        codes.sort_unstable();
        assert_eq!(codes, [1, 2, 14, 16, 17, 204, 205, 1500]);
    }

    #[test]
    fn a_silent_broker_gets_only_its_share() {
        let mut tries = Tries::new(3, 3_000, None);
        assert_eq!(tries.begin(0, true), Some(Duration::from_millis(1_000)));
        assert_eq!(tries.begin(1_000, true), Some(Duration::from_millis(1_000)));
        assert_eq!(tries.begin(1_010, true), Some(Duration::from_millis(1_990)));
        assert_eq!(tries.begin(1_020, true), None, "three tries");
    }

    #[test]
    fn the_only_broker_gets_all_the_time() {
        let mut tries = Tries::new(3, 3_000, None);
        assert_eq!(tries.begin(0, false), Some(Duration::from_millis(3_000)));
        assert_eq!(tries.begin(3_000, false), None, "no time left");
        assert_eq!(tries.begin(3_001, false), None);
    }

    #[test]
    fn a_try_may_be_limited_unless_it_is_the_last() {
        let mut tries = Tries::new(2, 3_000, Some(Duration::from_millis(700)));
        assert_eq!(tries.begin(0, false), Some(Duration::from_millis(700)));
        assert_eq!(tries.begin(700, false), Some(Duration::from_millis(2_300)));
    }

    #[test]
    fn the_only_broker_gets_time_to_come_back() {
        let mut tries = Tries::new(3, 3_000, None);
        tries.begin(0, false);
        assert_eq!(tries.pause(0, false), Duration::from_millis(500));
        assert_eq!(tries.pause(2_700, false), Duration::from_millis(100));
        assert_eq!(tries.pause(0, true), Duration::ZERO);
        assert_eq!(tries.pause(3_001, false), Duration::ZERO);
        tries.begin(500, false);
        tries.begin(1_000, false);
        assert_eq!(tries.pause(1_000, false), Duration::ZERO, "no try is left");
    }
}
